"""Defences as cells hold them: pairs (name, options), put in one form and made into a transformation."""

from typing import Any

from gleak_lib.defenses import DEFENSES, Defense, chain
from gleak_lib.errors import ParameterError

Pairs = tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
"""Defences in the order they are applied: (name in `DEFENSES`, (option, value) sorted by option)."""


def as_pairs(given: Any) -> Pairs:
    """Return defences in the one form that keys know; options may be dicts or pairs.

    Raises:
        UnknownNameError, ParameterError: a defence, or a setting of one, that there is not.
    """
    found = tuple(_pair(one) for one in given)
    transformation(found)  # refused here, not when the cell runs
    return found


def transformation(defense: Pairs) -> Defense | None:
    """Return the chain of these defences, None where there is none.

    Raises:
        UnknownNameError, ParameterError: as `as_pairs`.
    """
    if not defense:
        return None
    try:
        return chain(*(DEFENSES[name](**dict(options)) for name, options in defense))
    except TypeError as error:
        raise ParameterError(f"A defence does not take these settings: {error}.") from error


def said(defense: Pairs) -> str:
    """Return ` with compression(p=0.9)`, for descriptions of trained weights; nothing where there is none."""
    found = transformation(defense)
    return f" with {found.name}" if found else ""


def _pair(given: Any) -> tuple[str, tuple[tuple[str, Any], ...]]:
    if isinstance(given, str) or len(given) != 2:
        raise ParameterError(
            f"A defence is a pair (name, options), for instance ('gaussian', {{}}), got {given!r}."
        )
    name, options = given
    found = options.items() if isinstance(options, dict) else options
    return str(name), tuple(sorted((str(key), value) for key, value in found))
