"""The chapter on medical images: whole sets, sets of victims only, an archive of one's own."""

import dataclasses

import numpy as np
import pytest
import torch
from gleak_book import figures, medical, medical_report

from gleak_lib.bottlenecks import CVB
from gleak_lib.datasets import Pixels
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackCell, Result, TrainingCell, run, tables
from gleak_lib.experiments.specs.class_counts import ClassCountsCell
from gleak_lib.experiments.specs.reidentification import ReidentificationCell, ranks

CHAPTER = {
    "profile": "cpu",
    "datasets": ["pneumoniamnist", "dermamnist_victims", "retinamnist", "bloodmnist_victims"],
    "model": "cnn",
    "kernel_size": 5,
    "scale": 0.5,
    "beta": 0.1,
    "victims": 16,
    "steps": 2000,
    "plateau": 400,
    "tv": 0.01,
    "training_rounds": 40,
    "rounds": [0, 40],
    "seeds": 2,
    "link_images": 8,
    "seed": 0,
    "victim_seed": 0,
    "scaling": "minmax",
    "examples": 8,
}
SMALL = {"victims": 2, "steps": 3, "plateau": 2, "training_rounds": 1, "rounds": [0, 1], "link_images": 2}


def made_up(cell):
    if isinstance(cell, ClassCountsCell):
        whole = not cell.dataset.endswith("_victims")
        counts = {"train": [30, 10], "val": [0, 0], "test": [6, 2] if whole else [0, 0]}
        return Result(cell, {"num_classes": 2, "victims_only": not whole, "counts": counts}, {})
    if isinstance(cell, ReidentificationCell):
        return Result(cell, {"ranks": [1, 1, 5], "candidates": 40}, {})
    if isinstance(cell, TrainingCell):
        figures = {"accuracy": 0.85, "balanced_accuracy": 0.7, "auc": 0.9, "rounds": 40, "best_round": 30}
        return Result(cell, figures | {"parameters": 1}, {"device": "none", "date": "2026-01-01"})
    column = {name: [value] * 16 for name, value in (("ssim", 0.6), ("psnr", 20.0), ("mse", 0.01))}
    figures = {
        "scores": {"minmax": column, "none": column},
        "loss": [0.1] * 16,
        "steps": [10] * 16,
        "entries_matched": 25,
        "entries_total": 100,
        "parameters": 1,
    }
    kept = np.full((8, 3, 32, 32), 128, dtype=np.uint8)
    return Result(cell, figures, {"device": "none"}, {"truth": kept, "reconstruction": kept})


@pytest.fixture(scope="module")
def results():
    return {cell: made_up(cell) for cell in medical.cells(**CHAPTER)}


def test_each_set_has_the_papers_bottleneck():
    table = medical_report.bottleneck_table(CHAPTER)
    assert table["label"].tolist() == ["Pneumonia", "Derma (128 images)", "Retina", "Blood (128 images)"]
    assert list(zip(table["kernel_size"], table["beta"], strict=True)) == [
        (5, "0.001"), (3, "0.1"), (3, "0.001"), (5, "0.1")
    ]  # fmt: skip
    assert set(table["chosen"]) == {"Scheliga et al. 2023a, §VI-E"}


def test_victims_only_sets_are_attacked_on_fresh_weights_and_never_trained():
    cells = medical.cells(**CHAPTER)
    assert {c.dataset for c in cells if isinstance(c, TrainingCell)} == {"pneumoniamnist", "retinamnist"}
    few = [c for c in cells if isinstance(c, AttackCell) and c.dataset_name.endswith("_victims")]
    assert len(few) == 4 and {c.rounds for c in few} == {0}
    assert len([c for c in cells if isinstance(c, TrainingCell)]) == 2 * 2 * 2
    assert len([c for c in cells if isinstance(c, AttackCell)]) == 2 * 4 + 4
    assert len([c for c in cells if isinstance(c, ReidentificationCell)]) == 2 * 4
    assert len(set(cells)) == len(cells)


def test_whoever_has_the_archives_names_them():
    chapter = CHAPTER | {"datasets": ["dermamnist", "bloodmnist"]}
    cells = medical.cells(**chapter)
    assert {c.dataset for c in cells if isinstance(c, TrainingCell)} == {"dermamnist", "bloodmnist"}
    assert medical_report.title("dermamnist") == "Derma"


def test_scores_stand_beside_table_xii(results):
    table = medical_report.scores_table(CHAPTER, results)
    assert table["ssim_paper"].tolist() == [0.95, 0.35, 0.86, 0.19, 0.85, 0.13, 0.87, 0.23]
    assert table["defense"].tolist() == ["none", "CVB"] * 4
    assert table["ssim"].tolist() == pytest.approx([0.6] * 8)


