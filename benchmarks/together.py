"""Milliseconds of a run's step where several weights are attacked, one run after the other or side by side.

    python benchmarks/together.py [--minutes 2] [--only resnet18] [--device cpu]

Each run has weights of its own and one batch: the slow case, since nothing is shared between runs. Side by
side (`attacks.invert_together`) all that has no weights is computed for all runs at once. Both ways take
turns, and `relative` is the mean over the turns of a way's time by that of the loop in the same turn, with
its 95 % interval. Times are the processor's where there is no GPU, so that other programs hardly count.
Preparation is left out: a time is the difference between many steps and one.
"""

import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from common import Case, Figures, main, wait

from gleak_lib import attacks, models
from gleak_lib.attacks import ATTACKS
from gleak_lib.metrics import intervals
from gleak_lib.types import Observation

PLAN = {"lenet": (1,), "cnn": (1,), "mcmahan_cnn": (1, 2, 4), "resnet18": (1, 2)}  # images of a run
RUNS = {"cpu": 8, "cuda": 32}
STEPS, TURNS = 5, 4
ATTACK = ATTACKS["ig"].replace(drop_after=0, stop_after=0, stop_below=0.0)


def cases(kind: str, quick: bool) -> Iterator[Case]:
    """Every model and batch size once."""
    for model, batches in {"lenet": (1,)}.items() if quick else PLAN.items():
        for batch in batches:
            runs = 2 if quick else RUNS[kind]
            settings = {"model": model, "attack": "ig", "batch": batch, "runs": runs}
            yield Case(settings, partial(measure, model, batch, runs, kind, 2 if quick else TURNS))


def measure(model: str, batch: int, runs: int, kind: str, turns: int) -> Figures:
    """Let both ways take turns; return a row for each."""
    seen = [_observation(model, batch, seed, kind) for seed in range(runs)]
    ways = {
        "one by one": lambda attack: [attacks.invert(one, attack) for one in seen],
        "together": lambda attack: attacks.invert_together(seen, attack),
    }
    clock = time.process_time if kind == "cpu" else time.perf_counter
    seconds = {name: np.empty(turns) for name in ways}
    for turn in range(-1, turns):  # the first is a warm-up, and overwritten
        for name, way in ways.items():
            times = []
            for steps in (1, 1 + STEPS):
                began = clock()
                way(ATTACK.replace(max_steps=steps))
                wait(kind)
                times.append(clock() - began)
            seconds[name][turn] = times[1] - times[0]
    for name, found in seconds.items():
        ratio = found / seconds["one by one"]
        low, high = intervals.mean(ratio) if name != "one by one" else (1.0, 1.0)
        ms = 1e3 * float(np.median(found)) / (STEPS * runs)
        figures = {"ms": ms, "relative": float(ratio.mean()), "low": low, "high": high}
        yield {"method": name}, figures | {"turns": turns}


def _observation(model: str, batch: int, seed: int, kind: str) -> Observation:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(1, batch, 3, 32, 32, generator=generator)
    network = models.build(model, init="kaiming_normal", seed=seed).to(kind)
    return attacks.observe(network, images, torch.arange(batch)[None] % 10, mean=0.5, std=0.25)


if __name__ == "__main__":
    main("together", __doc__, cases)
