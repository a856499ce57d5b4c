"""What a client protects itself with: bottlenecks in its network, a defense, larger batches."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any

from gleak_lib.bottlenecks import BOTTLENECKS, Bottleneck
from gleak_lib.datasets import RootSet
from gleak_lib.defenses import DEFENSES, NO_DEFENSE, Defense, chain
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.grammar import Call, Noun, calls, literal, outside
from gleak_lib.typed import typed

SYMBOLS = {
    "cvb": {"kernel_size": "k", "scale": "s", "beta": "β"},
    "precode": {"k": "K", "beta": "β"},
    "dp": {"noise_multiplier": "σ", "max_grad_norm": "C"},
}
ALWAYS = {
    "cvb": tuple(SYMBOLS["cvb"]),
    "precode": ("k",),
    "dp": ("noise_multiplier",),
}  # else the first option
VALUES = {RootSet.text_name(): RootSet}
"""What may stand as the value of an option, besides literals."""
POWERS = ("beta", "noise_multiplier", "std")  # are said as 1e-1, 1e-2


@typed
@dataclass(frozen=True)
class ClientSetup:
    """A client's network, defense and batches; `str` gives the text that `parse` reads.

    Attributes:
        bottlenecks: of the network, in the order of their positions.
        defense: what clients do to their gradients.
        batch_size: images in each update, at least 1.

    Raises:
        ParameterError: If `batch_size` is less than 1.
    """

    bottlenecks: tuple[Bottleneck, ...] = ()
    defense: Defense = NO_DEFENSE
    batch_size: int = 1

    def __post_init__(self) -> None:
        ordered = sorted(self.bottlenecks, key=lambda one: one.position)
        object.__setattr__(self, "bottlenecks", tuple(ordered))
        if self.batch_size < 1:
            raise ParameterError(f"A batch holds at least one image, got batch({self.batch_size}).")

    def __str__(self) -> str:
        batch = [f"batch({self.batch_size})"] if self.batch_size > 1 else []
        return " + ".join([*map(str, (*self.bottlenecks, *self.defense.parts)), *batch]) or "none"

    @property
    def label(self) -> str:
        """Name for tables and figures, for instance `CVB P=1, k=5, s=1/2, β=1e-1 + DP σ=1e-3`."""
        alike = groupby(self.bottlenecks, key=lambda one: dataclasses.replace(one, position=1))
        parts = [_label(one, [f"P={'+'.join(str(b.position) for b in group)}"]) for one, group in alike]
        parts += [_label(one, []) for one in self.defense.parts]
        parts += [f"batch of {self.batch_size}"] if self.batch_size > 1 else []
        return " + ".join(parts) or "none"


@typed
def parse(text: str) -> ClientSetup:
    """Read a setting, whose parts are joined by `+`, for instance `cvb(1, scale=1/2) + dp() + batch(4)`.

    Parts are bottlenecks and defenses by the lower-case name of their class, your own among them once they
    are defined, `batch(B)`, and `none`. Values are literals, with signs, and fractions. Nothing is evaluated.

    Raises:
        UnknownNameError: If a part has another name.
        ParameterError: If the text says anything else, or a value is refused by what it is meant for.
    """
    bottlenecks, defenses, batches = [], [], []
    for call in calls(text):
        part = _made(call)
        if isinstance(part, Bottleneck):
            bottlenecks.append(part)
        elif isinstance(part, Defense):
            defenses.append(part)
        else:
            batches.append(part)
    if len(batches) > 1:
        raise ParameterError(f"{text!r} says twice how large a batch is.")
    return ClientSetup(tuple(bottlenecks), chain(*defenses), *batches)


def differences(texts: Iterable[str], separator: str = ", ") -> list[str]:
    """Return texts without the parts that all of them have, `k=3` and `k=5` of `P=1, k=3` and `P=1, k=5`."""
    parts = [text.split(separator) for text in texts]
    common = set.intersection(*map(set, parts)) if parts else set()
    return [separator.join(part for part in some if part not in common) for some in parts]


def short(labels: Sequence[str]) -> list[str]:
    """Return labels without the settings that all of their kind share, for instance `CVB`, `CVB exact KL`."""
    found: dict[str, str] = {}
    for kind in dict.fromkeys(label.split()[0] for label in labels):
        same = [label for label in dict.fromkeys(labels) if label.split()[0] == kind]
        settings = differences(label.removeprefix(kind).strip() for label in same)
        found |= {label: f"{kind} {text}".strip() for label, text in zip(same, settings, strict=True)}
    return [found[label] for label in labels]


def _made(call: Call) -> Any:
    known: dict[str, Any] = {"batch": batch, **BOTTLENECKS, **DEFENSES}
    known |= {cls.text_name(): cls for cls in (*outside(Bottleneck), *outside(Defense))}
    if call.name not in known:
        raise unknown("protection", call.name, ("none", *known))
    return _called(known[call.name], call)


def _called(make: Callable[..., Any], call: Call) -> Any:
    def value(given: Any) -> Any:
        if not isinstance(given, Call):
            return given
        if given.name not in VALUES:
            raise unknown("value", given.name, VALUES)
        return _called(VALUES[given.name], given)

    try:
        return make(*map(value, call.positional), **{name: value(v) for name, v in call.options.items()})
    except TypeError as error:  # classes outside the package need not be `typed`
        raise ParameterError(f"{call.name} cannot be made of these settings: {error}.") from error


@typed
def batch(size: int) -> int:
    """Return the size that the part `batch(4)` of a text says."""
    return size


def _label(part: Noun, settings: list[str]) -> str:
    name = part.text_name()
    fields = [f for f in part.options() if f.name != "position"]
    always = ALWAYS.get(name, tuple(f.name for f in fields if not f.kw_only)[:1])
    others = [f.name for f in fields if f.name not in always and getattr(part, f.name) != f.default]
    settings += [_setting(name, option, getattr(part, option)) for option in (*always, *others)]
    shown = name.upper() if name in SYMBOLS else name.replace("_", "-")
    return f"{shown} {', '.join(settings)}".strip()


def _setting(name: str, option: str, value: Any) -> str:
    """Return `σ=1e-3` for a noise_multiplier of 0.001."""
    if option == "kl":
        return f"{value} KL"
    if option == "sigma_floor":
        return f"σ ≥ {literal(value)}"
    text = value if isinstance(value, str) else literal(value)
    if option in POWERS and value in (powers := [10.0**-n for n in range(1, 10)]):
        text = f"1e-{powers.index(value) + 1}"
    if (name, option) == ("cvb", "scale") and (share := Fraction(value).limit_denominator(64)) == value:
        text = str(share)
    return f"{SYMBOLS.get(name, {}).get(option, option)}={text}"
