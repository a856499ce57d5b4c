"""Fields of experiments: checked, put in their one form, and said in a few words."""

from typing import Any

from gleak_lib.defenses import Defense, chain
from gleak_lib.errors import ParameterError, shown

VICTIM_SEEDS, LARGEST = 2**32 - 1, 2**63 - 1  # what numpy's and torch's generators take


def integers(experiment: Any, **least: int | None) -> None:
    """Refuse fields that are no integers, smaller than the least value given (None: any), or beyond any use.

    Raises:
        ParameterError: such a field; the message names it.
    """
    for name, minimum in least.items():
        value, most = getattr(experiment, name), VICTIM_SEEDS if name == "victim_seed" else LARGEST
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not (-most if minimum is None else minimum) <= value <= most:
            expected = "an integer" if minimum is None else f"an integer of at least {minimum}"
            expected += f" and at most {most}" if whole and value > most else ""
            raise ParameterError(f"{name} must be {expected}, got {shown(value)}.")


def put(experiment: Any, **values: Any) -> None:
    """Set fields of a frozen experiment while it is made."""
    for name, value in values.items():
        object.__setattr__(experiment, name, value)


def count(number: int, noun: str) -> str:
    """Return `1 round`, `2 rounds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def one_defense(given: Any) -> Defense:
    """Return an experiment's defense of what it was given: a defense, several, or None.

    Raises:
        ParameterError: If it is anything else.
    """
    return chain(*given) if isinstance(given, (tuple, list)) else chain(given)


def defended(defense: Defense) -> str:
    """Return ` with compression(p=0.5)`, for descriptions of trained weights; nothing where there is none."""
    return f" with {defense}" if defense else ""


def duration(seconds: float) -> str:
    """Return a duration in words that claim no more than an estimate knows: "6 min", "3 h 20 min"."""
    if seconds < 1:
        return "1 s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" if hours >= 10 or not minutes else f"{hours} h {minutes} min"
    return f"{hours / 24:.0f} days"
