"""Points with intervals, and names that find their places beside points."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from gleak_lib import plots
from gleak_lib.errors import ParameterError
from gleak_lib.plots import names


@pytest.fixture(autouse=True)
def no_window():
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield
    assert pyplot.get_fignums() == []


def frame(*rows):
    return pd.DataFrame(rows, columns=["label", "method", "value", "low", "high"])


TWO = frame(
    ("none", "IG", 90.0, 80.0, 95.0),
    ("none", "joint", 100.0, 90.0, 100.0),
    ("CVB", "joint", 50.0, 20.0, 70.0),
    ("CVB", "IG", 0.0, 0.0, 10.0),
)


def drawn(figure):
    """By method: the points, and the ends of the intervals."""
    return {
        one.get_label(): (
            one.lines[0].get_xydata().tolist(),
            [segment[:, 0].tolist() for segment in one.lines[2][0].get_segments()],
        )
        for one in figure.axes[0].containers
    }


def test_points_and_intervals_stand_on_the_line_of_their_setting():
    figure = plots.intervals(TWO, xlabel="ASR %", threshold=50.0)
    axes = figure.axes[0]
    found = drawn(figure)
    assert list(found) == ["IG", "joint"]
    points, ends = found["IG"]
    assert points == [[90.0, pytest.approx(-0.16)], [0.0, pytest.approx(0.84)]]
    assert ends == [[80.0, 95.0], [0.0, 10.0]]
    points, ends = found["joint"]
    assert points == [[100.0, pytest.approx(0.16)], [50.0, pytest.approx(1.16)]]
    assert ends == [[90.0, 100.0], [20.0, 70.0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["none", "CVB"]
    assert axes.get_ylim() == (1.5, -0.5)  # from top to bottom
    assert axes.get_xlabel() == "ASR %"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["IG", "joint"]
    assert [50.0, 50.0] in [list(line.get_xdata()) for line in axes.lines]


def test_gaps():
    gaps = frame(
        ("none", "IG", np.nan, np.nan, np.nan),
        ("none", "joint", 40.0, np.nan, np.nan),
        ("CVB", "IG", 10.0, 5.0, 20.0),
    )
    found = drawn(plots.intervals(gaps, xlabel=""))
    assert found["IG"] == ([[10.0, pytest.approx(0.84)]], [[5.0, 20.0]])
    assert found["joint"] == ([[40.0, pytest.approx(0.16)]], [[40.0, 40.0]])  # no interval
    nothing = plots.intervals(gaps.assign(value=np.nan), xlabel="")
    assert [points for points, _ in drawn(nothing).values()] == [[], []]


def test_an_interval_that_does_not_hold_its_point_ends_there():
    found = drawn(plots.intervals(frame(("none", "IG", 3.0, 4.0, 5.0)), xlabel=""))
    assert found["IG"][1] == [[3.0, 5.0]]


@pytest.mark.parametrize(
    ("labels", "methods"),
    [
        ([f"CVB P={i}, k=5, s=1/2, β=1e-1 + average-noise draws=4" for i in range(25)], 2),
        ([f"CVB P={i}, k=5, s=1/2, β=1e-1, exact KL\nafter 20 rounds" for i in range(9)], 3),
        ([f"two lines {i}\nand one method" for i in range(4)], 1),
    ],
)
def test_long_labels_cover_neither_each_other_nor_the_points(labels, methods):
    rows = [(label, f"attack {m}", 50.0, 40.0, 60.0) for label in labels for m in range(methods)]
    figure = plots.intervals(frame(*rows), xlabel="ASR %")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(not one.overlaps(other) for one, other in pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= axes.get_window_extent().x0
    assert axes.get_window_extent().width > 0.4 * figure.bbox.width


def test_wrong_intervals():
    with pytest.raises(ParameterError, match="missing: low, high"):
        plots.intervals(TWO.drop(columns=["low", "high"]), xlabel="")
    with pytest.raises(ParameterError, match="missing: rows"):
        plots.intervals(TWO[:0], xlabel="")


def cloud(joined):
    """Twenty settings close together, in two families."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "row": "ours",
            "column": "digits",
            "family": ["one"] * 10 + ["other"] * 10,
            "setting": [f"setting {i}" for i in range(20)],
            "x": rng.normal(size=20),
            "y": rng.uniform(size=20),
            "joined": joined,
        }
    )


