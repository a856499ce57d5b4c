"""The chapter "Closed-form inversion and biases": what it attacks, and what it refuses."""

from typing import Any

import pytest

from gleak_lib.attacks import LinearInversion, RankOne
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackExperiment, TrainingExperiment

NAME = "10_closed_form_inversion"
CHAPTER: dict[str, Any] = {
    "dataset": "cifar10",
    "width": 1024,
    "size": 8,
    "positions": [1, 2, 3, 4],
    "precode_at": 4,
    "victims": 4,
    "noise_levels": [1e-3, 1e-2],
    "pruning": [0.9],
    "batch_sizes": [2, 4],
    "batches": 3,
    "training_rounds": 5,
    "seeds": 2,
}


def declared(kind: type = AttackExperiment, **changes) -> list[Any]:
    return [cell for cell in experiments(NAME, CHAPTER | changes) if isinstance(cell, kind)]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_cells_of_every_profile(profile):
    cells = experiments(NAME, profiles.load(NAME, profile))
    assert len({c.key for c in cells}) == len(cells)


def test_cells_are_trainings_and_attacks_without_repetition():
    assert len(declared(TrainingExperiment)) == 4 * 2
    divided, disturbed, batches, removed = 5 + 2, 3 * 2 * 2, 2 + 1, 2 * (3 + 2) + 3
    assert len(declared()) == divided + disturbed + batches + removed
    fresh_only = declared(training_rounds=0)
    assert len(fresh_only) == 5 + 3 * 2 + 3 + 2 * 3 + 3 and not any(c.rounds for c in fresh_only)


def test_single_images_are_attacked_in_eval_mode():
    """BatchNorm in training mode takes no batch of one image."""
    assert {c.mode for c in declared() if c.batch_size == 1} == {"eval"}
    batches = [c for c in declared() if c.batch_size > 1]
    assert [(c.batch_size, c.mode, c.victims) for c in batches] == [
        (2, "eval", 3), (4, "eval", 3), (2, "train", 3)
    ]  # fmt: skip


def test_attacked_weights_are_those_of_the_trainings():
    trained = {c.at(5) for c in declared(TrainingExperiment)}
    attacked = {c.training for c in declared() if c.rounds}
    assert attacked <= trained, "no training is run for an attack alone"
    assert len(attacked) == 4


def test_routes_and_biases_fit_together():
    for cell in declared():
        options = dict(cell.training.options)
        if options["bias"]:
            assert isinstance(cell.attack, LinearInversion) and cell.attack.route == "bias"
        else:
            assert isinstance(cell.attack, RankOne) or (
                cell.attack.route == "shift" and options.get("norm", True)
            )
        assert cell.training.bottlenecks in [(), *[(PRECODE(p, k=8),) for p in (1, 2, 3, 4)]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_sizes": [1, 2]}, "batch_sizes must be 2 to 1,000,000, got 1"),
        ({"batch_sizes": []}, "batch_sizes must not be empty"),
        ({"pruning": [1.0]}, "pruning ratio p must be in"),
        ({"noise_levels": [0.0]}, "standard deviation must be positive"),
        ({"size": 0}, "size must be 1 to 4,096"),
        ({"width": 0}, "width must be 1 to 4,096"),
    ],
)
def test_what_the_chapter_refuses(changes, message):
    with pytest.raises(ParameterError, match=message):
        declared(**changes)
