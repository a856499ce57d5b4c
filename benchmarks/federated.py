"""Seconds a round of federated training, by model, method and number of trainings side by side.

    python benchmarks/federated.py [--minutes 3] [--only "trainings 3"] [--device cpu]

Ten clients, batches of 64, Adam, images of CIFAR-10's size (random: the time does not depend on what they
show); on a GPU as many as CIFAR-10 has. The methods take turns and the best of their rounds counts.
Evaluation is in every figure. On a processor it matters whether waiting threads sleep or spin (the variable
OMP_WAIT_POLICY): rows say which.
"""

import os
import time
from collections.abc import Generator, Iterator
from functools import partial

import torch
from common import Case, Figures, main, wait

from gleak_lib import models
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.federated import Protocol, method
from gleak_lib.federated.data import Images
from gleak_lib.federated.fedavg import ON_DEVICE, STREAMS
from gleak_lib.federated.local import measure
from gleak_lib.federated.partition import hold_out, iid
from gleak_lib.federated.randomness import streams
from gleak_lib.federated.server import Federation
from gleak_lib.federated.stacked import Stacked

CASES = {"cnn": (), "cnn + PRECODE(1, 8)": PRECODE(1, 8), "cnn + CVB(1, 5)": CVB(1, 5)}
METHODS = {"cpu": ("loop", "threads", "stacked"), "cuda": ("loop", "stacked", "stacked, grouped")}
IMAGES = {"cpu": 2_560, "cuda": 50_000}  # CIFAR-10 has 50,000
SECONDS = {"cpu": 4.0, "cuda": 5.0}  # about how long each method is measured
PLANS = {
    "cpu": [("cnn", 1), ("cnn", 3), ("cnn + CVB(1, 5)", 1), ("cnn + PRECODE(1, 8)", 1)],
    "cuda": [(case, trainings) for trainings in (3, 1) for case in CASES],
}


def images_of(count: int, device: torch.device) -> Images:
    """Random images and labels of CIFAR-10's shape, resident on the device."""
    g = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=g)
    labels = torch.randint(0, 10, (count,), generator=g)
    return Images((pixels, labels), mean=0.5, std=0.25, like=torch.zeros((), device=device))


def federation(case: str, seed: int, images: Images, protocol: Protocol) -> Federation:
    """A training that is ready for its first round."""
    device = images.labels.device
    model = models.build("cnn", bottlenecks=CASES[case], seed=seed).to(device)
    g = torch.Generator().manual_seed(seed)
    stream = streams(g, STREAMS, device=device, on_device=ON_DEVICE)
    parts = iid(len(images), protocol.clients, stream["partition"])
    clients = hold_out(parts, stream["partition"], fraction=protocol.val_fraction)
    return Federation(model, images, clients, protocol, stream)


def rounds_of(
    name: str, case: str, trainings: int, images: Images, tests: Images
) -> Generator[float, None, None]:
    """Run one round after the other, evaluation included; yield the seconds of each."""
    protocol = Protocol()
    parties = [federation(case, seed, images, protocol) for seed in range(trainings)]
    grouped = name == "stacked, grouped"
    engine = Stacked(parties, patches=False) if grouped else method.engine(name, parties)  # type: ignore[arg-type]
    try:
        number = 0
        while True:
            number += 1
            wait(images.labels.device.type)
            began = time.perf_counter()
            engine([party.round(number, protocol.lr) for party in parties])
            for party in parties:
                party.validate(number)
                hits = measure(party.model, tests, None, party.streams["test"])[1]
                float(hits.mean())
            wait(images.labels.device.type)
            yield time.perf_counter() - began
    finally:
        engine.close()


def cases(kind: str, quick: bool) -> Iterator[Case]:
    """Every model and number of trainings once; on a GPU the slow loop over clients is measured for one."""
    for case, trainings in [("cnn", 2)] if quick else PLANS[kind]:
        count = 100 if quick else IMAGES[kind]
        methods = [name for name in METHODS[kind] if name != "loop" or kind == "cpu" or trainings == 1]
        settings = {"model": case, "images": count, "clients": 10, "trainings": trainings}
        if kind == "cpu":
            passive = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
            settings["waiting"] = "sleep" if passive else "spin"
        seconds = 0.0 if quick else SECONDS[kind]
        yield Case(
            settings, partial(measure_case, case, trainings, torch.device(kind), count, seconds, methods)
        )


def measure_case(
    case: str, trainings: int, device: torch.device, count: int, seconds: float, methods: list[str]
) -> Figures:
    """Let the methods take turns; return a row for each with its best round."""
    images, tests = images_of(count, device), images_of(max(500, count // 5), device)
    running = {name: rounds_of(name, case, trainings, images, tests) for name in methods}
    best = dict.fromkeys(methods, float("inf"))
    for rounds in running.values():
        next(rounds)  # warm-up, and the capture of the step
    began, turns = time.perf_counter(), 0
    while turns < (1 if seconds == 0 else 3) or time.perf_counter() - began < seconds * len(methods):
        for name, rounds in running.items():
            best[name] = min(best[name], next(rounds))
        turns += 1
    for rounds in running.values():
        rounds.close()
    return [({"method": name}, {"seconds": value, "turns": turns}) for name, value in best.items()]


if __name__ == "__main__":
    main("federated", __doc__, cases)
