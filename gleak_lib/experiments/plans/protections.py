"""What protects clients, in one line of text: bottlenecks, defences of gradients, larger batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from gleak_lib.bottlenecks import CVB, PRECODE, BottleneckSpec
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.defended import Pairs, as_pairs, transformation

KL_FORMS = ("exact", "paper-code")
WRITTEN = {
    "none": "none",
    "precode": "precode P K",
    "cvb": "cvb P k s beta",
    "batch": "batch B",
}


@dataclass(frozen=True)
class Protection:
    """A setting of one or several parts.

    Attributes:
        text: as it was written, see `parse`.
        bottlenecks: of the network.
        defense: what clients do to their gradients.
        batch: images in each update.
    """

    text: str
    bottlenecks: tuple[BottleneckSpec, ...] = ()
    defense: Pairs = ()
    batch: int = 1

    @property
    def label(self) -> str:
        """Name for people, for instance `CVB P=1, k=5, s=1/2, β=0.1 + dp C=20, σ=0.001`."""
        return " + ".join(map(_label, self.text.split(" + "))) if self.text != "none" else "none"


def parse(text: str) -> Protection:
    """Read a setting, whose parts are joined by ` + `.

    - `none`;
    - `precode P K`, beta 0.01 as in 001; `P` may be `1+2`;
    - `cvb P k s beta`; a bottleneck may be followed by `exact` or `paper-code` (the form of the KL term),
      `beta=…`, `floor=…` (the least sigma);
    - `batch B`, images in each update;
    - a defence of `DEFENSES` with its options, `compression p=0.9`.

    Raises:
        UnknownNameError: a part that begins with no such name.
        ParameterError: values that are no numbers, too few, or refused by what they are meant for.
    """
    bottlenecks: tuple[BottleneckSpec, ...] = ()
    defenses: list[tuple[str, dict[str, Any]]] = []
    batch = 1
    for part in text.split(" + "):
        name, *words = part.split() or [""]
        if name in ("precode", "cvb"):
            bottlenecks += _bottlenecks(part, name, words)
        elif name == "batch":
            batch = int(_numbers(part, words, 1)[0])
        elif name == "none":
            _numbers(part, words, 0)
        else:
            defenses.append((name, dict(_option(part, word) for word in words)))
    pairs = as_pairs(defenses)
    transformation(pairs)  # refused here, not when a cell runs
    if batch < 1:
        raise ParameterError(f"{text!r}: a batch holds at least one image.")
    return Protection(text, bottlenecks, pairs, batch)


def _bottlenecks(part: str, name: str, words: Sequence[str]) -> tuple[BottleneckSpec, ...]:
    needed = WRITTEN[name].split()[1:]
    given, more = words[: len(needed)], words[len(needed) :]
    if len(given) < len(needed):
        raise ParameterError(f"Write {WRITTEN[name]!r}, got {part!r}.")
    positions = [int(p) for p in _numbers(part, given[0].split("+"))]
    values = _numbers(part, given[1:])
    options: dict[str, Any] = {}
    for word in more:
        key, equals, value = word.partition("=")
        if not equals and key in KL_FORMS:
            options["kl"] = key
        elif equals and key in ("floor", "beta"):
            options["sigma_floor" if key == "floor" else key] = _numbers(part, [value])[0]
        else:
            raise unknown(f"word in {part!r}", word, (*KL_FORMS, "floor=…", "beta=…"))
    if name == "precode":
        return tuple(PRECODE(p, k=int(values[0]), **options) for p in positions)
    size, scale, beta = values
    options.setdefault("beta", beta)
    return tuple(CVB(p, kernel_size=int(size), scale=scale, **options) for p in positions)


def _option(part: str, word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ParameterError(f"Write the options of a defence as name=value, got {word!r} in {part!r}.")
    number = _numbers(part, [value])[0]
    whole = number.is_integer() and not set(value) & set(".eE/")
    return name, int(number) if whole else number


def _numbers(part: str, words: Sequence[str], count: int | None = None) -> list[float]:
    if count is not None and len(words) != count:
        raise ParameterError(f"Write {WRITTEN[part.split()[0]]!r}, got {part!r}.")
    try:
        return [float(Fraction(word)) for word in words]
    except (ValueError, ZeroDivisionError) as error:
        raise ParameterError(f"{part!r}: {error}: numbers are written 5, 1/2 or 1e-1.") from error


def _label(part: str) -> str:
    name, *words = part.split()
    if name == "batch":
        return f"batch of {words[0]}"
    if name not in ("precode", "cvb"):
        return " ".join([name, *words])
    symbols = {"precode": ("P", "K"), "cvb": ("P", "k", "s", "β")}[name]
    settings = [f"{symbol}={word}" for symbol, word in zip(symbols, words, strict=False)]
    more = [word.replace("floor=", "σ ≥ ").replace("beta=", "β=") for word in words[len(symbols) :]]
    more = ["exact KL" if word == "exact" else word for word in more]
    return f"{name.upper()} " + ", ".join([*settings, *more])
