"""Cells as JSON and as keys: the same values give the same key on every machine and in every version.

A *stored* cell spells out every value. A *key* is the hash of the values that differ from their defaults,
so that a new setting with a default changes no old key. That a default itself may change one day is no
danger: the stored values would then differ from the ones asked for, and the store says so (`Store.get`).
"""

import dataclasses
import functools
import hashlib
import json
import math
from typing import Any, TypeVar, get_type_hints

from gleak_lib import typed
from gleak_lib.attacks import Attack
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import ParameterError, StoreError, shown
from gleak_lib.federated import Protocol

TYPES: dict[str, type] = {}
"""Classes that may stand in a cell, by name: nothing else is ever made from a file."""

T = TypeVar("T", bound=type)


def storable(cls: T) -> T:
    """Let instances of a frozen dataclass stand in cells; a class decorator."""
    TYPES[cls.__name__] = cls
    return cls


for _cls in (PRECODE, CVB, Protocol, Attack):
    storable(_cls)


def encode(value: Any, *, full: bool = True) -> Any:
    """Return plain JSON data: dataclasses as objects with their class's name as `type`, tuples as lists.

    Fields that do not take part in comparisons are left out.

    Args:
        value: a storable dataclass, a tuple, a number, a text, a truth value or None.
        full: spell out defaults, too; without them, numbers that are equal are also written alike.

    Raises:
        ParameterError: a value of another kind, or a number that is not finite.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ParameterError(f"A cell holds finite numbers only, got {value}.")
        return int(value) if not full and value.is_integer() else float(value)
    if isinstance(value, (tuple, list)):
        return [encode(part, full=full) for part in value]
    name = type(value).__name__
    if TYPES.get(name) is not type(value):
        raise ParameterError(
            f"A cell cannot hold {value!r} ({name}): it takes numbers, texts, tuples and frozen dataclasses "
            "marked with experiments.serial.storable."
        )
    found = {"type": name}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if field.compare and (full or part != field.default):
            found[field.name] = encode(part, full=full)
    return found


def decode(data: Any) -> Any:
    """Return what `encode` was given; settings that `data` does not know take their defaults.

    Raises:
        StoreError: a class or a setting that this version does not have, or a value that it refuses.
    """
    if isinstance(data, list):
        return tuple(decode(part) for part in data)
    if not isinstance(data, dict):
        return data
    name = data.get("type")
    if not isinstance(name, str) or name not in TYPES:
        raise StoreError(f"There is no storable class {name!r}; there is: {', '.join(sorted(TYPES))}.")
    values = {key: decode(part) for key, part in data.items() if key != "type"}
    try:
        made = TYPES[name](**values)
    except Exception as error:  # a field of another type fails wherever it is first used
        raise StoreError(f"This version cannot make {name} of the stored values: {error}") from error
    if problem := mistyped(made, deep=False):  # its parts were looked at when they were made
        raise StoreError(f"This version cannot make {name} of the stored values: {problem}.")
    return made


def mistyped(value: Any, *, deep: bool = True) -> str | None:
    """Return which field of a storable dataclass, and of those in it, is of another type than declared."""
    for name, hint in _hints(type(value)).items():
        part = getattr(value, name)
        if not typed.fits(part, hint):
            where = f"{type(value).__name__}.{name}"
            return f"{where} must be {typed.shown(hint)}, got {shown(part)} ({type(part).__name__})"
        if deep and dataclasses.is_dataclass(part) and (problem := mistyped(part)):
            return problem
    return None


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, localns=dict(TYPES))  # some are written as texts
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def key(value: Any) -> str:
    """Return 16 hexadecimal digits that stand for the values of a cell."""
    text = json.dumps(encode(value, full=False), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
