"""What a few victims say of all of them: confidence intervals beside success rates and means."""

from typing import TYPE_CHECKING

import numpy as np

from gleak_lib.errors import ParameterError
from gleak_lib.experiments import tables
from gleak_lib.extras import require

if TYPE_CHECKING:
    from pandas import DataFrame

CONFIDENCE = 0.95


def share(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's interval of a share, as shares; it counts every victim as independent.

    Args:
        hits: successes, 0 to `trials`.
        trials: victims, at least 1.
        confidence: of the interval, in (0, 1).

    Raises:
        ParameterError: numbers out of range.
        MissingDependencyError: scipy is not installed.
    """
    _check(trials, confidence)
    if not 0 <= hits <= trials:
        raise ParameterError(f"hits must be 0 to {trials}, got {hits}.")
    found = require("scipy.stats", "metrics").binomtest(int(hits), trials).proportion_ci(confidence, "wilson")
    return float(found.low), float(found.high)


def mean(values: "np.ndarray", confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Student's interval of a mean; NaN for a single value.

    Args:
        values: one a victim.
        confidence: of the interval, in (0, 1).

    Raises:
        ParameterError: no value, or a confidence out of range.
        MissingDependencyError: scipy is not installed.
    """
    values = np.asarray(values, dtype=float)
    _check(len(values), confidence)
    if len(values) < 2:
        return float("nan"), float("nan")
    spread = values.std(ddof=1) / np.sqrt(len(values))
    half = spread * float(require("scipy.stats", "metrics").t.ppf((1 + confidence) / 2, len(values) - 1))
    return float(values.mean() - half), float(values.mean() + half)


def attack_table(groups: tables.Groups, *, scaling: str = "minmax") -> "DataFrame":
    """Return `tables.attack_table` with the intervals of the mean SSIM and of the success rate.

    Returns:
        Its columns, and ssim_low, ssim_high, asr_low, asr_high (percent).
    """
    frame = tables.attack_table(groups, scaling=scaling)
    for place, values in enumerate(ssims(groups, scaling)):
        low, high = mean(values)
        least, most = share(int((values >= 0.5).sum()), len(values))
        bounds = {"ssim_low": low, "ssim_high": high, "asr_low": 100 * least, "asr_high": 100 * most}
        frame.loc[place, list(bounds)] = list(bounds.values())
    return frame


def ssims(groups: tables.Groups, scaling: str = "minmax") -> "list[np.ndarray]":
    """Return the victims' SSIM of each group, those of several seeds one after the other."""
    lists = [[found] if hasattr(found, "figures") else list(found) for found in groups.values()]
    return [np.concatenate([r.figures["scores"][scaling]["ssim"] for r in results]) for results in lists]


def said(value: float, low: float, high: float, digits: int = 0) -> str:
    """Return `42 (28–57)`; the value alone where there is no interval, a dash where there is no value."""
    if np.isnan(value):
        return tables.MISSING
    text = f"{value:.{digits}f}"
    return text if np.isnan(low) else f"{text} ({low:.{digits}f}–{high:.{digits}f})".replace("-", "−")


def _check(count: int, confidence: float) -> None:
    if count < 1:
        raise ParameterError("An interval needs at least one value.")
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must be in (0, 1), got {confidence}.")
