"""Confidence intervals against closed forms, scipy and a simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackExperiment, Result, TrainingExperiment, frame, tables
from gleak_lib.metrics import intervals


def wilson(hits, trials, confidence=0.95):
    z = stats.norm.ppf((1 + confidence) / 2)
    p, n = hits / trials, trials
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (0, 32), (13, 32), (32, 32), (500, 1000)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_shares_by_the_closed_form(hits, trials, confidence):
    expected = wilson(hits, trials, confidence)
    assert intervals.share(hits, trials, confidence) == pytest.approx(expected, abs=1e-12)
    assert intervals.share(np.int64(hits), np.int64(trials), confidence) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [2, 5, 64])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_means_by_scipy(count, confidence):
    values = np.random.default_rng(count).normal(3, 2, count)
    expected = stats.t.interval(confidence, count - 1, values.mean(), stats.sem(values))
    assert intervals.mean(values, confidence) == pytest.approx(expected)
    missing = np.concatenate([values, [np.nan]])
    assert intervals.mean(missing, confidence) == pytest.approx(expected), "gaps are left out"


def test_equal_values_have_no_width_and_one_value_no_interval():
    assert intervals.mean(np.full(4, 0.5)) == pytest.approx((0.5, 0.5))
    assert all(np.isnan(intervals.mean(np.array([0.5]))))


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    normal = rng.normal(1.5, 2, (1000, 6))
    inside = [low <= 1.5 <= high for low, high in map(intervals.mean, normal)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
    bounds = [intervals.share(hits, 32) for hits in range(33)]
    for p in (0.1, 0.4, 0.75):  # exact: the binomial law says how often each interval is met
        law = stats.binom(32, p).pmf(np.arange(33))
        covered = sum(w for w, (low, high) in zip(law, bounds, strict=True) if low <= p <= high)
        assert covered == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: intervals.share(3, 2), "hits must be an integer from 0 to 2, got 3"),
        (lambda: intervals.share(-1, 2), "hits must be an integer from 0 to 2, got -1"),
        (lambda: intervals.share(0.5, 2), "hits must be an integer from 0 to 2, got 0.5"),
        (lambda: intervals.share(0, 0), "needs at least one value"),
        (lambda: intervals.mean(np.array([])), "needs at least one value"),
        (lambda: intervals.mean(np.array([np.nan])), "needs at least one value"),
        (lambda: intervals.share(1, 2, 1.0), r"confidence must be in \(0, 1\), got 1.0"),
        (lambda: intervals.mean(np.ones(3), float("nan")), r"confidence must be in \(0, 1\), got nan"),
    ],
)
def test_what_intervals_refuse(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def result(ssims, seed=0):
    scores = {"mse": ssims, "psnr": ssims, "ssim": ssims}
    figures = {"scores": {"minmax": scores, "none": {**scores, "ssim": [0.0] * len(ssims)}}}
    figures |= {"loss": ssims, "steps": ssims, "entries_matched": 1, "entries_total": 1, "parameters": 1}
    return Result(AttackExperiment(TrainingExperiment("digits"), victims=len(ssims), seed=seed), figures, {})


def test_tables_have_them():
    first, second = [0.1, 0.5, 0.9], [0.7, 0.3]
    groups = {"pooled": [result(first), result(second, 1)], "alone": result([0.6])}
    row, alone = tables.attack_table(frame(groups)).to_dict("records")
    values = np.array(first + second)
    assert (row["ssim_low"], row["ssim_high"]) == pytest.approx(intervals.mean(values))
    expected = [100 * bound for bound in wilson(3, 5)]
    assert [row["asr_low"], row["asr_high"]] == pytest.approx(expected)
    assert row["asr_low"] < row["asr"] < row["asr_high"]
    assert np.isnan(alone["ssim_low"]) and alone["asr_high"] == pytest.approx(100)
    unscaled = tables.attack_table(frame(groups, scaling="none"))
    assert unscaled["asr_low"].tolist() == pytest.approx([0, 0])
    with pytest.raises(UnknownNameError, match="scaling"):
        frame(groups, scaling="maxmin")


def test_in_words():
    assert intervals.said(42.2, 28.4, 56.7) == "42 (28–57)"
    assert intervals.said(-0.25, -1.5, 1.0, 2) == "−0.25 (−1.50 to 1.00)"
    assert intervals.said(-3.0, math.nan, math.nan, 1) == "−3.0"
    assert intervals.said(math.nan, math.nan, math.nan) == tables.MISSING
    assert intervals.mean_said(np.array([1.0, 2.0, math.nan, 3.0])) == "2.0 (−0.5 to 4.5)"
    assert intervals.mean_said([4.0], 0) == "4"


class TestNested:
    def test_is_the_interval_of_a_balanced_mixed_model(self):
        """Its standard error is sqrt(MS between / (k n)), with k - 1 degrees of freedom (Searle 1992)."""
        rng, k, n = np.random.default_rng(1), 4, 5
        values = rng.normal(size=(k, 1)) + rng.normal(size=(k, n))
        between = n * np.square(values.mean(1) - values.mean()).sum() / (k - 1)
        half = stats.t.ppf(0.95, k - 1) * math.sqrt(between / (k * n))
        low, high = intervals.nested(values.ravel(), np.repeat(np.arange(k), n), 0.9)
        assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half))

    def test_covers_as_often_as_it_says_with_three_groups(self):
        rng, groups = np.random.default_rng(2), np.repeat(np.arange(3), 4)
        bounds = [
            intervals.nested(np.repeat(rng.normal(size=3), 4) + rng.normal(0, 2, 12), groups)
            for _ in range(2_000)
        ]
        covered = np.mean([low <= 0 <= high for low, high in bounds])
        assert covered == pytest.approx(0.95, abs=0.015)

    def test_groups_count_alike_whatever_their_sizes(self):
        low, high = intervals.nested(np.array([0.0, 0.0, 0.0, 0.0, 1.0]), np.array([0, 0, 0, 0, 1]))
        assert (low, high) == pytest.approx(intervals.mean(np.array([0.0, 1.0])))
        assert (low + high) / 2 == pytest.approx(0.5)

    def test_missing_values_are_left_out_and_one_group_has_no_interval(self):
        values, groups = np.array([1.0, np.nan, 1.0, np.nan]), np.array(["a", "a", "b", "c"])
        assert intervals.nested(values, groups) == (1.0, 1.0)
        assert all(map(math.isnan, intervals.nested(values[:2], groups[:2])))

    def test_refuses_what_makes_no_interval(self):
        with pytest.raises(ParameterError, match="a group for each of 2 values, got 1"):
            intervals.nested(np.zeros(2), np.zeros(1))
        with pytest.raises(ParameterError, match="at least one value"):
            intervals.nested(np.array([np.nan]), np.zeros(1))
        with pytest.raises(ParameterError, match="confidence must be in"):
            intervals.nested(np.zeros(2), np.zeros(2), confidence=1.0)
