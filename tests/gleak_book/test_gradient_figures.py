"""Tracks of two entries, and similarities layer by layer."""

import numpy as np
import pandas as pd
import pytest
from gleak_book import figures

from gleak_lib.errors import ParameterError

STEPS = [1, 10, 100]


@pytest.fixture(autouse=True)
def no_window():
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield
    assert pyplot.get_fignums() == []


def entries():
    parts = [
        pd.DataFrame(
            {
                "image": image,
                "layer": layer,
                "step": STEPS,
                "first": [0.1, 0.2, place],
                "second": [0.3, place, 0.5],
                "client_first": 7.0,
                "client_second": 8.0,
            }
        )
        for place, (image, layer) in enumerate([(i, n) for i in ("A", "B") for n in ("encoder", "decoder")])
    ]
    return pd.concat(parts)


def lines():
    layers = {"plain": ["conv 1", "classifier"], "both": ["conv 1", "encoder", "decoder", "classifier"]}
    parts = [
        pd.DataFrame(
            {"row": row, "setting": setting, "layer": layer, "step": STEPS, "similarity": [0.0, 0.5, place]}
        )
        for row in ("one", "two")
        for setting, names in layers.items()
        for place, layer in enumerate(names)
    ]
    return pd.concat(parts)


def test_tracks_are_coloured_by_step_with_the_client_marked():
    frame = entries()
    figure = figures.tracks(frame, caption="16 victims")
    assert figure.get_suptitle() == "16 victims"
    panels = figure.axes[:4]
    assert [axes.get_title() for axes in panels] == ["encoder", "decoder", "", ""]
    for axes, (_, own) in zip(panels, frame.groupby(["image", "layer"], sort=False), strict=True):
        dots, cross = axes.collections
        np.testing.assert_allclose(dots.get_offsets(), own[["first", "second"]])
        assert dots.get_array().tolist() == STEPS
        assert cross.get_offsets().tolist() == [[7, 8]]
    assert figure.axes[4].get_ylabel() == "step"


def test_similarities_are_a_line_a_layer_green_and_dashed_in_the_bottleneck():
    frame = lines()
    figure = figures.similarities(frame, caption="16 victims")
    assert figure.get_suptitle() == "16 victims"
    assert [axes.get_title() for axes in figure.axes] == ["plain", "both", "", ""]
    assert figure.axes[0].get_ylabel() == "one\ncosine similarity"
    drawn = figure.axes[1].lines[:4]
    assert [line.get_ydata()[-1] for line in drawn] == [0, 1, 2, 3]
    assert [line.get_linestyle() for line in drawn] == ["-", "--", "--", "-"]
    same = figure.axes[0].lines[1].get_color(), drawn[3].get_color()
    assert same[0] == same[1]  # the classifier, in both
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["conv 1", "encoder", "decoder", "classifier"]
    assert not figure.axes[0].collections


def test_bands_stand_where_there_are_quartiles():
    frame = lines().assign(low=-0.1, high=1.1)
    figure = figures.similarities(frame)
    (path,) = figure.axes[0].collections[0].get_paths()
    assert set(path.vertices[:, 1]) == {-0.1, 1.1}


@pytest.mark.parametrize(
    ("draw", "frame"),
    [(figures.tracks, entries), (figures.similarities, lines)],
    ids=["tracks", "similarities"],
)
def test_refuses_what_it_cannot_draw(draw, frame):
    with pytest.raises(ParameterError, match="missing: layer, step"):
        draw(frame().drop(columns=["layer", "step"]))
    with pytest.raises(ParameterError, match="missing: rows"):
        draw(frame().iloc[:0])