def test_missing_images_are_said_in_the_row(results):
    table = medical_report.accuracy_table(CHAPTER, results)
    assert table["accuracy"].tolist()[2:4] == ["needs download"] * 2
    assert table["accuracy"].tolist()[0] == pytest.approx(85)
    assert table["accuracy_paper"].tolist()[2] == 75.02
    assert table["largest"].tolist()[0] == 75 and np.isnan(table["largest"].tolist()[2])
    assert table["balanced_accuracy"].tolist()[0] == pytest.approx(70) and table["auc"].tolist()[0] == 0.9
    html = tables.show(table, columns=["label", "accuracy", "largest", "balanced_accuracy", "auc"]).to_html()
    assert "needs download" in html and "85.00\u00a0±\u00a00.00" in html and ">–<" in html


def test_other_tables_and_figures(results):
    trained = medical_report.trained_table(CHAPTER, results)
    assert trained["weights"].tolist() == ["fresh", "fresh", "after 40 rounds", "after 40 rounds"] * 2
    linked = medical_report.linkage_table(CHAPTER, results)
    assert linked["first"].tolist() == ["2 of 3"] * 8 and linked["median"].tolist() == [1.0] * 8
    frame = medical_report.tradeoff(CHAPTER, results)
    assert frame.dropna()["panel"].value_counts().to_dict() == {"paper": 8, "ours": 4}
    counts = medical_report.classes_table(CHAPTER, results)
    assert counts["count"].tolist()[:2] == [36, 12]
    assert len(figures.classes(counts).axes[0].get_yticklabels()) == 4
    originals, rows = medical_report.pictures(CHAPTER, results, "retinamnist")
    assert list(rows) == ["none, fresh", "CVB, fresh", "none, after 40 rounds", "CVB, after 40 rounds"]
    assert len(originals) == 8
    assert "16 victims, at most 2,000 steps" in medical_report.caption(CHAPTER)


def test_nothing_is_linked_where_that_is_not_wanted(results):
    chapter = CHAPTER | {"link_images": 0}
    assert medical.links(**chapter) == {}
    assert medical_report.linkage_table(chapter, results).empty
    assert (
        "original"
        in tables.show(
            medical_report.linkage_table(chapter, results), columns={"first": "original is first"}
        ).to_html()
    )


@pytest.mark.parametrize("rounds", [[], [40], [0, 41]])
def test_weights_begin_fresh_and_end_with_the_training(rounds):
    with pytest.raises(ParameterError, match=r"rounds begins with 0, fresh weights, and ends at"):
        medical.cells(**CHAPTER | {"rounds": rounds})


def test_an_archive_of_ones_own(store, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 40), ("test", 8)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 4 == 3).astype(np.uint8).reshape(-1, 1)
    np.savez(tmp_path / "my_hospital.npz", **arrays)
    monkeypatch.setenv("GLEAK_DATA", str(tmp_path))
    chapter = CHAPTER | SMALL | {"datasets": ["my_hospital"], "kernel_size": 3, "beta": 0.01, "seeds": 1}
    cells = medical.cells(**chapter)
    specs = {c.training.bottlenecks for c in cells if isinstance(c, AttackCell)}
    assert specs == {(), (CVB(1, 3, beta=0.01),)}
    found = dict(zip(cells, run(cells, store, progress=False), strict=True))
    scores = medical_report.scores_table(chapter, found)
    assert scores["ssim"].notna().all() and scores["ssim_paper"].isna().all()
    accuracy = medical_report.accuracy_table(chapter, found)
    assert accuracy["largest"].tolist() == [75, 75] and accuracy["balanced_accuracy"].notna().all()
    assert medical_report.linkage_table(chapter, found)["candidates"].tolist() == [40] * 4
    assert medical_report.bottleneck_table(chapter)["chosen"].tolist() == ["this chapter's parameters"]


def test_the_rank_counts_what_is_more_alike():
    grid = torch.linspace(0, 1, 16).reshape(1, 1, 4, 4)
    candidates = torch.cat([grid, 1 - grid, grid.transpose(2, 3), grid.square()])
    found = torch.cat([0.2 + 0.5 * grid, grid.square()])  # paler, but the same; and one like the fourth
    truth = torch.cat([grid, grid])
    assert ranks(found, truth, Pixels(candidates)).tolist() == [1, 2]
    assert ranks(torch.ones(1, 1, 4, 4), grid, Pixels(candidates)).tolist() == [1]  # nothing is like it


def test_linkage_needs_few_victims_of_one_image():
    cell = AttackCell(TrainingCell("digits"), victims=9)
    with pytest.raises(ParameterError, match="at most 8 victims of one image, got 9 of 1"):
        ReidentificationCell(cell)
    with pytest.raises(ParameterError, match="got 2 of 2"):
        ReidentificationCell(dataclasses.replace(cell, victims=2, batch_size=2))
