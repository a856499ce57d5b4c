"""Memory over the steps of a real attack: it must not grow, however long an attack runs.

    python benchmarks/memory.py [--minutes 3] [--device cpu]

A process of its own attacks an embedded image with `invert`, with no stop rule, and notes now and then
the memory that is resident and, on a GPU, what torch has allocated there.
"""

import multiprocessing
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from common import Case, Figures, Unavailable, main

from gleak_lib import attacks, datasets, models

STATM = Path("/proc/self/statm")  # Linux: pages, the second number those that are resident
STEPS, SAMPLES, VICTIMS = 20_000, 40, 1


def cases(kind: str, quick: bool) -> Iterator[Case]:
    """One long attack."""
    steps = 100 if quick else STEPS
    settings = {"model": "cnn", "attack": "ig", "victims": VICTIMS, "steps": steps}
    yield Case(settings, partial(measure, steps, kind))


def measure(steps: int, kind: str) -> Figures:
    """Run the attack in a fresh process."""
    if not STATM.exists():
        raise Unavailable("The memory of a process is read from /proc, which is not here.")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        samples = pool.apply(attack, (steps, kind, torch.get_num_threads()))
    return [({}, {"samples": samples})]


def attack(steps: int, kind: str, threads: int) -> list[dict[str, float]]:
    """Attack; return at about 40 steps the resident megabytes, and those allocated on a GPU."""
    torch.set_num_threads(threads)
    samples: list[dict[str, float]] = []
    every = max(1, steps // SAMPLES)

    def watch(step: int, *_: object) -> None:
        if step % every == 0:
            resident = int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            sample = {"step": step, "resident_mb": resident / 1e6}
            if kind == "cuda":
                sample["cuda_mb"] = torch.cuda.memory_allocated() / 1e6
            samples.append(sample)

    data = datasets.load("digits")
    images, labels = (t.to(kind) for t in datasets.victims(data, VICTIMS, 0))
    g = torch.Generator().manual_seed(0)
    model = models.build("cnn", seed=0).to(kind)
    seen = attacks.observe(model, images, labels, generator=g, mean=data.mean, std=data.std)
    endless = attacks.ATTACKS["ig"].replace(max_steps=steps, stop_after=0, stop_below=0.0)
    attacks.invert(seen, endless, generator=g, callback=watch)
    return samples


if __name__ == "__main__":
    main("memory", __doc__, cases)
