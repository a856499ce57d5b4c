"""Experiments as JSON and as keys: the same values give the same key on every machine and in every version.

A *stored* experiment spells out every value. A *key* is the hash of the values that differ from their
defaults, so that a new setting with a default changes no old key. A default that changes one day is no
danger: the stored values would then differ from those asked for, and the store says so (`Store.get`).
"""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

from gleak_lib import attacks, grammar, typed
from gleak_lib.attacks.flat import FlatAttack, flat
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.datasets import RootSet
from gleak_lib.defenses import DEFENSES, Defense, chain
from gleak_lib.errors import ParameterError, StoreError, shown
from gleak_lib.federated import Compensation, Protocol, WeightedMean

TYPES: dict[str, type] = {}
"""Classes that may stand in an experiment, by name, besides those derived from `Bottleneck` and `Defense`.

Nothing else is ever made from a file."""

SPELLED = {"dp": ("noise_multiplier",), "slices": ()}
"""Options of defenses that are written down, and so part of a key, even where they are the defaults.

Of a defense that is not named here it is the first option."""

FORMERLY = {"dp": ("max_grad_norm", "noise_multiplier")}
"""Options that some stored results spell out, too; they are found under those keys (`keys`)."""


class NotImportedError(StoreError):
    """A stored value of a class that no imported module has defined."""


T = TypeVar("T", bound=type)
Spelled = Mapping[str, tuple[str, ...]]


def storable(cls: T) -> T:
    """Let instances of a frozen dataclass stand in experiments; a class decorator."""
    return stored_as(cls.__name__)(cls)


def stored_as(name: str) -> Callable[[T], T]:
    """The same for a class that files call by another name than its own."""

    def known(cls: T) -> T:
        TYPES[name] = cls
        return cls

    return known


CLEANINGS = (attacks.MuteSlices, attacks.CombineUpdates, attacks.CompensateUpdates, attacks.NoiseGradient)
for _cls in (PRECODE, CVB, Protocol, WeightedMean, Compensation, RootSet, *attacks.PARTS, *CLEANINGS):
    storable(_cls)
TYPES |= {"Attack": FlatAttack, "AttackOfParts": attacks.Attack}


def encode(value: Any, *, full: bool = True, spelled: Spelled = SPELLED) -> Any:
    """Return plain JSON data: dataclasses as objects with their class's name as `type`, tuples as lists.

    Defenses are lists of pairs, the name and the options that differ from the defaults; those from outside
    the package are objects, too. Attacks have a form of their own, `FlatAttack`. Fields that do not take part
    in comparisons are left out.

    Args:
        value: a storable dataclass, a defense, a tuple, a number, a text, a truth value or None.
        full: spell out defaults, too; without them, numbers that are equal are also written alike.
        spelled: options of defenses to write always.

    Raises:
        ParameterError: a value of another kind, a number that is not finite, or an object with settings that
            are no fields.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ParameterError(f"An experiment holds finite numbers only, got {value}.")
        return int(value) if not full and value.is_integer() else float(value)
    if isinstance(value, (tuple, list)):
        return [encode(part, full=full, spelled=spelled) for part in value]
    if isinstance(value, Defense):
        return [_defense(part, full, spelled) for part in value.parts]
    return _object(value, full, spelled)


def _defense(value: Defense, full: bool, spelled: Spelled) -> Any:
    name = value.text_name()
    if DEFENSES.get(name) is not type(value):
        return _object(value, full, spelled)
    values = {f.name: (getattr(value, f.name), f.default) for f in dataclasses.fields(value)}
    always = {**SPELLED, **spelled}.get(name, (value.options()[0].name,))
    kept = sorted(n for n, (found, default) in values.items() if n in always or found != default)
    return [name.replace("_", "-"), [[n, encode(values[n][0], full=full)] for n in kept]]


def _object(value: Any, full: bool, spelled: Spelled) -> dict[str, Any]:
    if isinstance(value, attacks.Inversion):
        value = flat(value) or value
    name = next((name for name, cls in TYPES.items() if cls is type(value)), type(value).__name__)
    if _type(name) is not type(value):
        raise ParameterError(
            f"An experiment cannot hold {value!r} ({name}): it takes numbers, texts, tuples and "
            "frozen dataclasses marked with experiments.encoding.storable."
        )
    found = {"type": name}
    for field in _fields(type(value)):
        part = getattr(value, field.name)
        if field.compare and (full or part != field.default):
            found[field.name] = encode(part, full=full, spelled=spelled)
    return found


@functools.cache
def _fields(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields of a dataclass, by which two of its instances are told apart.

    Raises:
        ParameterError: If its constructor is of no dataclass: what that sets would be no part of the key, nor
            of what `==` compares.
    """
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if "__dataclass_fields__" not in vars(owner):
        raise ParameterError(
            f"An experiment cannot hold a {cls.__name__}, since experiments are told apart by the fields of "
            "dataclasses, and its constructor is of no dataclass: write it as a frozen dataclass, "
            "@dataclass(frozen=True), with a field for each setting in place of __init__."
        )
    return dataclasses.fields(cls)


def _type(name: str) -> type | None:
    """Return the class that may stand in an experiment under this name."""
    return TYPES.get(name) if name in TYPES else {cls.__name__: cls for cls in grammar.outside()}.get(name)


def decode(data: Any) -> Any:
    """Return what `encode` was given; settings that `data` does not know take their defaults.

    Raises:
        NotImportedError: If no imported module defines a class.
        StoreError: If this version does not have a setting, or refuses a value.
    """
    if isinstance(data, list):
        return tuple(decode(part) for part in data)
    if not isinstance(data, dict):
        return data
    name = data.get("type")
    if not isinstance(name, str) or (cls := _type(name)) is None:
        raise NotImportedError(
            f"There is no storable class {name!r}: import the module that defines it first (kinds that only "
            "chapters of the book run are in gleak_book.kinds)."
        )
    values = {key: decode(part) for key, part in data.items() if key != "type"}
    try:
        for key, hint in _hints(cls).items():
            if hint is Defense and key in values:
                values[key] = chain(*map(_made, values[key]))
        made = cls(**values)
        if isinstance(made, FlatAttack) and not mistyped(made):
            return made.made()
    except Exception as error:  # a field of another type fails wherever it is first used
        raise StoreError(f"This version cannot make {name} of the stored values: {error}") from error
    if problem := mistyped(made, deep=False):  # its parts were looked at when they were made
        raise StoreError(f"This version cannot make {name} of the stored values: {problem}.")
    return made


def _made(part: Any) -> Defense:
    """Return the defense of a pair (name, options) as files have it."""
    if isinstance(part, Defense):
        return part
    name, options = part
    return DEFENSES[name.replace("-", "_")](**dict(options))


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
    return {field.name: hints[field.name] for field in _fields(cls)}


def key(value: Any, spelled: Spelled = SPELLED) -> str:
    """Return 16 hexadecimal digits that stand for the values of an experiment."""
    data = encode(value, full=False, spelled=spelled)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def keys(value: Any) -> tuple[str, ...]:
    """Return the keys that a result may be stored under: `key`, and another of an earlier spelling."""
    return tuple(dict.fromkeys((key(value), key(value, FORMERLY))))
