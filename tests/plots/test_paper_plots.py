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
