"""Seconds a round of many tiny clients (Wang et al. 2022, section 6), by engine and by what protects them.

    python benchmarks/defended_rounds.py [--minutes 3] [--only "clients 100"]

Each client holds 1 to 10 images (of 1,000 clients 1 to 20) of two classes each and trains two epochs. All
ways take turns, round after round, and `relative` is the mean over the turns of a round's seconds by those
of the undefended loop's in the same turn, with its 95 % interval. Seconds are the processor's where there is
no GPU, so that other programs do not count. No evaluation is in them. `one model` is no federated training:
all the round's images go through a single model at once, the least that the arithmetic takes. PLD estimates
its Jacobian by four probes; exactly it takes one backward pass per feature.
"""

import copy
import time
from collections.abc import Iterator
from functools import partial
from itertools import count

import numpy as np
import torch
from common import Case, Figures, main, wait
from federated import images_of
from torch.nn import functional as F

from gleak_lib import models
from gleak_lib.defenses import PLD, Compression, Defense, Gaussian, Laplace, SlicePerturbation
from gleak_lib.federated import Compensation, Protocol, method
from gleak_lib.federated.data import Images
from gleak_lib.federated.fedavg import ON_DEVICE, STREAMS
from gleak_lib.federated.local import by_place
from gleak_lib.federated.partition import deal
from gleak_lib.federated.randomness import streams
from gleak_lib.federated.server import Federation
from gleak_lib.metrics import intervals

SLICES = SlicePerturbation(0.2, 1e-6, block=8)
COMPENSATION = Compensation(SLICES.entry_variance)
WAYS: dict[str, dict[str, object]] = {
    "none": {},
    "none, stacked": {"engine": "stacked"},
    "one model": {},
    "slices, not compensated": {"defense": SLICES},
    "slices": {"defense": SLICES, "aggregation": COMPENSATION},
    "slices, clipped": {
        "defense": SlicePerturbation(0.2, 1e-6, block=8, clip=1.0),
        "aggregation": COMPENSATION,
    },
    "GC": {"defense": Compression(0.8, on="update")},
    "DP-G": {"defense": Gaussian(1e-3, on="update")},
    "DP-L": {"defense": Laplace(1e-3, on="update")},
    "PLD": {"defense": PLD(0.6, probes=4)},
}
FEW = ("none", "none, stacked", "one model")
PROTOCOL = Protocol(
    clients=100, clients_per_round=10, local_epochs=2, batch_size=20, optimizer="sgd", lr=1e-2,
    val_fraction=0.0, patience=None, partition="by_class",
)  # fmt: skip
LARGE = PROTOCOL.replace(clients=1_000, clients_per_round=200, batch_size=40, samples_per_class=(1, 20))
TURNS = {"few": 4, "many": 30}  # of all ways


def federation(way: str, protocol: Protocol, images: Images) -> tuple[Federation, method.Engine]:
    """Return a training of `lenet4` that is ready for its first round, and what runs its rounds."""
    options = WAYS[way]
    model = models.build("lenet4", activation="tanh", seed=0).to(images.labels.device)
    stream = streams(
        torch.Generator().manual_seed(0), STREAMS, device=images.labels.device, on_device=ON_DEVICE
    )
    clients = deal(images.labels, protocol, stream["partition"])
    defense = options.get("defense")
    on_step, on_update = by_place(defense if isinstance(defense, Defense) else None)
    changed = protocol.replace(aggregation=options.get("aggregation", protocol.aggregation))
    party = Federation(model, images, clients, changed, stream, on_step, on_update)
    return party, method.engine(options.get("engine", "loop"), [party])  # type: ignore[arg-type]


def rounds_of(way: str, protocol: Protocol, images: Images) -> Iterator[float]:
    """Run one round after the other; yield the seconds of each."""
    party, engine = federation(way, protocol, images)
    clock = time.process_time if images.labels.device.type == "cpu" else time.perf_counter
    for number in count(1):
        one = party.round(number, protocol.lr)
        wait(images.labels.device.type)
        began = clock()
        if way == "one model":
            together(party, one.clients)
        else:
            engine([one])
        wait(images.labels.device.type)
        yield clock() - began


def together(party: Federation, clients: list[int]) -> None:
    """Compute the local epochs' gradients of all these clients' images at once, by a single model."""
    x, labels = party.images[torch.cat([party.clients[c].train for c in clients])]
    model = copy.deepcopy(party.model).train()
    for _ in range(party.protocol.local_epochs):
        F.cross_entropy(model(x), labels).backward()


def cases(kind: str, quick: bool) -> Iterator[Case]:
    """The clients of MNIST under every protection, and those of CIFAR-10 under none."""
    plans = [(PROTOCOL, list(WAYS), TURNS["many"]), (LARGE, list(FEW), TURNS["few"])]
    if quick:
        plans = [(PROTOCOL.replace(clients=4, clients_per_round=2), ["none", "slices"], 2)]
    for protocol, ways, turns in plans:
        settings = {"model": "lenet4", "clients": protocol.clients, "a_round": protocol.clients_per_round}
        yield Case(settings, partial(measure_case, protocol, ways, turns, torch.device(kind)))


def measure_case(protocol: Protocol, ways: list[str], turns: int, device: torch.device) -> Figures:
    """Let the ways take turns; return a row for each."""
    images = images_of(60 * protocol.clients, device)
    running = {way: rounds_of(way, protocol, images) for way in ways}
    for rounds in running.values():
        next(rounds)  # warm-up
    seconds = {way: np.empty(turns) for way in ways}
    for turn in range(turns):
        for way, rounds in running.items():
            seconds[way][turn] = next(rounds)
    for way, found in seconds.items():
        ratio = found / seconds["none"]
        low, high = intervals.mean(ratio) if way != "none" else (1.0, 1.0)
        figures = {
            "seconds": float(np.median(found)),
            "relative": float(ratio.mean()),
            "low": low,
            "high": high,
        }
        yield {"method": way}, figures | {"turns": turns}


if __name__ == "__main__":
    main("defended_rounds", __doc__, cases)
