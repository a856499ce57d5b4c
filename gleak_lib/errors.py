"""One exception family: whatever the package refuses, it refuses with a sentence that names the fix."""

import difflib
from collections.abc import Iterable


class GleakError(Exception):
    """Base of every error that the package raises on purpose."""


class UnknownNameError(GleakError, ValueError):
    """A name that no registry, chapter or profile has."""


class ParameterError(GleakError, ValueError):
    """A parameter with a wrong name, type or value."""


class ShapeError(GleakError, ValueError):
    """Tensors whose names, shapes or ranges do not fit together."""


class DataError(GleakError, ValueError):
    """An image archive that is missing, damaged or unsafe."""


class GradientError(GleakError, ValueError):
    """Gradients that cannot be attacked: not finite, or not those of the model."""


class AttackError(GleakError, RuntimeError):
    """An attack that failed, so that what it returned says nothing: its loss was never finite."""


class StoreError(GleakError, RuntimeError):
    """A stored result or a run that cannot be used."""


class TimeLimitError(StoreError):
    """A run that stopped because its time was up; what was finished is stored."""


class MissingDependencyError(GleakError, ImportError):
    """An optional package that is not installed; the message names the extra that brings it."""


def nearest(name: str, options: Iterable[str]) -> str | None:
    """Return the option that looks most like `name`, or None where none is close."""
    found = difflib.get_close_matches(str(name), [str(o) for o in options], n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(kind: str, name: object, options: Iterable[str]) -> UnknownNameError:
    """Build the error for an unknown name: the nearest option first, then all of them."""
    names = sorted(options)
    guess = nearest(str(name), names)
    hint = f" Did you mean {guess!r}?" if guess else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} There is: {', '.join(names) or 'none'}.")


def no_option(owner: str, name: str, options: Iterable[str], noun: str = "option") -> ParameterError:
    """Build the error for an option that `owner` does not have: the nearest one, then all that there are."""
    names = list(options)
    guess = nearest(name, names)
    hint = f" Did you mean {guess!r}?" if guess else ""
    return ParameterError(f"{owner} has no {noun} {name!r}.{hint} It has: {', '.join(names) or 'none'}.")


def shown(value: object, most: int = 80) -> str:
    """Return a value for a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer in it has more than 4,300 digits
        text = f"a value with thousands of digits ({type(value).__name__})"
    return text if len(text) <= most else f"{text[:most]}…"
