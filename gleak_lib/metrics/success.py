"""When an attack has succeeded: small criteria over a table of scores, which combine with &, | and ~."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError
from gleak_lib.typed import typed

if TYPE_CHECKING:
    from pandas import DataFrame, Series

SUCCESSFUL = 0.5  # SSIM of a successful attack (001 §V-B)


@dataclass(frozen=True)
class Criterion:
    """A named test of every row of a table of scores.

    Attributes:
        name: how it is shown, for instance "ssim >= 0.5".
        holds: the table -> a boolean series.
    """

    name: str
    holds: "Callable[[DataFrame], Series]"

    def __call__(self, frame: "DataFrame") -> "Series":
        """Return, row by row, whether the criterion holds."""
        return self.holds(frame)

    def __and__(self, other: "Criterion") -> "Criterion":
        return Criterion(f"({self.name} and {other.name})", lambda frame: self(frame) & other(frame))

    def __or__(self, other: "Criterion") -> "Criterion":
        return Criterion(f"({self.name} or {other.name})", lambda frame: self(frame) | other(frame))

    def __invert__(self) -> "Criterion":
        return Criterion(f"not {self.name}", lambda frame: ~self(frame))

    def __bool__(self) -> bool:
        raise ParameterError("Combine criteria with &, | and ~, not with and, or, not.")


@typed
def ssim_above(threshold: float = SUCCESSFUL) -> Criterion:
    """SSIM of at least `threshold`; 0.5 is what 001 §V-B calls a successful attack."""
    return Criterion(f"ssim >= {threshold:g}", lambda frame: _column(frame, "ssim") >= threshold)


@typed
def psnr_above(threshold: float) -> Criterion:
    """PSNR of at least `threshold` dB."""
    return Criterion(f"psnr >= {threshold:g}", lambda frame: _column(frame, "psnr") >= threshold)


@typed
def mse_below(threshold: float) -> Criterion:
    """Mean squared error of at most `threshold`."""
    return Criterion(f"mse <= {threshold:g}", lambda frame: _column(frame, "mse") <= threshold)


@typed
def lpips_below(threshold: float) -> Criterion:
    """Perceptual distance of at most `threshold`."""
    return Criterion(f"lpips <= {threshold:g}", lambda frame: _column(frame, "lpips") <= threshold)


SUCCESS = ssim_above(SUCCESSFUL)
"""What 001 counts as a successful attack."""


@typed
def attack_success_rate(frame: "DataFrame", criterion: Criterion = SUCCESS) -> float:
    """Return the percentage of rows for which the criterion holds (ASR, 001 §V-B).

    Args:
        frame: what `score` returned.
        criterion: what counts as success.

    Raises:
        ParameterError: no row, or a value that the criterion needs is missing.
    """
    if frame.empty:
        raise ParameterError("An attack success rate needs at least one scored image, got an empty table.")
    return 100 * float(criterion(frame).mean())


def _column(frame: "DataFrame", name: str) -> "Series":
    if name not in frame or frame[name].isna().any():
        reason = frame.attrs.get("missing", {}).get(name, "the table has no such column, or NaN in it")
        raise ParameterError(f"The criterion needs {name}, which is missing: {reason}.")
    return frame[name]
