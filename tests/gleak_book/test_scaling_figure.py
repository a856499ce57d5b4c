"""Cost against size on logarithmic axes."""

import numpy as np
import pandas as pd
import pytest
from gleak_book import figures

from gleak_lib.errors import ParameterError

LABELS = {"by": "line", "xlabel": "victims", "ylabel": "ms"}


@pytest.fixture(autouse=True)
def no_window():
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield
    assert pyplot.get_fignums() == []


def frame():
    return pd.DataFrame({"x": [16, 1, 1, 128], "y": [2.0, 8.0, 1.0, np.nan], "line": ["a", "a", "b", "b"]})


def test_draws_sorted_lines_on_logarithmic_axes_and_the_goal():
    figure = figures.scaling(frame(), x="x", y="y", goal=0.2, **LABELS)
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [line.get_label() for line in axes.lines] == ["a", "b", "goal, 0.2"]
    assert list(axes.lines[0].get_xdata()) == [1, 16]
    assert list(axes.lines[0].get_ydata()) == [8, 2]
    assert list(axes.lines[1].get_xdata()) == [1]  # without the gap


def test_linear_axes_begin_at_zero():
    (axes,) = figures.scaling(frame(), x="x", y="y", logarithmic=False, **LABELS).axes
    assert axes.get_xlim()[0] == axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 8


@pytest.mark.parametrize("logarithmic", [True, False])
def test_a_frame_without_rows_says_so(logarithmic):
    (axes,) = figures.scaling(frame()[:0], x="x", y="y", logarithmic=logarithmic, **LABELS).axes
    assert [text.get_text() for text in axes.texts] == ["not measured yet"]


def test_refuses_what_cannot_be_drawn():
    with pytest.raises(ParameterError, match="lacks line; it has x, y"):
        figures.scaling(frame()[["x", "y"]], x="x", y="y", **LABELS)
    with pytest.raises(ParameterError, match="must be positive"):
        figures.scaling(frame().assign(y=0.0), x="x", y="y", **LABELS)
