"""Claims of a source as effects on the same batches, with intervals over seeds and a verdict each."""

from collections.abc import Mapping
from typing import Any

import pandas
from gleak_lib.experiments import intervals

UNIT = ["batch_size", "seed", "victim"]  # images of one batch are found or missed together


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

    Seeds count alike. The interval draws seeds anew, and values within them (`intervals.nested`).

    Args:
        claims: by text; the effects, with an index level `seed`, and what is claimed of them: `more` (above
            zero, which needs an interval above zero and every seed on that side) or `same` (which needs an
            interval within `margin` of zero).
        margin: in the effects' unit.

    Returns:
        Columns claim, effect, seeds, verdict (texts) and mean.
    """
    rows = []
    for claim, (values, claimed) in claims.items():
        if values.empty:
            rows.append((claim, intervals.MISSING, intervals.MISSING, "not measured", float("nan")))
            continue
        seeds: Any = values.index.get_level_values("seed")
        means: Any = values.groupby(seeds).mean()
        low, high = intervals.nested(values.to_numpy(), seeds.to_numpy())
        each = " to ".join(f"{end:+.1f}".replace("-", "−") for end in (means.min(), means.max()))
        said = intervals.said(means.mean(), low, high, 1)
        rows.append((claim, said, each, _verdict(means, low, high, claimed, margin), means.mean()))
    return pandas.DataFrame(rows, columns=["claim", "effect", "seeds", "verdict", "mean"])


def _verdict(means: pandas.Series, low: float, high: float, claimed: str, margin: float) -> str:
    if claimed == "same":
        inside, outside = -margin < low and high < margin, low > margin or high < -margin
        return "holds" if inside else "does not hold" if outside else "not decided"
    if low > 0 and means.min() > 0:
        return "holds"
    return "the opposite" if high < 0 and means.max() < 0 else "not decided"
