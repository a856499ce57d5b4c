"""Agreement with a paper, the trade-off of utility and privacy, classes of image sets."""

import numpy as np
import pandas as pd
import pytest

from gleak_lib import plots
from gleak_lib.errors import ParameterError


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
