"""Verdicts: intervals of a mean against the bounds of a claim."""

import math

import numpy as np
import pytest
from gleak_book.claims import judge
from scipy import stats

from gleak_lib.errors import ParameterError


@pytest.mark.parametrize(
    ("least", "most", "word"),
    [
        (-1, 6, "holds"),
        (0, math.inf, "holds"),
        (3, 6, "undecided"),
        (-math.inf, 0, "does not hold"),
        (5, 6, "does not hold"),
        (2.2, 2.8, "undecided"),  # the mean lies between them, its interval does not
    ],
)
def test_the_interval_decides_and_not_the_mean(least, most, word):
    values = np.array([1.5, 2.0, 3.0, 3.5])
    found = judge(values, least, most)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert found == pytest.approx((2.5, *expected, word))


def test_chance_is_found_to_hold_as_often_as_said():
    rng = np.random.default_rng(0)
    words = [judge(rng.normal(0, 1, 8), 0, math.inf).word for _ in range(400)]
    assert words.count("undecided") / 400 == pytest.approx(0.95, abs=0.03)


def test_a_single_value_decides_nothing():
    value, low, high, word = judge([3.0], 0, math.inf)
    assert (value, word) == (3, "undecided")
    assert math.isnan(low) and math.isnan(high)


def test_equal_values_have_an_interval_of_no_length():
    assert judge([1.0, 1.0, 1.0], 0.5, 2) == (1, 1, 1, "holds")


@pytest.mark.parametrize("bounds", [(0, math.inf), (-math.inf, 0)])
def test_no_difference_at_all_is_neither_more_nor_less(bounds):
    assert judge([0.0, 0.0, 0.0], *bounds).word == "does not hold"


@pytest.mark.parametrize(
    ("values", "bounds", "message"),
    [([], (0, 1), "at least one value"), ([1.0, 2.0], (1, 0), "least must be below most")],
)
def test_what_cannot_be_judged(values, bounds, message):
    with pytest.raises(ParameterError, match=message):
        judge(values, *bounds)
