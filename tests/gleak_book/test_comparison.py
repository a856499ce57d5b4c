"""Our figures and a paper's, as they are drawn side by side."""

import math

import numpy as np
import pandas as pd
import pytest
from gleak_book import paper

from gleak_lib import plots


@pytest.fixture(autouse=True)
def no_window():
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield
    assert pyplot.get_fignums() == []


def test_both_sides_are_drawn_with_their_deviations():
    frame = pd.DataFrame(
        {"label": ["a", "b"], "v": [0.7, math.nan], "v_std": [0.1, math.nan], "v_paper": [0.9, 0.3]}
    )
    table = paper.sides(frame, "v", ours="ours (32 victims)")
    assert table["label"].tolist() == ["a", "b"] * 2
    assert table["method"].tolist() == ["ours (32 victims)"] * 2 + ["paper"] * 2
    np.testing.assert_allclose(table["value"], [0.7, math.nan, 0.9, 0.3])
    np.testing.assert_allclose(table["low"], [0.6, *[math.nan] * 3])
    np.testing.assert_allclose(table["high"], [0.8, *[math.nan] * 3])
    (axes,) = plots.intervals(table, xlabel="SSIM", threshold=0.5).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]


def test_lpips_has_a_column_of_ours_once_a_result_has_it():
    lacking = pd.DataFrame({"lpips": [math.nan, math.nan], "lpips_paper": [0.1, 0.2]})
    assert paper.lpips_columns(lacking) == {"lpips_paper": "paper's LPIPS"}
    assert "weights of its backbone, " in paper.lpips_note(lacking)
    partly = lacking.assign(lpips=[0.3, math.nan])
    assert paper.lpips_columns(partly) == {"lpips": "LPIPS", "lpips_paper": "paper's LPIPS"}
    assert "a dash is a row without it" in paper.lpips_note(partly)
