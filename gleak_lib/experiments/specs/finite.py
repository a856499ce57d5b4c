"""Figures that are numbers: a NaN that was stored would read as protection."""

import math
from typing import Any

import numpy as np

from gleak_lib.errors import StoreError
from gleak_lib.experiments.specs.base import Experiment


def require_finite(experiment: Experiment, figures: dict[str, Any]) -> None:
    """Refuse NaN and infinity in an experiment's figures, but where its class allows them (`unbounded`).

    None is no number that went wrong: it says that a figure was never to be had.

    Args:
        experiment: what was computed.
        figures: its figures, nested dicts and lists of plain values.

    Raises:
        StoreError: If another figure is not finite; the message names it.
    """
    for path, value in _numbers(figures):
        if not math.isfinite(value) and not set(path) & set(experiment.unbounded):
            raise StoreError(
                f"{experiment.describe()} gave {'.'.join(path)} = {value}, which is no figure: "
                "the computation failed. Nothing of it is stored."
            )


def _numbers(value: Any, path: tuple[str, ...] = ()) -> Any:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _numbers(part, (*path, str(name)))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _numbers(part, path)
    elif isinstance(value, (float, np.floating)):
        yield path, value
