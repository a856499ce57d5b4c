"""What kind of value each stored figure is: a number where numbers are plotted, a list where there are many.

Each kind of experiment says the shapes of its figures (`Experiment.shapes`).

A shape is written like the figures themselves: `NUMBER`, `TEXT`, `TRUTH`, a list of one shape, a dict of
shapes, and a tuple of one shape where there may be null. Values that no shape names are not looked at.
"""

import math
from typing import Any

import numpy as np

from gleak_lib.errors import StoreError
from gleak_lib.experiments.specs.base import Experiment

NUMBER, TEXT, TRUTH = "a number", "a text", "true or false"
MAYBE = (NUMBER,)  # a NaN is stored as null
NUMBERS = [MAYBE]
PLAIN = {int, float, type(None)}
DATA = {"name": TEXT, "images": [NUMBER], "labels": TEXT, "mean": [NUMBER], "std": [NUMBER]}
PROVENANCE = {
    "data": (DATA,),
    "seconds": NUMBER,
    "threads": NUMBER,
    "compile": TRUTH,
    **dict.fromkeys(("gleak", "python", "torch", "numpy", "device", "date"), TEXT),
}


def misfit(value: Any, shape: Any, name: str) -> str | None:
    """Return what is wrong with stored values, None where nothing is.

    Args:
        value: as it was stored, or is to be.
        shape: what it has to be.
        name: of the value, for the message.
    """
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _said(value, "an object", name)
        known = ((part, shape[key], f"{name}.{key}") for key, part in value.items() if key in shape)
        return next((problem for known_part in known if (problem := misfit(*known_part))), None)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _said(value, "a list", name)
        if shape is NUMBERS and PLAIN.issuperset(map(type, value)):  # most of what is stored
            return None
        return next((p for part in value if (p := misfit(part, shape[0], name))), None)
    if isinstance(shape, tuple):
        return None if value is None else misfit(value, shape[0], name)
    fits = {NUMBER: _number(value), TEXT: isinstance(value, str), TRUTH: isinstance(value, bool)}
    return None if fits[shape] else _said(value, shape, name)


def _number(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("inf", "-inf")  # JSON has no word for them
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _said(value: Any, expected: str, name: str) -> str:
    return f"{name} must be {expected}, not {type(value).__name__}"


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
