"""The Ignore chapter's plan: the paper's rows, and its tables from made-up results."""

import pytest
from gleak_book import ignore, ignore_report, paper

from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackCell, Result, TrainingCell
from gleak_lib.experiments.specs.noise_sensitivity import SpreadCell

CHAPTER = {
    "profile": "cpu",
    "dataset": "cifar10",
    "model": "cnn",
    "bottleneck": "precode",
    "positions": [3, 2, 1],
    "sizes": [32, 16, 8],
    "beta": 0.01,
    "partial": [3, 2],
    "victims": 4,
    "steps": 10,
    "tv": 0.01,
    "plateau": 400,
    "training_rounds": 5,
    "rounds": [0, 5],
    "seeds": 2,
    "repeated": 2,
    "seed": 0,
    "victim_seed": 0,
    "scaling": "minmax",
    "examples": 4,
}


def test_every_row_of_the_papers_table_i_is_there():
    rows = ignore.table_i(**CHAPTER)[0]
    by_label = {row.label: ignore_report.paper_asr(row, CHAPTER) for row in rows}
    theirs = paper.table("cvb_table_i")
    assert by_label["no bottleneck: G1+G2+G3+G4"] == 96.88
    assert by_label["P=3: G1+G2+G3+GE"] == 85.94
    assert by_label["P=2: G1+G2+GE"] == 7.81
    zero = [label for label, asr in by_label.items() if asr == 0]
    assert len(zero) == 3 + 4  # P=3: IG and two masks; P=2: IG and three masks, one line in the CSV
    assert len([asr for asr in by_label.values() if asr == asr]) == len(theirs) + 2


def test_masks_leave_out_what_they_say():
    for row in ignore.table_i(**CHAPTER)[0]:
        attack = row.cell.attack
        if row.mask.startswith("all but"):
            assert len(attack.match.exclude) == 1
            assert ignore.paper_name(attack.match.exclude[0]) not in row.matched.split("+")
        else:
            assert attack.match.exclude == ()
        assert attack.schedule.max_steps == 10


def test_cells_are_trainings_spreads_and_attacks_without_repetition():
    cells = ignore.cells(**CHAPTER)
    kinds = [sum(isinstance(c, kind) for c in cells) for kind in (TrainingCell, SpreadCell, AttackCell)]
    assert kinds == [4 * 2, 3 * 2, 2 * (1 + 4 + 5 + 2) + (1 + 2 * 3)]  # the last: the second seed, trained
    assert len(set(cells)) == len(cells)
    assert {c.training.bottlenecks for c in cells if isinstance(c, AttackCell)} == {
        (), (PRECODE(3, 32),), (PRECODE(2, 16),), (PRECODE(1, 8),)
    }  # fmt: skip


def test_the_chapter_runs_on_a_cvb_too():
    chapter = CHAPTER | {"bottleneck": "cvb", "positions": [1], "sizes": [3], "beta": 0.1}
    cells = ignore.cells(**chapter)
    assert {c.training.bottlenecks for c in cells if isinstance(c, AttackCell)} == {(), (CVB(1, 3),)}


def made_up(cell):
    column = {"ssim": [0.6, 0.4, 0.9, 0.1], "psnr": [20.0] * 4, "mse": [0.01] * 4}
    figures = {
        "scores": {"minmax": column, "none": column},
        "loss": [0.1] * 4,
        "steps": [10] * 4,
        "entries_matched": 5,
        "entries_total": 10,
        "parameters": 65_962,
        "accuracy": 0.5,
        "rounds": 5,
        "best_round": 4,
        "groups": ["stage1", "head"],
        "similarity": [[0.5, 0.7], [0.1, 0.3]],
        "sigma": [0.5],
        "mu": [2.0],
    }
    return Result(cell, figures, {"device": "none", "date": "2026-01-01"})


def test_tables_set_ours_beside_the_papers():
    results = {cell: made_up(cell) for cell in ignore.cells(**CHAPTER)}
    masks = ignore_report.mask_table(CHAPTER, results, 0)
    assert masks["asr"].tolist() == [50.0] * len(masks)
    assert masks.loc[masks["label"] == "P=3: G1+G2+G3+GE", "asr_difference"].item() == pytest.approx(-35.94)
    placement = ignore_report.placement_table(CHAPTER, results, 5)
    assert placement["label"].tolist() == ["no bottleneck", "P=3", "P=2", "P=1"]
    assert placement["accuracy_paper"].tolist() == [62.53, 62.74, 62.80, 60.24]
    assert placement["asr_paper"].tolist() == [96.88, 85.94, 7.81, 0.78]
    assert placement["accuracy"].tolist() == [50.0] * 4
    repeated = ignore_report.repeated_table(CHAPTER, results)
    assert repeated["label"].tolist()[:3] == ["IG, no bottleneck", "IG, P=3", "Ignore, P=3"]
    assert repeated["victims"].tolist() == [8] * 7
    assert repeated["each"].tolist() == ["50.0, 50.0"] * 7
    similarity = ignore_report.similarity_table(CHAPTER, results)
    assert similarity["gradients"].tolist()[:2] == ["G1", "G4"]
    assert similarity["similarity"].tolist()[:2] == pytest.approx([0.6, 0.2])
    noise = ignore_report.noise_table(CHAPTER, results)
    assert noise["weights"].tolist() == ["fresh", "after 5 rounds"] * 3
    assert noise["ratio"].tolist() == [4.0] * 6


def test_other_images_are_not_compared_with_the_papers():
    chapter = CHAPTER | {"dataset": "digits"}
    results = {cell: made_up(cell) for cell in ignore.cells(**chapter)}
    assert ignore_report.mask_table(chapter, results, 0)["asr_paper"].isna().all()
    assert ignore_report.placement_table(chapter, results, 0)["accuracy_paper"].isna().all()


def test_captions_name_scale_and_weights():
    fresh, trained = ignore_report.caption(CHAPTER, 0), ignore_report.caption(CHAPTER, 5)
    assert fresh == (
        "Profile cpu: 4 victims from cifar10, fresh weights, at most 10 steps, "
        "each image min–max scaled before scoring."
    )
    assert "weights after 5 federated rounds" in trained


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"bottleneck": "precod"}, UnknownNameError, "Unknown bottleneck 'precod'. Did you mean 'precode'"),
        ({"sizes": [8]}, ParameterError, r"sizes needs one value a position: \[3, 2, 1\], got \[8\]"),
        ({"repeated": 3}, ParameterError, r"repeated must be 1 to seeds \(2\), got 3"),
        ({"rounds": [0, 9]}, ParameterError, r"rounds \[9\] come after the last of 5 training_rounds"),
        ({"positions": [4, 2, 1]}, ParameterError, "position 4, but this model has positions 1 to 3"),
    ],
)
def test_what_the_plan_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        ignore.cells(**CHAPTER | changes)
