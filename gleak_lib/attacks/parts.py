"""The parts that an attack is composed of, and how one of their settings is found by its name."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from torch import Tensor

from gleak_lib.attacks.labels import Known, Labels
from gleak_lib.attacks.match import Match
from gleak_lib.attacks.noise import Noise, Resample
from gleak_lib.attacks.optimizer import Adam, Optimizer
from gleak_lib.attacks.part import AtLeastOne, Part, fields_of
from gleak_lib.attacks.priors import OPTIONAL, TotalVariation
from gleak_lib.attacks.schedule import Schedule
from gleak_lib.attacks.variables import Pixels, Variables
from gleak_lib.errors import ParameterError, no_option

Own = TypeVar("Own", bound="Parts")


@dataclass(frozen=True)
class Parts(Part):
    """What the engine needs to know of an attack; see `Attack`."""

    name: str = "ig"
    match: Match = field(default_factory=Match)
    priors: tuple[Callable[..., Tensor], ...] = (TotalVariation(),)
    labels: Labels = field(default_factory=Known)
    noise: Noise = field(default_factory=Resample)
    variables: Variables = field(default_factory=Pixels)
    optimizer: Optimizer = field(default_factory=Adam)
    schedule: Schedule = field(default_factory=Schedule)
    restarts: AtLeastOne = 1
    keep: Literal["evaluated", "next"] = "evaluated"

    def __post_init__(self) -> None:
        super().__post_init__()
        weighted = [prior for prior in self.priors if getattr(prior, "weight", 1) != 0]
        object.__setattr__(self, "priors", tuple(sorted(weighted, key=_rank)))

    @property
    def settings(self) -> dict[str, Any]:
        """What `replace` takes one by one, by name; 0 is the weight of a prior that is not there."""
        found = {"name": self.name, "restarts": self.restarts, "keep": self.keep}
        for part in _slots(self).values():
            absent = {"weight": 0.0} if isinstance(part, type) else fields_of(part)
            found |= {leaf: absent[name] for name, leaf in _leaves(part).items() if name in absent}
        return found

    def replace(self: Own, **changes: Any) -> Own:
        """Return a copy with other parts, or other settings of its parts by name: `replace(tv=0.1, lr=0.5)`.

        Total variation's weight is `tv`; the fields of all kinds of noise begin with `noise_`;
        `label_weight`, `label_form` and `statistics_weight` belong to `LabelDistance` and `BatchStatistics`.
        A prior of these three that is not there is added.

        Raises:
            ParameterError: If there is no such setting (the message names the nearest), or several parts have
                one of that name.
        """
        own = fields_of(self)
        made = dataclasses.replace(self, **{name: value for name, value in changes.items() if name in own})
        slots, given = _slots(made), {}
        for name in changes.keys() - own.keys():
            found = [(s, f) for s, part in slots.items() for f, leaf in _leaves(part).items() if leaf == name]
            if not found:
                raise no_option("This attack", name, dict.fromkeys([*own, *made.settings]), "setting")
            if len(found) > 1:
                owners = " and ".join(type(slots[slot]).__name__ for slot, _ in found)
                raise ParameterError(f"{owners} both have a setting {name!r}: replace the part itself.")
            given.setdefault(found[0][0], {})[found[0][1]] = changes[name]
        for slot, values in given.items():
            part = slots[slot]
            slots[slot] = part(**values) if isinstance(part, type) else dataclasses.replace(part, **values)
        priors = tuple(part for slot, part in slots.items() if slot[1] >= 0 and not isinstance(part, type))
        others = {name: part for (name, number), part in slots.items() if number < 0}
        return dataclasses.replace(made, **others, priors=priors)


def _rank(prior: Any) -> int:
    """Return a prior's place in the sum: the package's own come first, in one order."""
    return OPTIONAL.index(type(prior)) if type(prior) in OPTIONAL else len(OPTIONAL)


def _slots(attack: Parts) -> dict[tuple[str, int], Any]:
    """Return the parts by field and, for priors, number; of optional priors that are not there, the class."""
    single = {(name, -1): part for name, part in fields_of(attack).items() if isinstance(part, Part)}
    absent = (cls for cls in OPTIONAL if cls not in map(type, attack.priors))
    return single | {("priors", i): prior for i, prior in enumerate((*attack.priors, *absent))}


def _leaves(part: Any) -> dict[str, str]:
    """Return the names under which a part's fields are found."""
    names = getattr(part, "leaves", {})
    return {name: names.get(name, name) for name in getattr(part, "__dataclass_fields__", ())}
