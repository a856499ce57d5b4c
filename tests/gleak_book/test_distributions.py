"""Points, means and the range of the seeds' means in a figure of distributions."""

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


def frame():
    rows = [
        {"label": label, "panel": panel, "group": group, "seed": seed, "value": seed + victim / 4}
        for label in ("ReLU", "sigmoid")
        for panel in ("B = 1", "B = 4")
        for group in ("not pruned", "20% pruned")
        for seed in range(3)
        for victim in range(2)
    ]
    return pd.DataFrame(rows)


def test_a_point_per_image_a_diamond_per_line_and_bars_over_seeds():
    figure = figures.distributions(frame(), xlabel="PSNR, dB")
    assert [axis.get_title() for axis in figure.axes] == ["B = 1", "B = 4"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["ReLU", "sigmoid"]
    axis = figure.axes[0]
    points = sum(len(collection.get_offsets()) for collection in axis.collections)
    assert points == 2 * 2 * 6
    diamonds = [list(line.get_xdata()) for line in axis.lines if line.get_marker() == "D"]
    assert [value for line in diamonds for value in line] == pytest.approx([1.125] * 4)
    bars = [tuple(line.get_xdata()) for line in axis.lines if line.get_marker() != "D"]
    assert {bar for bar in bars if len(bar) == 2} == {(0.125, 2.125)}


def test_one_group_needs_no_legend():
    one = frame().query("group == 'not pruned' and panel == 'B = 1'")
    assert not figures.distributions(one, xlabel="PSNR, dB").legends


def test_refuses_what_cannot_be_drawn():
    with pytest.raises(ParameterError, match="This figure needs rows; missing: seed"):
        figures.distributions(frame().drop(columns="seed"), xlabel="PSNR")
    with pytest.raises(ParameterError, match="missing: rows"):
        figures.distributions(frame().iloc[:0], xlabel="PSNR")
