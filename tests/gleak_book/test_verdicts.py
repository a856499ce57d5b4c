"""Effects on the same images, and what is said of a claim."""

import math

import numpy as np
import pandas as pd
import pytest
from gleak_book.verdicts import effect, holm, judge
from scipy import stats


def scores():
    rows = [
        {"batch_size": 1, "seed": s, "victim": v, "image": 0, "kind": k}
        | {"psnr": 10 * s + v + (k == "b") * (1 + s)}
        for s in range(3)
        for v in range(2)
        for k in ("a", "b")
    ]
    return pd.DataFrame(rows)


def test_effects_are_paired_on_images_and_leave_out_what_has_no_partner():
    frame = scores().drop(index=0)
    found = effect(frame, "kind == 'b'", "kind == 'a'")
    assert found.tolist() == [1, 2, 2, 3, 3]
    assert effect(frame, "kind == 'b'", "kind == 'a'", of="seed == 2").tolist() == [3, 3]


def series(*seeds):
    index = pd.Index(np.repeat(range(len(seeds)), 4), name="seed")
    return pd.Series(np.repeat(np.array(seeds, dtype=float), 4), index=index)


@pytest.mark.parametrize(
    ("values", "claimed", "verdict"),
    [
        (series(1.9, 2, 2.1), "more", "holds"),
        (series(-1.9, -2, -2.1), "more", "the opposite"),
        (series(1, 2, 3), "more", "undecided"),  # t of 3.5 with two degrees of freedom: p of 0.07
        (series(2, 2, 2), "more", "holds"),
        (series(0, 0, 0), "more", "undecided"),
        (series(0.1, -0.1, 0.2), "same", "holds"),
        (series(2.9, 3, 2.8), "same", "does not hold"),
        (series(-2.9, -3, -2.8), "same", "does not hold"),
        (series(0, 2, 0), "same", "undecided"),
        (series(2), "more", "undecided"),  # one seed tells nothing of others
    ],
)
def test_verdicts(values, claimed, verdict):
    (row,) = judge({"it": (values, claimed)}).to_dict("records")
    assert row["verdict"] == verdict and row["mean"] == pytest.approx(values.mean())


def test_shows_the_effect_and_the_single_seeds():
    (row,) = judge({"it": (series(-1, 2, 2), "more")}).to_dict("records")
    assert row["effect"] == "1.0 (−3.3 to 5.3)" and row["seeds"] == "−1.0 to +2.0"
    assert row["p"] == pytest.approx(stats.ttest_1samp([-1, 2, 2], 0).pvalue)


def test_no_difference_is_claimed_by_two_one_sided_tests():
    (row,) = judge({"it": (series(0.1, 0.4, 0.2), "same")}, margin=0.5).to_dict("records")
    assert row["p"] == pytest.approx(stats.ttest_1samp([0.1, 0.4, 0.2], 0.5, alternative="less").pvalue)


def test_verdicts_of_one_table_hold_together():
    claim = series(1.4, 2, 2.6)  # p of 0.03 if it were alone
    alone, beside = (judge(dict.fromkeys(names, (claim, "more"))) for names in ("a", "ab"))
    assert alone["verdict"].tolist() == ["holds"] and beside["verdict"].tolist() == ["undecided"] * 2
    apart = series(2, 2.4, 2.8)  # its interval, 1.4 to 3.4, is beyond the margin if it is alone
    alone, beside = (judge(dict.fromkeys(names, (apart, "same"))) for names in ("a", "ab"))
    assert alone["verdict"].tolist() == ["does not hold"] and set(beside["verdict"]) == {"undecided"}
    with_none = judge({"a": (claim, "more"), "b": (series().iloc[:0], "more")})
    assert with_none["verdict"].tolist() == ["holds", "not measured"]


def test_holm_by_hand():
    found = holm(np.array([0.04, 0.01, np.nan, 0.03, 0.5]))
    assert found == pytest.approx([0.09, 0.04, np.nan, 0.09, 0.5], nan_ok=True)


def test_batch_sizes_count_alike_however_many_batches_there_are():
    rows = [(1, 0, v, 4.0) for v in range(4)] + [(4, 0, 0, 1.0), (1, 1, 0, 4.0), (4, 1, 0, 1.0)]
    frame = pd.DataFrame(rows, columns=["batch_size", "seed", "victim", "dB"])
    values = frame.set_index(["batch_size", "seed", "victim"])["dB"]
    assert judge({"it": (values, "more")})["mean"].tolist() == [2.5]


def test_a_claim_without_runs_is_not_measured():
    (row,) = judge({"it": (series().iloc[:0], "more")}).to_dict("records")
    assert row["verdict"] == "not measured" and math.isnan(row["mean"])
