"""Effects on the same images, and what is said of a claim."""

import math

import numpy as np
import pandas as pd
import pytest
from gleak_book.verdicts import effect, judge


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
        (series(1, 2, 3), "more", "holds"),
        (series(-1, -2, -3), "more", "the opposite"),
        (series(-1, 2, 3), "more", "not decided"),
        (series(0.1, -0.1, 0.2), "same", "holds"),
        (series(2, 3, 2), "same", "does not hold"),
        (series(-2, -3, -2), "same", "does not hold"),
        (series(0, 2, 0), "same", "not decided"),
        (series(2), "more", "not decided"),  # one seed tells nothing of others
    ],
)
def test_verdicts(values, claimed, verdict):
    (row,) = judge({"it": (values, claimed)}).to_dict("records")
    assert row["verdict"] == verdict and row["mean"] == pytest.approx(values.mean())


def test_shows_the_effect_and_the_single_seeds():
    (row,) = judge({"it": (series(-1, 2, 2), "more")}).to_dict("records")
    assert row["effect"] == "1.0 (−1.0 to 2.0)" and row["seeds"] == "−1.0 to +2.0"


def test_a_claim_without_runs_is_not_measured():
    (row,) = judge({"it": (series().iloc[:0], "more")}).to_dict("records")
    assert row["verdict"] == "not measured" and math.isnan(row["mean"])
