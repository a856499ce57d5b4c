"""Confidence intervals against closed forms, scipy and a simulation."""

import dataclasses
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


def test_tables_count_images_of_a_batch_together():
    ssims = [0.9, 0.8, 0.9, 0.7, 0.1, 0.2, 0.1, 0.6]
    one = result(ssims)
    figures = one.figures | {"loss": ssims[::2], "steps": ssims[::2]}
    batched = Result(dataclasses.replace(one.experiment, victims=4, batch_size=2), figures, {})
    row = tables.attack_table(frame({"batched": [batched]})).iloc[0]
    means, shares = np.array(ssims).reshape(4, 2).mean(1), np.array([1, 1, 0, 0.5])
    assert (row["ssim_low"], row["ssim_high"]) == pytest.approx(intervals.mean(means))
    low, high = intervals.mean(shares)
    assert (row["asr_low"], row["asr_high"]) == pytest.approx((100 * max(low, 0), 100 * min(high, 1)))


class TestGroups:
    def test_each_alone_is_the_plain_share(self):
        hits = np.array([True, False, False, True, False])
        assert intervals.share_of_groups(hits, np.arange(5)) == intervals.share(2, 5)

    @pytest.mark.parametrize("hit", [False, True])
    def test_none_or_all_counts_groups(self, hit):
        found = intervals.share_of_groups(np.full(12, hit), np.repeat(np.arange(3), 4))
        assert found == pytest.approx(wilson(3 * hit, 3))

    def test_is_student_s_of_the_groups_and_never_narrower_than_wilson_s(self):
        groups = np.repeat(np.arange(6), 4)
        together = np.repeat([True, False, True, True, False, False], 4)
        shares = together.reshape(6, 4).mean(1)
        half = stats.t.ppf(0.95, 5) * stats.sem(shares)
        assert intervals.share_of_groups(together, groups, 0.9) == pytest.approx((0.5 - half, 0.5 + half))
        even = np.tile([True, False], 12)  # each group has half: no spread between groups
        assert intervals.share_of_groups(even, groups) == pytest.approx(wilson(12, 24))
        assert intervals.share_of_groups(even, np.zeros(24)) == pytest.approx(wilson(12, 24)), "one group"

    def test_stays_within_zero_and_one(self):
        hits = np.zeros(12, dtype=bool)
        hits[:3] = True
        low, high = intervals.share_of_groups(hits, np.repeat(np.arange(4), 3))
        assert low == 0 and 0.25 < high <= 1

    def test_covers_more_often_than_as_if_independent(self):
        rng, groups = np.random.default_rng(3), np.repeat(np.arange(12), 4)
        draws = [np.repeat(rng.random(12) < 0.4, 4) for _ in range(800)]
        covers = [
            np.mean([low <= 0.4 <= high for low, high in found])
            for found in (
                [intervals.share_of_groups(d, groups) for d in draws],
                [intervals.share(int(d.sum()), 48) for d in draws],
            )
        ]
        assert covers[0] > 0.92 and covers[1] < 0.75

    def test_refuses_what_makes_no_interval(self):
        with pytest.raises(ParameterError, match="a group for each of 3 values, got 2"):
            intervals.share_of_groups(np.array([True, False, True]), np.array([0, 1]))
        with pytest.raises(ParameterError, match="needs at least one value"):
            intervals.share_of_groups(np.array([]), np.array([]))
        with pytest.raises(ParameterError, match="confidence must be in"):
            intervals.share_of_groups(np.array([True, False]), np.zeros(2), 1.0)


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
