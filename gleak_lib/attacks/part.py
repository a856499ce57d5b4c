"""What every part of an attack is: a small frozen value that prints as the code that makes it."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar, get_args, get_origin

from torch import Tensor

from gleak_lib.errors import ParameterError, ShapeError, no_option, unknown
from gleak_lib.grammar import Noun

Own = TypeVar("Own", bound="Part")


class Part(Noun):
    """Base of the frozen dataclasses that attacks are composed of.

    A field's annotation says what values it takes: a `Literal` its options, `Positive` and the like a range.
    """

    leaves: ClassVar[Mapping[str, str]] = {}
    """Field -> the name under which `Attack.replace` finds it, where that is not the field's own."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value, name = getattr(self, f.name), self.leaves.get(f.name, f.name)
            if get_origin(f.type) is Literal:
                among(get_args(f.type), **{name: value})
            for must in getattr(f.type, "__metadata__", ()):
                if not must.holds(value):
                    raise ParameterError(f"{name} must {must.words}, got {value}.")
            if isinstance(value, list):
                object.__setattr__(self, f.name, tuple(value))

    def replace(self: Own, **changes: Any) -> Own:
        """Return a copy with other values.

        Raises:
            ParameterError: If there is no such setting (the message names the nearest), or no such value.
        """
        for name in changes:
            if name not in fields_of(self):
                raise no_option(type(self).__name__, name, fields_of(self), "setting")
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


class Must(NamedTuple):
    """A condition of a field's value, and how it is said."""

    words: str
    holds: Callable[[Any], bool]

    def __repr__(self) -> str:
        return repr(f"must {self.words}")


FINITE = Must("be finite", lambda v: v != math.inf)
Positive = Annotated[float, Must("be positive", lambda v: v > 0), FINITE]
NotNegative = Annotated[float, Must("not be negative", lambda v: v >= 0), FINITE]
Steps = Annotated[int, Must("not be negative", lambda v: v >= 0)]
AtLeastOne = Annotated[int, Must("be at least 1", lambda v: v >= 1)]


def fields_of(part: Any) -> dict[str, Any]:
    """Return a dataclass's fields and their values; nothing of a function."""
    if not dataclasses.is_dataclass(part):
        return {}
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def of_victims(value: Any, victims: int, what: str) -> Tensor:
    """Return what a function of a user's gave, if it is one value per victim.

    Raises:
        ShapeError: If it is not.
    """
    if isinstance(value, Tensor) and value.shape == (victims,):
        return value
    got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    raise ShapeError(
        f"{what} must return one value per victim, {(victims,)}, got {got}: sum or average over all axes but "
        "the first, as .flatten(1).sum(1) does."
    )


def among(options: Iterable[str], **values: Any) -> None:
    """Refuse texts that are none of `options`."""
    for name, value in values.items():
        if value not in options:
            raise unknown(f"value of {name}", value, options)
