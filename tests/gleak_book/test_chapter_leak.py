"""The plan of "How gradients leak": the rows that it promises, and its tables from made-up results."""

from itertools import pairwise

import numpy as np
import pytest
from gleak_book import leak

from gleak_lib.attacks import ATTACKS, Resample
from gleak_lib.bottlenecks import CVB
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackCell, Result
from gleak_lib.experiments.specs.animation import MovieCell
from gleak_lib.experiments.specs.label_inference import LabelCell

CHAPTER = {
    "profile": "cpu",
    "dataset": "cifar10",
    "datasets": ["mnist", "cifar10"],
    "model": "cnn",
    "position": 1,
    "kernel_size": 5,
    "scale": 0.5,
    "beta": 0.1,
    "victims": 4,
    "steps": 30,
    "plateau": 7,
    "lbfgs_steps": 10,
    "batch_images": 8,
    "batch_sizes": [1, 2, 4],
    "batch_steps": 20,
    "label_batches": 6,
    "movie_victims": 6,
    "frames": 5,
    "seed": 0,
    "victim_seed": 3,
    "scaling": "minmax",
    "examples": 4,
}


def differences(one, other):
    pair = [a.settings | {"labels": a.labels, "kind": a.kind} for a in (one, other)]
    return {n for n in {**pair[0], **pair[1]} if n != "name" and pair[0].get(n) != pair[1].get(n)}


def test_each_rung_of_the_ladder_changes_what_it_says():
    rows = leak.ladder(**CHAPTER)
    attacks = [row.cell.attack for row in rows]
    steps = [differences(a, b) for a, b in pairwise(attacks)]
    assert steps[0] == {"labels"}
    assert steps[1] >= {"labels", "lr", "clip"}
    assert steps[2] == {"label_weight", "label_form", "clip"}
    assert steps[4:] == [{"distance"}, {"signed"}, {"tv"}]
    assert differences(attacks[4], attacks[2]) >= {"kind", "lr"}
    assert not differences(attacks[4], attacks[2]) & {"distance", "label_weight", "clip", "labels", "tv"}
    assert attacks[-1] == ATTACKS["ig"].replace(max_steps=30, drop_after=7)
    assert {a.schedule.max_steps for a in attacks if a.kind == "lbfgs"} == {10}
    cells = [row.cell for row in rows]
    assert len({(c.training, c.victims, c.victim_seed, c.seed) for c in cells}) == 1  # the same victims


def test_table_iii_ignores_stochastic_gradients_on_the_cvb_only():
    found = leak.table_iii(**CHAPTER)
    assert len(found) == 2 * (4 + 5)
    for (dataset, defense, name), cell in found.items():
        assert cell.training.dataset == dataset
        assert cell.attack.match.layers == ("before-decoder" if defense == "CVB" else "all")
        assert cell.training.bottlenecks == ((CVB(1, 5, 0.5, beta=0.1),) if defense == "CVB" else ())
        assert (cell.attack.settings.get("label_form") == "paper-code") == (name == "cpl-code")
        coded = defense == "CVB" and name.endswith("-code")
        assert cell.attack.noise == Resample(each_evaluation=coded)


def test_batches_share_the_same_images():
    found = leak.batches(**CHAPTER)
    assert {size: cell.victims * cell.batch_size for size, cell in found.items()} == {1: 8, 2: 8, 4: 8}


def test_cells_come_once_each():
    cells = leak.cells(**CHAPTER)
    kinds = {kind: sum(isinstance(c, kind) for c in cells) for kind in (AttackCell, LabelCell, MovieCell)}
    # the ladder's iDLG, CPL and IG are cells of Table III, too
    assert kinds == {AttackCell: 8 + 18 - 3 + 3, LabelCell: 2 * (2 * 3 + 3), MovieCell: 1}
    assert len(set(cells)) == len(cells)
    (movie,) = (c for c in cells if isinstance(c, MovieCell))
    assert (movie.victims, movie.attack.schedule.max_steps) == (4, 30)  # of the victims, no more


def made_up(cell):
    column = {"ssim": [0.6, 0.4, 0.9, 0.1], "psnr": [20.0] * 4, "mse": [0.01] * 4}
    figures = {
        "scores": {"minmax": column, "none": column},
        "loss": [0.1] * 4,
        "steps": [10] * 4,
        "entries_matched": 5,
        "entries_total": 10,
        "parameters": 65_962,
        "label_accuracy": 0.75,
        "trace": {"step": [1, 2], **{name: [1.0, 0.5] for name in ("min", "q25", "median", "q75", "max")}},
        "accuracy": [1.0, 0.5],
        "classes": [1, 2],
    }
    if isinstance(cell, MovieCell):
        figures |= {"steps": [0, 30], "loss": [[1.0] * 4, [0.5] * 4]}
    images = np.full((8 if isinstance(cell, MovieCell) else 4, 3, 32, 32), 255, np.uint8)
    examples = {"truth": images[:4], "reconstruction": images, "frames": images}
    return Result(cell, figures, {"device": "none", "date": "2026-01-01", "seconds": 8.0}, examples)


