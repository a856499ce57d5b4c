"""Our figures and a paper's, as they are drawn side by side."""

import math

import numpy as np
import pandas as pd
import pytest
from gleak_book import figures

from gleak_lib.errors import ParameterError


@pytest.fixture(autouse=True)
def no_window():
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield
    assert pyplot.get_fignums() == []


def test_comparison_shows_both_values_with_their_deviations():
    frame = pd.DataFrame(
        {"label": ["a", "b"], "v": [0.7, math.nan], "v_std": [0.1, math.nan], "v_paper": [0.9, 0.3]}
    )
    figure = figures.comparison(frame, "v", xlabel="SSIM", ours="ours (32 victims)", threshold=0.5)
    axes = figure.axes[0]
    points = {bars.get_label(): bars.lines[0].get_xdata().tolist() for bars in axes.containers}
    assert points["paper"] == [0.9, 0.3]
    assert points["ours (32 victims)"][0] == 0.7
    assert math.isnan(points["ours (32 victims)"][1])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    assert axes.yaxis_inverted()
    (bar,) = (bars for bars in axes.containers if bars.has_xerr)
    np.testing.assert_allclose(bar.lines[2][0].get_segments()[0][:, 0], [0.6, 0.8])


def test_wrong_comparisons():
    with pytest.raises(ParameterError, match="missing: v_paper"):
        figures.comparison(pd.DataFrame({"label": ["a"], "v": [1.0]}), "v", xlabel="SSIM")
    with pytest.raises(ParameterError, match="needs rows; missing: rows"):
        figures.comparison(pd.DataFrame({"label": [], "v": [], "v_paper": []}), "v", xlabel="SSIM")
