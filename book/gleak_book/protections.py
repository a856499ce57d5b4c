"""What protects clients, in one line of text: bottlenecks, defences of gradients, larger batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from gleak_lib.bottlenecks import CVB, PRECODE, Bottleneck
from gleak_lib.defenses import DEFENSES
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.specs.defended import Pairs, as_pairs

KL_FORMS = ("exact", "paper-code")
SYMBOLS = {"noise_multiplier": "σ", "max_grad_norm": "C", "floor": "σ ≥ ", "beta": "β"}
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
    bottlenecks: tuple[Bottleneck, ...] = ()
    defense: Pairs = ()
    batch: int = 1

    @property
    def label(self) -> str:
        """Name for people, for instance `CVB P=1, k=5, s=1/2, β=1e-1 + DP σ=1e-3`."""
        return " + ".join(map(_label, self.text.split(" + "))) if self.text != "none" else "none"


def parse(text: str) -> Protection:
    """Read a setting, whose parts are joined by ` + `.

    - `none`;
    - `precode P K`, beta 0.01 as in 001 unless `beta=…` follows; `P` may be `1+2`;
    - `cvb P k s beta`; either bottleneck may be followed by `exact` or `paper-code` (the form of the KL term)
      and by `floor=…` (the least sigma);
    - `batch B`, images in each update;
    - a defence of `DEFENSES` with its options, `compression p=0.9`.

    Raises:
        UnknownNameError: a part that begins with no such name.
        ParameterError: values that are no numbers, too few, or refused by what they are meant for.
    """
    bottlenecks: tuple[Bottleneck, ...] = ()
    defenses: list[tuple[str, dict[str, Any]]] = []
    batch = 1
    for part in text.split(" + "):
        name, *words = part.split() or [""]
        if name in ("precode", "cvb"):
            bottlenecks += _bottlenecks(part, name, words)
        elif name == "batch":
            batch = _whole(part, _numbers(part, words, 1))[0]
            if batch < 1:
                raise ParameterError(f"{part!r}: a batch holds at least one image.")
        elif name == "none":
            _numbers(part, words, 0)
        elif name in DEFENSES:
            defenses.append((name, dict(_option(part, word) for word in words)))
        else:
            raise unknown("protection", name, (*WRITTEN, *DEFENSES))
    return Protection(text, bottlenecks, as_pairs(defenses), batch)


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


def _bottlenecks(part: str, name: str, words: Sequence[str]) -> tuple[Bottleneck, ...]:
    needed = WRITTEN[name].split()[1:]
    given, more = words[: len(needed)], words[len(needed) :]
    if len(given) < len(needed):
        raise ParameterError(f"Write {WRITTEN[name]!r}, got {part!r}.")
    positions = _whole(part, _numbers(part, given[0].split("+")))
    values = _numbers(part, given[1:])
    options: dict[str, Any] = {}
    known = {"floor": "sigma_floor"} | ({"beta": "beta"} if name == "precode" else {})
    for word in more:
        key, equals, value = word.partition("=")
        if not equals and key in KL_FORMS:
            options["kl"] = key
        elif equals and key in known:
            options[known[key]] = _numbers(part, [value])[0]
        else:
            raise unknown(f"word in {part!r}", word, (*KL_FORMS, *(f"{name}=…" for name in known)))
    if name == "precode":
        return tuple(PRECODE(p, k=_whole(part, values)[0], **options) for p in positions)
    size, scale, beta = values
    kernel_size = _whole(part, [size])[0]
    return tuple(CVB(p, kernel_size=kernel_size, scale=scale, beta=beta, **options) for p in positions)


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
        raise ParameterError(f"Numbers are written 5, 1/2 or 1e-1, got {part!r}.") from error


def _whole(part: str, numbers: Sequence[float]) -> list[int]:
    if wrong := [number for number in numbers if not number.is_integer()]:
        raise ParameterError(f"{part!r}: {wrong[0]:g} must be a whole number.")
    return [int(number) for number in numbers]


def _label(part: str) -> str:
    name, *words = part.split()
    if name == "batch":
        return f"batch of {words[0]}"
    if name not in WRITTEN:
        return f"{'DP' if name == 'dp' else name} {', '.join(map(_said, words))}".strip()
    symbols = {"none": (), "precode": ("P", "K"), "cvb": ("P", "k", "s", "β")}[name]
    settings = [f"{symbol}={word}" for symbol, word in zip(symbols, words, strict=False)]
    settings += [_said(word) for word in words[len(symbols) :]]
    return f"{name.upper()} {', '.join(settings)}" if settings else name


def _said(word: str) -> str:
    """Return `σ=1e-3` for `noise_multiplier=1e-3`."""
    name, equals, value = word.partition("=")
    symbol = SYMBOLS.get(name, name)
    if equals:
        return f"{symbol}{'' if symbol.endswith(' ') else equals}{value}"
    return f"{name} KL" if name == "exact" else name
