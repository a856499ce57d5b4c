"""Seconds a round of federated training, by model, method, device and number of trainings side by side.

    python benchmarks/federated.py [--images 2560] [--trainings 1 3] [--seconds 10] [--out FILE.json]

Ten clients, batches of 64, Adam, images of CIFAR-10's size (random: the time does not depend on what they
show). On the CPU the loop over clients stands beside clients in threads and the stacked step; the
methods take turns and the best of their rounds counts. Where there is a GPU, it is measured too, with as
many images as CIFAR-10 has, and what 300 rounds of ten clients and three seeds would take is extrapolated
from it. Evaluation is in every figure. It stops by itself.
"""

import argparse
import json
import platform
import time
from collections.abc import Generator
from pathlib import Path

import torch

from gleak_lib import models
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.federated import Protocol, method
from gleak_lib.federated.data import Images
from gleak_lib.federated.fedavg import ON_DEVICE, STREAMS
from gleak_lib.federated.local import measure, objective
from gleak_lib.federated.partition import hold_out, iid
from gleak_lib.federated.randomness import streams
from gleak_lib.federated.server import Federation, Round
from gleak_lib.federated.stacked import Stacked

CASES = {"cnn": (), "cnn + PRECODE(1, 8)": PRECODE(1, 8), "cnn + CVB(1, 5)": CVB(1, 5)}
METHODS = {"cpu": ("loop", "threads", "stacked"), "cuda": ("loop", "stacked", "stacked, grouped")}
ROUNDS, SEEDS = 300, 3


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
    return Federation(model, objective(model), images, clients, protocol, stream)


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
            began = time.perf_counter()
            engine([Round(party, number, protocol.lr) for party in parties])
            for party in parties:
                party.validate(number)
                hits = measure(party.model, party.loss_of, tests, None, party.streams["test"])[1]
                float(hits.mean())
            yield time.perf_counter() - began
    finally:
        engine.close()


def measure_case(
    case: str, trainings: int, device: torch.device, count: int, seconds: float, methods: list[str]
) -> list[dict]:
    """Let the methods take turns; return a row for each with its best round."""
    images, tests = images_of(count, device), images_of(max(500, count // 5), device)
    running = {name: rounds_of(name, case, trainings, images, tests) for name in methods}
    best = dict.fromkeys(methods, float("inf"))
    for rounds in running.values():
        next(rounds)  # warm-up, and the capture of the step
    began, turns = time.perf_counter(), 0
    while turns < 3 or time.perf_counter() - began < seconds * len(methods):
        for name, rounds in running.items():
            best[name] = min(best[name], next(rounds))
        turns += 1
    for rounds in running.values():
        rounds.close()
    rows = []
    for name, value in best.items():
        row = {"case": case, "device": device.type, "images": count, "trainings": trainings, "method": name}
        row |= {"seconds": value, "times_loop": best["loop"] / value if "loop" in best else None}
        rows.append(row)
        print(
            f"{device.type:4s} {case:22s} {trainings} trainings  {name:17s} {value:8.3f} s a round  "
            f"{row['times_loop'] or float('nan'):5.2f} x the loop",
            flush=True,
        )
    return rows


def main() -> None:
    """Measure, print, and store if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2560, help="training images on the CPU")
    parser.add_argument("--trainings", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--methods", nargs="+", help="some of the device's methods")
    parser.add_argument("--seconds", type=float, default=10.0, help="about how long each figure is measured")
    parser.add_argument("--out", type=Path, help="store the figures as JSON")
    options = parser.parse_args()
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    machine = {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if "cuda" in devices else None,
    }
    print(machine)
    rows = []
    for kind in devices:
        methods = [name for name in METHODS[kind] if name in (options.methods or METHODS[kind])]
        count = options.images if kind == "cpu" else 50_000
        for case in options.cases:
            for trainings in options.trainings:
                device = torch.device(kind)
                rows += measure_case(case, trainings, device, count, options.seconds, methods)
    estimates = {
        row["method"]: ROUNDS * row["seconds"]
        for row in rows
        if (row["device"], row["case"], row["trainings"]) == ("cuda", "cnn", SEEDS)
    }
    for name, value in estimates.items():
        print(f"{ROUNDS} rounds x 10 clients x {SEEDS} seeds of cnn on CUDA, {name}: {value:.0f} s")
    if options.out:
        record = {"machine": machine, "rows": rows, "seconds_of_300_rounds_of_3_seeds": estimates}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