def boxes_of(figure):
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [Text.get_window_extent(text) for text in figure.axes[0].texts]


def test_families_that_are_no_scale_have_no_line_and_every_point_a_name():
    figure = plots.tradeoff(cloud([True] * 10 + [False] * 10), xlabel="", ylabel="")
    scale, others = figure.axes[0].lines
    assert (scale.get_linestyle(), others.get_linestyle()) == ("-", "None")
    assert len(others.get_xdata()) == 10
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["setting 0", "setting 9", *(f"setting {i}" for i in range(10, 20))]


@pytest.mark.parametrize(("count", "texts"), [(3, 3), (4, 2)])
def test_a_short_scale_is_named_whole(count, texts):
    assert len(plots.tradeoff(cloud(True)[:count], xlabel="", ylabel="").axes[0].texts) == texts


def test_categories_keep_their_colors_where_one_is_missing():
    kinds = pd.Categorical(["b"] * 10 + ["c"] * 10, categories=["a", "b", "c"])
    three = pd.Categorical(["a"] * 5 + ["b"] * 5 + ["c"] * 10, categories=["a", "b", "c"])
    looks = []
    for families in (kinds, three):
        figure = plots.tradeoff(cloud(False).assign(family=families), xlabel="", ylabel="")
        looks.append(
            {line.get_label(): (line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
        )
    assert list(looks[0]) == ["b", "c"] and list(looks[1]) == ["a", "b", "c"]
    assert all(looks[1][name] == look for name, look in looks[0].items())


def test_names_cover_neither_each_other_nor_points_nor_run_out_of_the_panel():
    figure = plots.tradeoff(cloud(False), xlabel="", ylabel="")
    boxes = boxes_of(figure)
    assert len(boxes) == 20
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    axes = figure.axes[0]
    points = [axes.transData.transform(xy) for line in axes.lines for xy in line.get_xydata()]
    assert not any(box.contains(*point) for box in boxes for point in points)
    panel = axes.get_window_extent()
    assert all(
        panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
        for box in boxes
    )


def test_names_keep_lines_free():
    steep = cloud(True)[:2].assign(x=[0.0, 1.0], y=[0.0, 1.0], setting=["near the start", ""])
    figure = plots.tradeoff(steep, xlabel="", ylabel="")
    (box,), axes = boxes_of(figure), figure.axes[0]
    (start, end) = (axes.transData.transform(xy) for xy in axes.lines[0].get_xydata())
    assert not any(box.contains(*(start + share * (end - start))) for share in np.linspace(0, 1, 200))


def test_a_name_alone_stands_right_above_its_point():
    one = cloud(False)[:1]
    (text,) = plots.tradeoff(one, xlabel="", ylabel="").axes[0].texts
    assert (text.get_position(), text.get_ha(), text.get_va()) == (
        (names.NEAR, names.NEAR), "left", "bottom"
    )  # fmt: skip
    assert not text.arrow_patch.get_visible()
    same = pd.concat([one.assign(setting=f"number {i}", family=f"{i}") for i in range(9)])
    texts = plots.tradeoff(same, xlabel="", ylabel="").axes[0].texts
    assert [text.arrow_patch.get_visible() for text in texts] == [
        max(map(abs, text.get_position())) > names.NEAR for text in texts
    ]
    assert any(text.arrow_patch.get_visible() for text in texts)  # too many for one place


def test_a_setting_without_a_name_has_none():
    figure = plots.tradeoff(cloud(False).assign(setting=""), xlabel="", ylabel="")
    assert len(figure.axes[0].texts) == 0


def test_long_legends_have_several_lines():
    many = cloud(False).assign(family=[f"a family of settings {i % 8}" for i in range(20)])
    figure = plots.tradeoff(many, xlabel="", ylabel="")
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert len(figure.legends[0].get_texts()) == 8
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(looks) == len({color for color, _ in looks}) == 8
