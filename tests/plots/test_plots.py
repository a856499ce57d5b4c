"""What the figures show, and that nothing in them overlaps."""

import base64
import io
import itertools
import math
import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from gleak_book import figures
from PIL import Image

from gleak_lib import metrics, plots
from gleak_lib.errors import MissingDependencyError, ParameterError, ShapeError
from gleak_lib.types import Reconstruction


@pytest.fixture(autouse=True)
def no_window():
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield
    assert pyplot.get_fignums() == []  # every figure was returned, none left to be shown


def pair(*shape):
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(shape, generator=generator)
    return (truth + 0.2 * torch.randn(shape, generator=generator)).clamp(0, 1), truth


def wrap(images, trace=None, steps=None):
    nothing = torch.zeros(len(images))
    trace = nothing[None] if trace is None else trace
    return Reconstruction(
        images, nothing.long(), nothing, nothing, trace, nothing[:1] if steps is None else steps
    )


def boxes(figure):
    """Return everything that a reader sees: tiles, texts below them, row labels, footer."""
    figure.canvas.draw()
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    extents = [text.get_window_extent() for text in texts if text.get_text()]
    return extents + [axes.get_window_extent() for axes in figure.axes]


@pytest.mark.parametrize("columns", [1, 2, 8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_overlaps_or_is_cut_off(columns, channels):
    pred, truth = pair(16, channels, 32, 32)
    long = "an attack whose name WOULD NOT FIT into any column, however wide it were made"
    figure = plots.reconstructions(truth, {"IG": pred, long: wrap(pred)}, columns=columns)
    found = boxes(figure)
    assert len(found) == 3 * columns + 2 * columns + 3 + 1
    for one, other in itertools.combinations(found, 2):
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(width, height) < 1
    size = figure.bbox
    assert all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= size.x1 + 1 and b.y1 <= size.y1 + 1 for b in found)
    assert figure.get_figwidth() <= 8.01


@pytest.mark.parametrize(("scaling", "footer"), [("minmax", "min–max scaled"), ("none", "clipped to [0, 1]")])
def test_tiles_show_the_pixels_and_their_ssim(scaling, footer):
    pred, truth = pair(4, 3, 16, 16)
    figure = plots.reconstructions(truth, {"IG": pred}, columns=3, scaling=scaling)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    expected = [*truth[:3], *pred[:3]]
    for image, one in zip(shown, expected, strict=True):
        np.testing.assert_allclose(image, one.movedim(0, -1))
    values = metrics.score(pred, truth, scaling=scaling)["ssim"][:3]
    captions = [axes.texts[0].get_text() for axes in figure.axes]
    assert captions == ["", "", "", *(f"{value:.2f}" for value in values)]
    assert any(footer in text.get_text() for text in figure.texts)


def test_batches_are_shown_in_the_order_of_the_truth():
    pred, truth = pair(2, 2, 1, 16, 16)
    straight = plots.reconstructions(truth, {"IG": pred})
    flipped = plots.reconstructions(truth, {"IG": pred.flip(1)})
    for one, other in zip(straight.axes, flipped.axes, strict=True):
        np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())


def test_wrong_reconstructions():
    pred, truth = pair(2, 3, 16, 16)
    with pytest.raises(ParameterError, match="columns must be 1 to 16, got 17"):
        plots.reconstructions(truth, {}, columns=17)
    with pytest.raises(ShapeError, match="originals must be V x C x H x W with C 1 or 3"):
        plots.reconstructions(truth[:, :2], {})
    with pytest.raises(ShapeError, match="must both be"):
        plots.reconstructions(truth, {"IG": pred[:1]})


def test_a_picture_carries_its_bytes_and_its_words():
    pred, truth = pair(2, 3, 16, 16)
    figure = plots.reconstructions(truth, {"IG": pred})
    found = plots.picture(figure, 'Two rows, "original" & IG')
    shown = found._repr_html_()
    assert base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1]) == found.data
    with Image.open(io.BytesIO(found.data)) as image:
        np.testing.assert_allclose(image.size, 150 * figure.get_size_inches(), atol=1)  # the style's dpi
    assert 'alt="Two rows, &quot;original&quot; &amp; IG"' in shown and "max-width: 100%" in shown
    assert found.width == round(100 * figure.get_figwidth())
    assert plots.picture(figure, found.alt) == found
    assert "b'" not in repr(found)  # nobody wants to read a picture's bytes


