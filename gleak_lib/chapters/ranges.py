"""What values the parameters of the chapters may have: one table, looked at before anything is computed.

A name means the same in every chapter. Where a chapter deviates, the table has an entry `CHAPTER.name`. What
depends on the images or on the model is checked by the cells (`Cell.check`), for there it is known.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gleak_lib.datasets.search import check_name
from gleak_lib.errors import GleakError, shown
from gleak_lib.experiments.specs.scores import SCALINGS

SEEDS = 2**32 - 1001  # the largest of the first model; victims of the others are drawn with the next ones


@dataclass(frozen=True)
class Range:
    """What a parameter may be, or each entry of a list.

    Attributes:
        least, most: smallest and largest number.
        empty: whether a list may be empty.
        ascending: whether a list must ascend: its last entry is the last round.
        options: the only texts there are.
        dataset: whether it names an image set.
    """

    least: float = -math.inf
    most: float = math.inf
    empty: bool = False
    ascending: bool = False
    options: tuple[str, ...] = ()
    dataset: bool = False

    def misfit(self, name: str, value: Any) -> str | None:
        """Return what is wrong with a value of the right type, or None."""
        if isinstance(value, (list, tuple)):
            if not value and not self.empty:
                return f"{name} must not be empty."
            if self.ascending and any(a >= b for a, b in itertools.pairwise(value)):
                return f"{name} must ascend, got {shown(value)}."
            return next((problem for part in value if (problem := self.misfit(name, part))), None)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if self.least <= value <= self.most:
                return None
            return f"{name} must be {self.least:,} to {self.most:,}, got {shown(value)}."
        if self.options and value not in self.options:
            return f"{name} must be one of {', '.join(self.options)}, got {shown(value)}."
        if self.dataset:
            try:
                check_name(value)
            except GleakError as error:
                return f"{name}: {error}"
        return None


COUNT, STEPS, WEIGHT, ROUND = Range(1, 10**6), Range(1, 10**6), Range(0, 10**6), Range(0, 10**5)
ANY = Range(empty=True)
PARTS = Range(1, 4096)  # sizes of parts of a model: kernels, widths, PRECODE's k
RANGES: dict[str, Range] = {
    "profile": Range(options=("quick", "cpu", "paper")),
    "scaling": Range(options=SCALINGS),
    "examples": Range(1, 16),
    "seed": Range(-SEEDS, SEEDS),
    "victim_seed": Range(0, SEEDS),
    "seeds": Range(1, 1000),
    "repeated": Range(1, 1000),
    "dataset": Range(dataset=True),
    "datasets": Range(dataset=True),
    "01_how_gradients_leak.datasets": Range(dataset=True, empty=True),
    "sets": Range(dataset=True, empty=True),
    "patch_training_set": Range(dataset=True),
    "model": Range(),
    "models": Range(),
    "bottleneck": Range(options=("precode", "cvb")),
    "kl": Range(options=("exact", "paper-code")),
    # models and bottlenecks
    "position": Range(1, 1000),
    "positions": Range(1, 1000),
    "partial": Range(1, 1000, empty=True),
    "precode_at": Range(1, 1000),
    "size": PARTS,
    "sizes": PARTS,
    "precode_sizes": Range(1, 4096, empty=True),
    "width": PARTS,
    "kernel_size": PARTS,
    "kernel_sizes": Range(1, 4096, empty=True),
    "position_kernel_size": PARTS,
    "scale": Range(1e-6, 1000),
    "scales": ANY,
    "beta": WEIGHT,
    "betas": Range(0, 10**6, empty=True),
    "kl_betas": Range(0, 10**6, empty=True),
    # trainings
    "rounds": Range(0, 10**5, ascending=True),
    "training_rounds": ROUND,
    "sigma_rounds": Range(0, 10**5, empty=True, ascending=True),
    "patch_rounds": Range(0, 10**5, empty=True),
    "local_batch": COUNT,
    # attacks
    "victims": COUNT,
    "grid_victims": COUNT,
    "architecture_victims": Range(1, 10**6, empty=True),
    "tv_victims": COUNT,
    "movie_victims": Range(1, 8),
    "link_images": Range(0, 8),
    "images": COUNT,
    "frames": Range(2, 100),
    "steps": STEPS,
    "lbfgs_steps": STEPS,
    "batch_steps": STEPS,
    "grid_steps": STEPS,
    "trained_steps": STEPS,
    "architecture_steps": Range(1, 10**6, empty=True),
    "tail": Range(2, 10**6),
    "plateau": Range(0, 10**6),
    "tv": WEIGHT,
    "tv_tried": Range(0, 10**6, empty=True),
    "batch_images": COUNT,
    "batch_sizes": Range(1, 10**6, empty=True),
    "batches": COUNT,
    "label_batches": COUNT,
    "image_sizes": Range(1, 4096, empty=True),
    "noise_levels": Range(0, 10**6, empty=True),
    "pruning": Range(0, 1, empty=True),
    # texts that are read by whoever knows what they mean
    "defences": ANY,
    "more": ANY,
    "attacks": Range(),
    "compared": ANY,
    "network": Range(),
    "networks": ANY,
    "grid": ANY,
    "trained": ANY,
    "untrained": ANY,
    "protections": Range(),
    "architectures": ANY,
    "architecture_networks": ANY,
    "patch_networks": ANY,
    "names": Range(),
}
AT_MOST = {"repeated": "seeds", "rounds": "training_rounds"}  # where a chapter has both, and both are numbers
PAIRED = {"sizes": "positions"}  # lists of one length
WITHIN = {"partial": "positions"}  # entries that are in no other list are left out: said, not refused


def misfits(values: Mapping[str, Any], chapter: str) -> list[str]:
    """Return what is wrong with a chapter's parameters, whose types are right.

    Args:
        values: all of them.
        chapter: whose.
    """
    found = (
        rule.misfit(name, value)
        for name, value in values.items()
        if (rule := RANGES.get(f"{chapter}.{name}") or RANGES.get(name))
    )
    return [problem for problem in (*found, *_between(values)) if problem]


def _between(values: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield what is wrong between two parameters."""
    for name, other in AT_MOST.items():
        most = values.get(other)
        if name in values and isinstance(most, int) and np.max(values[name]) > most:
            yield f"{name} must be at most {other} ({most}), got {shown(values[name])}."
    for name, other in PAIRED.items():
        if name in values and other in values and len(values[name]) != len(values[other]):
            there, here = shown(values[other]), shown(values[name])
            yield f"{name} needs one value per entry of {other} {there}, got {here}."
    images = values.get("batch_images", 0)
    if uneven := [size for size in values.get("batch_sizes", ()) if size > 0 and images % size]:
        yield f"batch_images={images} cannot be shared in batches of {uneven}."


def left_out(values: Mapping[str, Any]) -> list[str]:
    """Return sentences about entries that no other parameter knows, so that nothing is computed for them."""
    return [
        f"{name}: {shown(missing)} stand nowhere in {other} {shown(values[other])} and are left out."
        for name, other in WITHIN.items()
        if name in values and other in values
        if (missing := [part for part in values[name] if part not in values[other]])
    ]
