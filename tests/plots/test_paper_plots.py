"""Agreement with a paper, the trade-off of utility and privacy, classes of image sets."""

import numpy as np
import pandas as pd
import pytest
import torch
from gleak_book import figures

from gleak_lib import metrics, plots
from gleak_lib.errors import ParameterError, ShapeError


@pytest.fixture(autouse=True)
def no_window():
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield
    assert pyplot.get_fignums() == []


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_agreement_draws_what_has_both_figures():
    frame = pd.DataFrame(
        {"ours": [0.8, np.nan, 0.2], "paper": [0.9, 0.5, 0.2], "mark": ["differs", "differs", "reproduced"]}
    )
    figure = figures.agreement(frame, by="mark", quantity="SSIM", tolerance=0.05, limits=(0, 1))
    assert legend(figure) == ["differs (1)", "reproduced (1)"]
    points = [line.get_xydata().tolist() for line in figure.axes[0].lines[1:]]
    assert points == [[[0.9, 0.8]], [[0.2, 0.2]]]
    assert figure.axes[0].get_xlabel() == "SSIM, paper"


def test_agreement_works_without_a_point():
    frame = pd.DataFrame({"ours": [np.nan], "paper": [0.9], "mark": ["not yet"]})
    figure = figures.agreement(frame, by="mark", quantity="SSIM", tolerance=0.05, limits=(0, 1))
    assert figure.axes[0].texts[0].get_text() == "no row has both figures yet"
    with pytest.raises(ParameterError, match="This figure lacks ours, mark; it has paper"):
        figures.agreement(frame[["paper"]], by="mark", quantity="", tolerance=1, limits=(0, 1))


MODELS = pd.DataFrame(
    {
        "panel": ["ours", "ours", "paper"],
        "dataset": ["a", "b", "a"],
        "model": ["CNN", "ViT", "CNN"],
        "defended": [True, False, False],
        "ssim": [0.2, 0.9, np.nan],
        "accuracy": [60.0, 70.0, 50.0],
    }
)


def test_tradeoff_places_and_fills_its_markers():
    figure = plots.utility(MODELS)
    left, right = figure.axes
    (defended, plain), threshold = left.lines[:2], left.lines[2]
    assert defended.get_xydata().tolist() == [[0.8, 60.0]] and plain.get_xydata()[0, 0] == pytest.approx(0.1)
    assert defended.get_markerfacecolor() != "white" and plain.get_markerfacecolor() == "white"
    assert threshold.get_xdata()[0] == 0.5
    assert right.get_title() == "paper" and "nothing" in right.texts[0].get_text()
    assert legend(figure) == ["a", "b", "CNN", "ViT", "without defense", "defended"]
    with pytest.raises(ParameterError, match="missing: ssim"):
        plots.utility(MODELS.drop(columns="ssim"))
    with pytest.raises(ParameterError, match="missing: rows"):
        plots.utility(MODELS.iloc[:0])


@pytest.mark.parametrize("channels", [1, 3])
def test_window_frames_what_the_ssim_counts(channels):
    original, found = torch.rand(2, channels, 20, 24, generator=torch.Generator().manual_seed(0))
    figure = figures.window(original, found)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["original", "reconstruction", "SSIM"]
    drawn = np.asarray(figure.axes[2].images[0].get_array())
    np.testing.assert_allclose(drawn, metrics.ssim_map(found[None], original[None])[0].mean(0), atol=1e-6)
    for axes in figure.axes[:3]:
        (frame,) = axes.patches
        left, low = (round(v + 0.5) for v in frame.get_xy())
        inside = drawn[low : low + frame.get_height(), left : left + frame.get_width()]
        assert inside.mean() == pytest.approx(metrics.ssim(found[None], original[None]).item(), abs=1e-6)
    with pytest.raises(ShapeError, match="original must be C x H x W with C 1 or 3, got .2, 20, 24."):
        figures.window(original[[0, 0]] if channels == 1 else original[:2], found)
