"""What a few victims say of all of them: confidence intervals beside success rates and means."""

import numpy as np

from gleak_lib.errors import ParameterError
from gleak_lib.extras import require

CONFIDENCE = 0.95
MISSING = "–"


def share(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's interval of a share, as shares; victims count as independent of each other.

    With p = hits / n it is (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Args:
        hits: successes, 0 to `trials`.
        trials: victims, at least 1.
        confidence: of the interval, in (0, 1).

    Raises:
        ParameterError: numbers out of range, or no integers.
        MissingDependencyError: scipy is not installed.
    """
    _check(trials, confidence)
    if not 0 <= hits <= trials or hits != int(hits):
        raise ParameterError(f"hits must be an integer from 0 to {trials}, got {hits}.")
    test = require("scipy.stats", "metrics").binomtest(int(hits), int(trials))
    found = test.proportion_ci(confidence, "wilson")
    return float(found.low), float(found.high)


def mean(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Student's interval of a mean, NaN for a single value.

    Victims count as independent of each other. With few of them, and scores that pile up at an end of their
    range, it covers the mean less often than it says, and it may go beyond that range.

    Args:
        values: one a victim; missing ones (NaN) are left out.
        confidence: of the interval, in (0, 1).

    Raises:
        ParameterError: no value, or a confidence out of range.
        MissingDependencyError: scipy is not installed.
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    _check(len(values), confidence)
    if len(values) < 2:
        return float("nan"), float("nan")
    spread = values.std(ddof=1) / np.sqrt(len(values))
    half = spread * float(require("scipy.stats", "metrics").t.ppf((1 + confidence) / 2, len(values) - 1))
    return float(values.mean() - half), float(values.mean() + half)


def nested(values: np.ndarray, groups: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Student's interval of the mean of the groups' means, NaN for fewer than two groups.

    Victims of one seed share its weights, and so are not independent: the seeds' means are. With as many
    victims in each this is the interval of a mixed model whose random effects are groups and victims within
    them. A percentile bootstrap over k groups cannot leave their range, which misses the mean 2^(1-k) of the
    time: with three groups, one time in four.

    Args:
        values: one a victim; missing ones (NaN) are left out.
        groups: to which group each belongs.
        confidence: of the interval, in (0, 1).

    Raises:
        ParameterError: If there is no value, numbers of values and groups differ, or a confidence is out of
            range.
        MissingDependencyError: scipy is not installed.
    """
    values, groups = np.asarray(values, dtype=float), np.asarray(groups)
    if len(values) != len(groups):
        raise ParameterError(f"There must be a group for each of {len(values)} values, got {len(groups)}.")
    known = ~np.isnan(values)
    return mean(
        np.array([values[known & (groups == g)].mean() for g in np.unique(groups[known])]), confidence
    )


def share_of_groups(
    hits: np.ndarray, groups: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return an interval of a share where members of a group are hit together, as images of one batch are.

    Student's interval of the groups' shares (see `nested`), cut at 0 and 1 and never narrower than Wilson's
    over the victims (see `share`); Wilson's over the groups where none or all are hit, and over the victims
    where each is a group of its own.

    Args:
        hits: whether a victim is hit, one a victim.
        groups: to which group each belongs.
        confidence: of the interval, in (0, 1).

    Raises:
        ParameterError: If there is no victim, numbers of hits and groups differ, or a confidence is out of
            range.
        MissingDependencyError: scipy is not installed.
    """
    hits, count = np.asarray(hits, dtype=bool), len(np.unique(groups))
    _check(len(hits), confidence)
    alone = share(int(hits.sum()), len(hits), confidence)
    if count == len(hits):
        return alone
    if hits.all() or not hits.any():
        return share(count * int(hits[0]), count, confidence)
    bounds = nested(hits, groups, confidence), alone
    low, high = zip(*bounds, strict=True)
    return max(np.nanmin(low), 0.0), min(np.nanmax(high), 1.0)


def said(value: float, low: float, high: float, digits: int = 0) -> str:
    """Return `42 (28–57)`, or `1 (−2 to 4)`; without an interval the value, without a value a dash."""
    if np.isnan(value):
        return MISSING
    numbers = [f"{number:.{digits}f}".replace("-", "−") for number in (value, low, high)]
    form = "{} ({} to {})" if low < 0 else "{} ({}–{})"
    return numbers[0] if np.isnan(low) else form.format(*numbers)


def mean_said(values: np.ndarray, digits: int = 1) -> str:
    """Return a mean with its interval (see `mean`) as `said` writes them; missing values are left out."""
    values = np.asarray(values, dtype=float)
    return said(float(np.nanmean(values)), *mean(values), digits)


def _check(count: int, confidence: float) -> None:
    if count < 1:
        raise ParameterError("An interval needs at least one value.")
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must be in (0, 1), got {confidence}.")
