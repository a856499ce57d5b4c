"""The closed-form chapter's plan: its rows, and its tables from made-up results."""

import pytest
from gleak_book import closed_form

from gleak_lib.bottlenecks import PRECODE
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackCell, Result, TrainingCell

CHAPTER = {
    "profile": "cpu",
    "dataset": "cifar10",
    "width": 1024,
    "size": 8,
    "beta": 0.01,
    "positions": [1, 2, 3, 4],
    "precode_at": 4,
    "victims": 4,
    "noise_levels": [1e-3, 1e-2],
    "pruning": [0.9],
    "batch_sizes": [2, 4],
    "batches": 3,
    "training_rounds": 5,
    "local_batch": 64,
    "seeds": 2,
    "seed": 0,
    "victim_seed": 0,
    "scaling": "none",
    "examples": 4,
}


def made_up(cell):
    victims = cell.victims if isinstance(cell, AttackCell) else 0
    images = cell.victims * cell.batch_size if isinstance(cell, AttackCell) else 0
    half = [0.9] * (images // 2) + [0.1] * (images - images // 2)
    scores = {
        "none": {"ssim": half, "psnr": [20.0] * images, "mse": [0.01] * images},
        "minmax": {"ssim": [0.8] * images, "psnr": [30.0] * images, "mse": [0.001] * images},
    }
    figures = {
        "scores": scores,
        "loss": [0.0] * victims,
        "steps": [0] * victims,
        "entries_matched": 10,
        "entries_total": 10,
        "parameters": 6_313_994,
        "accuracy": 0.5 if cell.seed else 0.4,
        "test_accuracy": [0.1, 0.45],
        "rounds": 5,
        "best_round": 4,
    }
    return Result(cell, figures, {"device": "none", "date": "2026-01-01"})


@pytest.fixture
def results():
    return {cell: made_up(cell) for cell in closed_form.cells(**CHAPTER)}


def test_cells_are_trainings_and_attacks_without_repetition():
    cells = closed_form.cells(**CHAPTER)
    trained = [c for c in cells if isinstance(c, TrainingCell)]
    attacks = [c for c in cells if isinstance(c, AttackCell)]
    assert len(trained) == 4 * 2
    inversions, perturbed, batches, removed = 5 + 2, 3 * 2 * 2, 2 + 1, 2 * (3 + 2) + 3
    assert len(attacks) == inversions + perturbed + batches + removed
    assert len(set(cells)) == len(cells)


def test_single_images_are_attacked_in_eval_mode():
    """BatchNorm in training mode takes no batch of one image."""
    for cell in closed_form.cells(**CHAPTER):
        if isinstance(cell, AttackCell) and cell.batch_size == 1:
            assert cell.mode == "eval"


def test_attacked_weights_are_those_of_the_trainings():
    cells = closed_form.cells(**CHAPTER)
    trained = {c.at(5) for c in cells if isinstance(c, TrainingCell)}
    attacked = {c.training for c in cells if isinstance(c, AttackCell) and c.rounds}
    assert attacked <= trained, "no training is run for an attack alone"
    assert len(attacked) == 4


def test_routes_and_biases_fit_together():
    for row in closed_form.removals(**CHAPTER):
        options = dict(row.cell.training.options)
        assert options["bias"] is False
        assert row.route in ("shift", "direction")
        assert row.route == "direction" or options.get("norm", True)
    for row in closed_form.inversions(**CHAPTER):
        assert dict(row.cell.training.options)["bias"] is True
        assert row.cell.training.bottlenecks == (
            () if row.position is None else (PRECODE(row.position, k=8),)
        )


def test_table_vii_stands_beside_ours(results):
    frame = closed_form.accuracy_table(CHAPTER, results)
    theirs = dict(zip(frame["label"], frame["accuracy_paper"], strict=True))
    assert theirs == {
        "MLP, bias": 59.91,
        "MLP, no bias": 59.98,
        "MLP + PRECODE, bias": 59.80,
        "MLP + PRECODE, no bias": 59.67,
    }
    assert frame["accuracy"].tolist() == pytest.approx([45.0] * 4)
    assert frame["accuracy_std"].tolist() == pytest.approx([5.0] * 4)
    assert frame["final"].tolist() == pytest.approx([45.0] * 4)


@pytest.mark.parametrize("changes", [{"dataset": "digits"}, {"width": 64}])
def test_other_models_and_images_are_not_compared_with_the_papers(changes):
    chapter = CHAPTER | changes
    results = {cell: made_up(cell) for cell in closed_form.cells(**chapter)}
    assert closed_form.accuracy_table(chapter, results)["accuracy_paper"].isna().all()


def test_tables_say_what_was_attacked(results):
    inversion = closed_form.inversion_table(CHAPTER, results)
    assert inversion["precode"].tolist() == ["–", "P=1", "P=2", "P=3", "P=4", "–", "P=4"]
    assert inversion["weights"].tolist() == ["fresh"] * 5 + ["after 5 rounds"] * 2
    assert inversion["asr"].tolist() == [50.0] * 7
    assert inversion["unexplained"].tolist() == ["0e+00"] * 7
    noise = closed_form.noise_table(CHAPTER, results)
    assert noise["std"].tolist() == [1e-3] * 4 + [1e-2] * 4
    assert set(noise["rows"]) == {"largest row", "least squares"}
    summary = closed_form.noise_summary(CHAPTER, results)
    assert summary["noise"].tolist() == ["0.001", "0.01"]
    assert list(summary)[1:3] == ["largest row, fresh", "least squares, fresh"]
    assert summary["least squares, after 5 rounds"].tolist() == [50.0, 50.0]
    assert set(closed_form.compression_table(CHAPTER, results)["p"]) == {0.9}
    batches = closed_form.batch_table(CHAPTER, results)
    assert batches[["batch", "mode"]].to_numpy().tolist() == [[2, "eval"], [4, "eval"], [2, "train"]]
    removal = closed_form.removal_table(CHAPTER, results)
    assert removal["asr"].tolist() == [50.0] * len(removal)
    assert removal["minmax_asr"].tolist() == [100.0] * len(removal)
    assert removal["norm"].tolist()[-3:] == ["no"] * 3


def test_the_package_says_why_it_refuses():
    said = closed_form.refusals()
    assert (
        "has none (removing it is the defense of Scheliga et al. 2023a, Table VII)"
        in said["no bias, eval mode"]
    )
    assert "BatchNorm in training mode sees one value a channel" in said["one image, train mode"]


def test_captions_name_scale_and_weights():
    assert closed_form.caption(CHAPTER, "inversion") == (
        "Profile cpu: 4 victims from cifar10, fresh weights and weights after 5 federated rounds, clients in "
        "eval mode, MLP of width 1,024, images scored as they are."
    )
    assert closed_form.caption(CHAPTER, "batches").startswith("Profile cpu: 3 batches from cifar10, fresh")
    accuracy = closed_form.caption(CHAPTER, "accuracy")
    assert accuracy == (
        "Profile cpu: cifar10, at most 5 federated rounds, 2 seeds. "
        "Not the paper's protocol (up to 300 rounds, 3 seeds)."
    )
    assert "Not the paper's" not in closed_form.caption(CHAPTER | {"profile": "paper"}, "accuracy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_sizes": [1, 2]}, r"batch_sizes are at least 2 images each, got \[1, 2\]"),
        ({"positions": [5]}, "position 5, but this model has positions 1 to 4"),
        ({"precode_at": 7}, "position 7, but this model has positions 1 to 4"),
        ({"pruning": [1.0]}, "pruning ratio p must be in"),
        ({"noise_levels": [0.0]}, "standard deviation must be positive"),
        ({"size": 0}, "k must be"),
        ({"width": 0}, "width must be an integer of at least 1, got 0"),
    ],
)
def test_what_the_plan_refuses(changes, message):
    with pytest.raises(ParameterError, match=message):
        closed_form.cells(**CHAPTER | changes)