def test_a_picture_without_words_is_refused():
    figure = plots.reconstructions(pair(2, 3, 16, 16)[1], {})
    with pytest.raises(ParameterError, match="alt is empty"):
        plots.picture(figure, " ")


def test_a_trace_keeps_the_last_loss_of_victims_that_stopped():
    nan = math.nan
    trace = torch.tensor([[8.0, 4.0, 2.0, 1.0], [7.0, 3.0, nan, 1.0], [nan, 2.0, nan, 1.0]])
    steps = torch.tensor([0, 10, 20])
    figure = plots.traces(
        {"pair": (steps, trace), "reconstruction": wrap(torch.zeros(4, 1, 1, 1), trace, steps)}
    )
    filled = np.array([[8, 4, 2, 1], [7, 3, 2, 1], [7, 2, 2, 1]])
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    for line, band in zip(axes.lines, axes.collections, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), steps)
        np.testing.assert_allclose(line.get_ydata(), np.median(filled, axis=1))
        heights = band.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == (np.quantile(filled, 0.25, axis=1).min(), 5)
    assert [text.get_text() for text in figure.legends[0].texts] == ["pair", "reconstruction"]


@pytest.mark.parametrize(
    ("steps", "trace", "match"),
    [
        (
            torch.arange(3),
            torch.ones(2, 4),
            r"IG: expected T steps and T x V losses, got \(3,\) and \(2, 4\)",
        ),
        (torch.arange(2), torch.full((2, 4), math.nan), "IG: there is no finite loss above 0"),
        (torch.arange(2), torch.zeros(2, 4), "IG: there is no finite loss above 0"),
    ],
)
def test_wrong_traces(steps, trace, match):
    with pytest.raises(ShapeError, match=match):
        plots.traces({"IG": (steps, trace)})


def test_style_is_set_by_style_and_left_alone_by_figures():
    with mpl.rc_context({"font.size": 23}):
        plots.traces({"IG": (torch.arange(2), torch.ones(2, 3))})
        assert mpl.rcParams["font.size"] == 23
        plots.style()
        assert mpl.rcParams["font.size"] == 10
        colors = [entry["color"] for entry in mpl.rcParams["axes.prop_cycle"]]
        assert [mpl.colors.to_hex(color).upper() for color in colors] == list(plots.PALETTE)


def test_a_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "seaborn", None)
    with pytest.raises(
        MissingDependencyError, match=r'seaborn is not installed: pip install "gleak\[book\]"'
    ):
        plots.traces({})


def test_importing_the_package_loads_no_optional_package():
    code = (
        "import sys, gleak_lib.datasets, gleak_lib.metrics, gleak_lib.plots;"
        "print({'matplotlib', 'seaborn', 'pandas', 'scipy', 'sklearn', 'medmnist'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def group_rows():
    rows = [(n, r, g) for n in ("P=3", "P=1") for r in (0, 5) for g in ("G1", "GE", "GD")]
    frame = pd.DataFrame(rows, columns=["network", "rounds", "gradients"])
    frame["similarity"] = [0.1 * i for i in range(len(frame))]
    return frame


def test_levels_of_texts_have_a_panel_per_network_and_a_line_per_round():
    frame = group_rows()
    names = {"level": "gradients", "value": "similarity", "by": "rounds", "panel": "network"}
    figure = figures.levels(frame, **names, ylabel="cosine similarity")
    assert [axes.get_title() for axes in figure.axes] == ["P=3", "P=1"]
    for axes, (_, rows) in zip(figure.axes, frame.groupby("network", sort=False), strict=True):
        assert [text.get_text() for text in axes.get_xticklabels()] == ["G1", "GE", "GD"]
        drawn = [container.lines[0].get_ydata().tolist() for container in axes.containers]
        assert drawn == [line["similarity"].tolist() for _, line in rows.groupby("rounds")]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["0", "5"]
    with pytest.raises(ParameterError, match="missing: network"):
        figures.levels(frame.drop(columns="network"), **names)


def sweep_rows():
    rows = [(kind, size) for kind in ("distinct", "random") for size in (1, 2, 8)]
    frame = pd.DataFrame(rows, columns=["kind", "batch"])
    frame["ssim"], frame["psnr"] = [0.1 * i for i in range(6)], range(6)
    frame["ssim_std"] = 0.05
    return frame


def test_levels_of_several_values_have_a_panel_each():
    frame = sweep_rows()
    values = {"ssim": "SSIM", "psnr": "PSNR in dB"}
    figure = figures.levels(frame, level="batch", value=values, by="kind", log=2)
    assert [axes.get_ylabel() for axes in figure.axes] == ["SSIM", "PSNR in dB"]
    for axes, name in zip(figure.axes, values, strict=True):
        drawn = [container.lines[0].get_ydata().tolist() for container in axes.containers]
        assert drawn == [rows[name].tolist() for _, rows in frame.groupby("kind")]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "8"]
    assert [c.has_yerr for c in figure.axes[0].containers] == [True, True]
    assert [c.has_yerr for c in figure.axes[1].containers] == [False, False]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["distinct", "random"]
    alone = figures.levels(frame[:3], level="batch", value="ssim", log=2)
    assert alone.legends == []


