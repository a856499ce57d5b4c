"""What values the parameters of the chapters may have: the table `params/ranges.yaml`."""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gleak_lib.datasets.search import check_name
from gleak_lib.errors import GleakError, StoreError, shown
from gleak_lib.experiments import paths
from gleak_lib.extras import require


@dataclass(frozen=True)
class Range:
    """What a parameter may be, or each entry of a list.

    Attributes:
        least, most: smallest and largest number.
        empty: whether a list may be empty.
        fewest: entries that a list has at least, where one is not enough.
        ascending: whether a list must ascend: its last entry is the last round.
        options: the only texts there are.
        dataset: whether it names an image set.
        within: another parameter; entries that are not in its list are left out, which is said, not refused.
        at_most: another parameter, where a chapter has both: its least value is the largest here.
        paired: another parameter; of two lists, each has as many entries.
        shared: another parameter, a list of sizes of batches into which the number can be divided.
    """

    least: float = -math.inf
    most: float = math.inf
    empty: bool = False
    fewest: int = 0
    ascending: bool = False
    options: tuple[str, ...] = ()
    dataset: bool = False
    within: str | None = None
    at_most: str = ""
    paired: str = ""
    shared: str = ""

    def misfit(self, name: str, value: Any) -> str | None:
        """Return what is wrong with a value of the right type, or None."""
        if isinstance(value, (list, tuple)):
            if not value and not self.empty:
                return f"{name} must not be empty."
            if len(value) < self.fewest:
                return f"{name} must have at least {self.fewest} entries, got {shown(value)}."
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


def ranges() -> dict[str, Range]:
    """Return the table of the checkout; nothing where there is none."""
    try:
        path = paths.root() / "params" / "ranges.yaml"
    except StoreError:
        return {}
    return _read(path) if path.is_file() else {}


@functools.cache
def _read(path: Path) -> dict[str, Range]:
    table = require("yaml", "book").safe_load(path.read_text(encoding="utf-8"))
    found: dict[str, Range] = {}
    for name, row in table.items():
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        found[name] = Range(**values)
    return found


def misfits(values: Mapping[str, Any], chapter: str) -> list[str]:
    """Return what is wrong with a chapter's parameters, whose types are right.

    Args:
        values: all of them.
        chapter: whose.
    """
    known = ranges()
    found = (
        rule.misfit(name, value)
        for name, value in values.items()
        if (rule := known.get(f"{chapter}.{name}") or known.get(name))
    )
    return [problem for problem in (*found, *_between(values, known)) if problem]


def _between(values: Mapping[str, Any], known: Mapping[str, Range]) -> Iterator[str]:
    """Yield what is wrong between two parameters."""
    for name, value in values.items():
        rule = known.get(name, Range())
        if (other := rule.at_most) in values and np.max(value, initial=0) > np.min(values[other]):
            yield f"{name} must be at most {other} ({shown(values[other])}), got {shown(value)}."
        if (other := rule.paired) in values and isinstance(value, (list, tuple)):
            there = values[other]
            if isinstance(there, (list, tuple)) and len(value) != len(there):
                yield f"{name} needs one value per entry of {other} {shown(there)}, got {shown(value)}."
        sizes = values.get(rule.shared, ())
        if uneven := [size for size in sizes if size > 0 and value % size]:
            yield f"{name}={value} cannot be shared in batches of {uneven}."


def left_out(values: Mapping[str, Any]) -> list[str]:
    """Return sentences about entries that no other parameter knows, so that nothing is computed for them."""
    return [
        f"{name}: {shown(missing)} stand nowhere in {other} {shown(values[other])} and are left out."
        for name, rule in ranges().items()
        if name in values and (other := rule.within) and other in values
        if (missing := [part for part in values[name] if part not in values[other]])
    ]