@pytest.fixture
def results():
    return {cell: made_up(cell) for cell in leak.cells(**CHAPTER)}


def test_table_iii_stands_beside_the_papers_figures(results):
    table = leak.table_iii_table(CHAPTER, results).set_index("label")
    assert table["ssim"].tolist() == pytest.approx([0.5] * 18)
    assert table.loc["mnist, none, iDLG", "ssim_paper"] == 0.76
    assert table.loc["cifar10, none, IG", "asr_paper"] == 96.88
    assert table.loc["cifar10, CVB, IG", "ssim_paper"] == 0.21
    coded = table.loc["cifar10, none, CPL, as coded"]
    assert coded["ssim_paper"] == table.loc["cifar10, none, CPL", "ssim_paper"] == 0.32
    assert table["asr_paper"].notna().all()


@pytest.mark.parametrize("change", [{"kernel_size": 3}, {"model": "lenet"}, {"beta": 0.01}])
def test_another_protocol_is_not_set_beside_the_papers(change):
    chapter = CHAPTER | change
    results = {cell: made_up(cell) for cell in leak.cells(**chapter)}
    assert leak.table_iii_table(chapter, results)["ssim_paper"].isna().all()


def test_ladder_table_pictures_and_traces(results):
    table = leak.ladder_table(CHAPTER, results)
    assert table["seconds"].tolist() == [2.0] * 8
    assert table["found"].tolist() == [75.0] * 8
    originals, pictures = leak.ladder_pictures(CHAPTER, results, ("DLG", "CPL"))
    assert originals.shape == (4, 3, 32, 32)
    assert list(pictures) == ["DLG", "DLG + label inferred", "CPL (label term, no box)"]
    assert len(leak.ladder_traces(CHAPTER, results, "l2")) == 4
    assert list(leak.ladder_traces(CHAPTER, results, "cosine"))[-1] == "IG"
    assert len(leak.ladder_traces(CHAPTER, results, "cosine")) == 3


def test_the_columns_shown_are_in_the_tables(results):
    assert set(leak.LADDER_COLUMNS) <= set(leak.ladder_table(CHAPTER, results))
    assert set(leak.TABLE_III_COLUMNS) <= set(leak.table_iii_table(CHAPTER, results))
    assert set(leak.BATCH_COLUMNS) <= set(leak.batch_table(CHAPTER, results))
    assert set(leak.LABEL_COLUMNS) <= set(leak.label_table(CHAPTER, results))


def test_batch_and_label_tables(results):
    table = leak.batch_table(CHAPTER, results)
    assert table["batch"].tolist() == [1, 2, 4]
    assert table["unknowns"].tolist() == [3072, 6144, 12288]
    originals, pictures = leak.batch_pictures(CHAPTER, results)
    assert list(pictures) == ["B = 1", "B = 2", "B = 4"]
    labels = leak.label_table(CHAPTER, results)
    assert labels["batch"].tolist() == [1, 2, 4, 16] * 2
    assert labels["random"].isna().tolist() == [False, False, False, True] * 2  # 16 images of ten classes
    assert labels["counts"].isna().tolist() == [True, False, False, False] * 2  # one image: the sign
    assert set(labels["random"].dropna()) == set(labels["counts"].dropna()) == {75.0}
    assert labels["ceiling"].tolist() == [150.0, 75.0, 37.5, 9.375] * 2  # made-up: 1.5 classes in a batch


def test_animated_gives_frames_by_step(results):
    originals, frames, steps, losses = leak.animated(CHAPTER, results)
    assert (originals.shape, frames.shape) == ((4, 3, 32, 32), (2, 4, 3, 32, 32))
    assert (steps, losses) == ([0, 30], [[1.0] * 4, [0.5] * 4])


def test_captions_name_profile_images_weights_and_steps():
    assert leak.caption(CHAPTER) == (
        "Profile cpu: 4 victims from cifar10, fresh weights, at most 10 steps of L-BFGS or 30 of Adam, "
        "each image min–max scaled."
    )
    assert "4 victims an image set" in leak.caption(CHAPTER, "paper")
    assert "the same 8 images" in leak.caption(CHAPTER, "batch")
    assert "6 batches a figure from cifar10, fresh weights, no attack" in leak.caption(CHAPTER, "labels")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"batch_sizes": [1, 3]}, ParameterError, r"batch_images=8 cannot be shared in batches of \[3\]"),
        ({"batch_sizes": [0]}, ParameterError, r"cannot be shared in batches of \[0\]"),
        ({"frames": 1}, ParameterError, "frames must be an integer of at least 2, got 1"),
        ({"victims": 0}, ParameterError, "victims must be an integer of at least 1"),
    ],
)
def test_what_the_plan_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        leak.cells(**CHAPTER | changes)


def test_an_unknown_image_set_is_named(tmp_path):
    from gleak_lib.experiments.context import Context

    cell = leak.ladder(**CHAPTER | {"dataset": "cifar11"})[0].cell
    with pytest.raises(UnknownNameError, match="cifar11"):
        cell.run(Context(tmp_path))
