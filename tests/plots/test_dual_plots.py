"""Two quantities over a setting, and what a defense costs against what it protects."""

import numpy as np
import pandas as pd
import pytest
from gleak_book import figures

from gleak_lib import plots
from gleak_lib.errors import ParameterError


@pytest.fixture(autouse=True)
def no_window():
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield
    assert pyplot.get_fignums() == []


VALUES = {"gain": "accuracy", "ssim": "SSIM"}


def settings(panels=3):
    return pd.concat(
        pd.DataFrame(
            {
                "panel": f"panel {panel}",
                "value": ["1/2", "1"],
                "gain": [1.0, 2.0 + panel],
                "ssim": [0.1, 0.3],
                "ssim_std": [0.05, 0.1],
                "ssim_paper": [0.2, np.nan],
            }
        )
        for panel in range(panels)
    )


def test_dual_draws_a_panel_a_setting_and_an_axis_a_quantity():
    frame = settings()
    figure = figures.dual(frame, values=VALUES, baseline={"ssim": 0.9}, ours="ours (cpu)")
    assert len(figure.axes) == 2 * 3
    for number, (panel, rows) in enumerate(frame.groupby("panel", sort=False)):
        left, right = figure.axes[2 * number : 2 * number + 2]
        assert left.get_xlabel() == panel
        assert [text.get_text() for text in left.get_xticklabels()] == ["1/2", "1"]
        np.testing.assert_allclose(left.lines[0].get_ydata().astype(float), rows["gain"])
        np.testing.assert_allclose(right.lines[0].get_ydata().astype(float), rows["ssim"])
        np.testing.assert_allclose(right.lines[-2].get_ydata(), rows["ssim_paper"])
        np.testing.assert_allclose(right.lines[-1].get_ydata(), [0.9, 0.9])
        assert right.get_ylim()[0] < 0.05
        assert right.get_ylim()[1] > 0.9
    labels = [text.get_text() for text in figure.legends[0].texts]
    assert labels == ["accuracy, ours (cpu)", "SSIM, ours (cpu)", "SSIM, paper", "SSIM, no defense"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy", "", "", "SSIM", "accuracy", "SSIM"]


def test_wrong_duals():
    with pytest.raises(ParameterError, match="two axes, got 1 values: gain"):
        figures.dual(settings(), values={"gain": ""})
    with pytest.raises(ParameterError, match="missing: psnr"):
        figures.dual(settings(), values={"gain": "", "psnr": ""})
    with pytest.raises(ParameterError, match="missing: rows"):
        figures.dual(settings()[:0], values=VALUES)


def points():
    rows = [
        ("ours", "mnist", "none", "", 0.0, 0.9),
        ("ours", "mnist", "DP", "σ=1", -5.0, 0.0),
        ("ours", "mnist", "DP", "σ=0.1", -2.0, 0.1),
        ("ours", "mnist", "DP", "σ=0.01", -1.0, np.nan),
        ("paper", "cifar10", "DP", "σ=1", -12.0, 0.0),
    ]
    return pd.DataFrame(rows, columns=["row", "column", "family", "setting", "x", "y"])


def test_tradeoff_names_the_ends_of_a_family_and_leaves_out_gaps():
    figure = plots.tradeoff(points(), xlabel="gain", ylabel="SSIM", threshold=0.5, linear=1.0)
    assert [axes.get_title() for axes in figure.axes] == [
        "mnist, ours", "cifar10, ours", "mnist, paper", "cifar10, paper"
    ]  # fmt: skip
    first = figure.axes[0]
    assert first.get_xscale() == "symlog"
    np.testing.assert_allclose(first.lines[1].get_xdata(), [-5.0, -2.0])
    assert sorted(text.get_text() for text in first.texts if text.get_text()) == ["σ=0.1", "σ=1"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["none", "DP"]
    assert figure.axes[3].get_xlabel() == "gain"
    assert plots.tradeoff(points(), xlabel="", ylabel="").axes[0].get_xscale() == "linear"


def test_wrong_tradeoffs():
    with pytest.raises(ParameterError, match="missing: family"):
        plots.tradeoff(points().drop(columns="family"), xlabel="", ylabel="")
    with pytest.raises(ParameterError, match="missing: rows"):
        plots.tradeoff(points()[:0], xlabel="", ylabel="")
