"""Claims of a paper against measured values: does the interval of a mean lie where the claim says?"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from gleak_lib.errors import ParameterError
from gleak_lib.metrics import intervals


class Verdict(NamedTuple):
    """What values say of a claim: their mean, its 95 % interval, and one of three words."""

    value: float
    low: float
    high: float
    word: str  # as `verdict` says it


def verdict(low: float, high: float, least: float = -math.inf, most: float = math.inf) -> str:
    """Return `holds` where a whole interval lies between the bounds, `does not hold` where none of it does.

    Else, and without an interval, `undecided`.
    """
    if least <= low and high <= most:
        return "holds"
    return "does not hold" if high < least or low > most else "undecided"


def judge(values: Sequence[float] | np.ndarray, least: float, most: float) -> Verdict:
    """Judge the claim that a mean lies between two bounds by Student's 95 % interval of it, see `verdict`.

    A single value has no interval. A mean on a bound does not lie between them: 0 is not above 0.

    Args:
        values: independent ones, for instance a difference for each image or each model.
        least, most: the bounds, maybe infinite.

    Raises:
        ParameterError: If there is no value, or the bounds are in the wrong order.
    """
    values = np.asarray(values, dtype=float)
    if not least < most:
        raise ParameterError(f"least must be below most, got {least:g} and {most:g}.")
    low, high = intervals.mean(values)
    inner = math.nextafter(least, math.inf), math.nextafter(most, -math.inf)
    return Verdict(float(values.mean()), low, high, verdict(low, high, *inner))
