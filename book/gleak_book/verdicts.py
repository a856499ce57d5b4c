"""Claims of a source as effects on the same batches, with intervals over seeds and a verdict each."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy
import pandas
from gleak_lib.metrics import intervals
from scipy import stats

from gleak_book.claims import verdict

UNIT = ["batch_size", "seed", "victim"]  # images of one batch are found or missed together
LEVEL = 0.05  # of all verdicts of a table together


def effect(frame: pandas.DataFrame, one: str, other: str, of: str = "", value: str = "psnr") -> pandas.Series:
    """Return by how much a batch's mean score is higher under one set of settings than under another.

    Args:
        frame: a row per image and setting, with columns batch_size, seed, victim and those asked for.
        one, other: conditions on columns, as for `DataFrame.query`; all scores of a batch are averaged.
        of: a condition on both.
        value: the score's column.

    Returns:
        A value per batch that both have, indexed by batch_size, seed and victim.
    """
    rows: Any = frame.query(of) if of else frame
    means: list[Any] = [rows.query(text).groupby(UNIT)[value].mean() for text in (one, other)]
    return (means[0] - means[1]).dropna()


def judge(claims: Mapping[str, tuple[pandas.Series, str]], margin: float = 1.0) -> pandas.DataFrame:
    """Return a row per claim: its effect with an interval, the seeds' own effects, and a verdict.

    Seeds count alike, in a seed every batch size counts alike, and in these every batch. Intervals are
    Student's over the seeds' means, each for itself at 95 %. Verdicts keep a level of 5 % for all claims
    together (Holm 1979): p of `more` is that of Student's two-sided test against zero, p of `same` that of
    two one-sided tests against the margins (Schuirmann 1987). A claim of `same` "does not hold" where the
    interval, widened for as many claims (Bonferroni), lies beyond a margin.

    Args:
        claims: by text; the effects, with an index level `seed`, and what is claimed of them: `more` (above
            zero) or `same` (within `margin` of zero).
        margin: in the effects' unit.

    Returns:
        Columns claim, effect, seeds, verdict (texts), mean and p (adjusted).
    """
    seeds = {claim: _of_seeds(values) for claim, (values, _) in claims.items()}
    kinds = {claim: claimed for claim, (_, claimed) in claims.items()}
    chances = holm(numpy.array([_p(seeds[claim], kinds[claim], margin) for claim in claims]))
    tests = max(1, int((~numpy.isnan(chances)).sum()))
    rows = [
        (claim, *_texts(means), _verdict(means, p, kinds[claim], margin, tests), _mean(means), p)
        for (claim, means), p in zip(seeds.items(), chances, strict=True)
    ]
    return pandas.DataFrame(rows, columns=["claim", "effect", "seeds", "verdict", "mean", "p"])


def holm(chances: numpy.ndarray) -> numpy.ndarray:
    """Return p-values of one family adjusted by Holm's step-down procedure; NaN is no test and stays."""
    adjusted, tests = chances.copy(), numpy.argsort(chances)[: int((~numpy.isnan(chances)).sum())]
    steps = chances[tests] * numpy.arange(len(tests), 0, -1)
    adjusted[tests] = numpy.maximum.accumulate(steps).clip(max=1)
    return adjusted


def _of_seeds(values: pandas.Series) -> numpy.ndarray:
    levels = [name for name in values.index.names if name != "victim"]
    batches: Any = values.groupby(level=levels).mean()
    return numpy.asarray(batches.groupby(level="seed").mean(), dtype=float)


def _mean(means: numpy.ndarray) -> float:
    return float(means.mean()) if len(means) else float("nan")


def _texts(means: numpy.ndarray) -> tuple[str, str]:
    if not len(means):
        return intervals.MISSING, intervals.MISSING
    each = " to ".join(f"{end:+.1f}".replace("-", "−") for end in (means.min(), means.max()))
    return intervals.said(means.mean(), *intervals.mean(means), 1), each


def _p(means: numpy.ndarray, claimed: str, margin: float) -> float:
    """Student's p of one claim; NaN without runs, 1 where one seed, or no effect in any, allows no test."""
    if not len(means):
        return float("nan")
    tests = [(0.0, "two-sided")] if claimed == "more" else [(-margin, "greater"), (margin, "less")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # equal effects: t is infinite
        found: list[Any] = [stats.ttest_1samp(means, bound, alternative=side) for bound, side in tests]
    return max(1.0 if numpy.isnan(test.pvalue) else float(test.pvalue) for test in found)


def _verdict(means: numpy.ndarray, p: float, claimed: str, margin: float, tests: int) -> str:
    if not len(means):
        return "not measured"
    if p < LEVEL:
        return "holds" if claimed == "same" or means.mean() > 0 else "the opposite"
    ends = intervals.mean(means, 1 - LEVEL / tests)
    beyond = verdict(*ends, -margin, margin) == "does not hold"
    return "does not hold" if claimed == "same" and beyond else "undecided"