@pytest.mark.parametrize("channels", [1, 3])
def test_an_animation_plays_every_frame_and_needs_no_file(channels):
    import base64
    import io
    import re

    from PIL import Image

    truth = torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(0))
    frames = torch.stack([torch.zeros_like(truth), torch.ones_like(truth), truth])
    film = plots.animation(truth, frames, [0, 10, 20], [[1.0, 2.0]] * 3, name="IG <b>")
    with Image.open(io.BytesIO(film.data)) as moving, Image.open(io.BytesIO(film.still)) as still:
        assert (moving.n_frames, moving.size) == (3, still.size)
        middle = []
        for place in range(3):
            moving.seek(place)
            pixels = np.asarray(moving.convert("RGB")).astype(int)
            middle.append(pixels[pixels.shape[0] // 2 + 40, 100].mean())
    assert middle[0] < 20 and middle[1] > 235  # black, then white dummies
    shown = film._repr_html_()
    assert "IG &lt;b&gt; turns noise into 2 reconstructed images" in shown
    assert set(re.findall(r'(?:src|srcset)="([^"]{10})', shown)) == {"data:image"}
    (data,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', shown)
    assert base64.b64decode(data) == film.data
    assert len(repr(film)) < 300  # not the bytes


def test_wrong_animations():
    truth = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ShapeError, match=r"frames T x V x C x H x W, got \(2, 3, 8, 8\) and \(2, 3, 8, 8\)"):
        plots.animation(truth, truth, [0], [[0.0] * 2], name="IG")
    with pytest.raises(ShapeError, match="1 frames need as many steps and rows of 2 losses, got 2 steps"):
        plots.animation(truth, truth[None], [0, 1], [[0.0] * 2], name="IG")
    with pytest.raises(ShapeError, match="rows of 2 losses"):
        plots.animation(truth, truth[None], [0], [[0.0]], name="IG")


def test_curves_draw_the_mean_and_the_range_of_seeds():
    frame = pd.DataFrame(
        {
            "row": "MLP",
            "column": "test",
            "line": "none",
            "round": [0, 1, 0, 1, 2],
            "value": [10, 20, 14, 30, math.nan],
        }
    )
    axes = figures.curves(frame, ylabel="accuracy %").axes[0]
    (line,) = axes.lines
    assert line.get_xdata().tolist() == [0, 1] and line.get_ydata().tolist() == [12, 25]
    edges = axes.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in edges} >= {(0, 10), (0, 14), (1, 20), (1, 30)}
    assert axes.get_title() == "MLP, test"


def test_curves_refuse_what_cannot_be_drawn():
    frame = pd.DataFrame({"row": "a", "column": "b", "line": "c", "round": [0], "value": [math.nan]})
    with pytest.raises(ParameterError, match="missing: values"):
        figures.curves(frame, ylabel="")
    with pytest.raises(ParameterError, match="missing: line"):
        figures.curves(frame.drop(columns="line"), ylabel="")
