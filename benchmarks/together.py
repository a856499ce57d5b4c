"""Milliseconds of a run's step where several weights are attacked, one run after the other or side by side.

    python benchmarks/together.py [--minutes 2] [--only resnet18] [--device cpu]

Each run has weights of its own and one batch: the slow case, since nothing is shared between runs. Side by
side (`attacks.invert_together`) all that has no weights is computed for all runs at once.
"""

from collections.abc import Iterator
from functools import partial

import torch
from common import Case, Figures, main, seconds_per_call

from gleak_lib import attacks, models
from gleak_lib.attacks import ATTACKS
from gleak_lib.types import Observation

PLAN = {"lenet": (1, 4), "cnn": (1, 4), "mcmahan_cnn": (1, 4, 16), "resnet18": (1,)}  # images of a run
RUNS = {"cpu": 8, "cuda": 32}
STEPS, SECONDS = 5, 2.0
ATTACK = ATTACKS["ig"].replace(drop_after=0, stop_after=0, stop_below=0.0)


def cases(kind: str, quick: bool) -> Iterator[Case]:
    """Every model and batch size once."""
    for model, batches in {"lenet": (1,)}.items() if quick else PLAN.items():
        for batch in batches:
            runs = 2 if quick else RUNS[kind]
            settings = {"model": model, "attack": "ig", "batch": batch, "runs": runs}
            yield Case(settings, partial(measure, model, batch, runs, kind, 0.01 if quick else SECONDS))


def measure(model: str, batch: int, runs: int, kind: str, seconds: float) -> Figures:
    """Time both ways, preparation left out: the difference between many steps and none of them."""
    seen = [_observation(model, batch, seed, kind) for seed in range(runs)]
    ways = {
        "one by one": lambda attack: [attacks.invert(one, attack) for one in seen],
        "together": lambda attack: attacks.invert_together(seen, attack),
    }
    for name, way in ways.items():
        few, many = (
            seconds_per_call(partial(way, ATTACK.replace(max_steps=steps)), kind, seconds)
            for steps in (1, 1 + STEPS)
        )
        yield {"method": name}, {"ms": 1e3 * max(many - few, 0.0) / (STEPS * runs)}


def _observation(model: str, batch: int, seed: int, kind: str) -> Observation:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(1, batch, 3, 32, 32, generator=generator)
    network = models.build(model, init="kaiming_normal", seed=seed).to(kind)
    return attacks.observe(network, images, torch.arange(batch)[None] % 10, mean=0.5, std=0.25)


if __name__ == "__main__":
    main("together", __doc__, cases)
