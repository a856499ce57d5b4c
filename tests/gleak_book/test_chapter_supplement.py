"""The chapter on PRECODE's supplement: which networks they train, and which attacks these meet."""

import pytest

from gleak_lib.bottlenecks import PRECODE
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.errors import StoreError
from gleak_lib.experiments import AttackExperiment, NoiseSensitivityExperiment, TrainingExperiment

NAME = "16_precode_supplement"
CHAPTER = {
    "precode_sizes": [8, 16],
    "betas": [0.1, 1e-3],
    "size": 16,
    "beta": 1e-3,
    "seeds": 3,
    "repeated": 2,
}
CHAPTER |= {"positions": [1, 2, 4], "several": ["12", "124"], "lenet_positions": [1, 3], "training_rounds": 2}
CHAPTER |= {"again": [], "again_rounds": [], "again_goals": [], "again_seeds": []}


def declared(kind, **changes):
    return [cell for cell in experiments(NAME, CHAPTER | changes) if isinstance(cell, kind)]


def modules(*places, k=16, beta=1e-3):
    return tuple(PRECODE(p, k=k, beta=beta) for p in places)


def test_every_width_and_weight_is_trained_once_and_every_place_and_number_with_every_seed():
    found = {}
    for cell in declared(TrainingExperiment):
        found.setdefault(cell.bottlenecks, set()).add(cell.seed)
    grid = {modules(4, k=k, beta=b) for k in (8, 16) for b in (0.1, 1e-3)}
    placed = {(), modules(1), modules(2), modules(4), modules(1, 2), modules(1, 2, 4)}
    assert found == {b: {0} for b in grid - placed} | {b: {0, 1, 2} for b in placed}


@pytest.mark.parametrize(
    ("bottlenecks", "rounds", "names"),
    [
        ((), 0, {"ig", "analytic"}),
        (modules(4, k=8, beta=0.1), 0, {"ig"}),
        (modules(4, k=8), 0, {"ig", "ignore", "joint", "analytic"}),
        (modules(1, 2, 4), 0, {"ig", "ignore", "joint", "analytic"}),
        (modules(1, 2, 4, beta=0), 0, {"ig", "ignore", "joint"}),
        (modules(1), 2, {"ig", "ignore", "layerwise", "analytic"}),
        (modules(2), 2, set()),
    ],
)
def test_each_network_meets_its_attacks_on_two_models_and_on_the_same_images(bottlenecks, rounds, names):
    cells = [
        cell
        for cell in declared(AttackExperiment)
        if (cell.training.model, cell.training.bottlenecks, cell.rounds) == ("dmlp", bottlenecks, rounds)
    ]
    assert {cell.attack.name for cell in cells} == names
    assert len(cells) == 2 * len(names)
    assert {(cell.training.seed, cell.seed, cell.victim_seed) for cell in cells} <= {(0, 0, 0), (1, 1, 1)}


def test_attacks_that_take_steps_share_one_schedule():
    cells = [c for c in declared(AttackExperiment) if c.attack.name != "analytic"]
    assert {(c.max_steps, c.drop_after, c.milestones) for c in (cell.attack.schedule for cell in cells)} == {
        (15, 0, (0.4, 0.7, 0.9))
    }
    assert len({cell.attack.optimizer for cell in cells}) == 1


def test_the_lenet_has_every_width_at_its_first_place_and_no_closed_form():
    cells = [cell for cell in declared(AttackExperiment) if cell.training.model == "lenet"]
    found = {cell.training.bottlenecks for cell in cells}
    assert found == {(), modules(1, k=8), modules(1), modules(3)}
    assert {cell.attack.name for cell in cells} == {"ig", "ignore", "joint"}


def test_claims_are_repeated_on_another_set_and_on_other_seeds():
    names = {"again": ["mnist"], "again_rounds": [7], "again_goals": [0.5], "again_seeds": [5]}
    trained = [c for c in declared(TrainingExperiment, **names) if c.dataset == "mnist"]
    ends = {(), modules(1), modules(4), modules(1, 2, 4)}
    grid = {modules(4, k=k, beta=b) for k in (8, 16) for b in (0.1, 1e-3)}
    assert {c.bottlenecks for c in trained} == ends | grid
    assert {c.seed for c in trained if c.bottlenecks in ends} == {5, 6, 7}
    assert {c.seed for c in trained if c.bottlenecks in grid - ends} == {5}
    assert {c.protocol.rounds for c in trained} == {7}
    attacked = [c for c in declared(AttackExperiment, **names) if c.training.dataset == "mnist"]
    assert {(c.training.seed, c.seed, c.victim_seed, c.rounds) for c in attacked} == {(5, 5, 5, 0)}
    found = {(c.training.model, c.training.bottlenecks, c.attack.name) for c in attacked}
    expected = {("dmlp", modules(4, k=8), "ig")} | {("lenet", modules(1, k=k), "ignore") for k in (8, 16)}
    for method in ("ig", "ignore", "analytic"):
        expected |= {("dmlp", one, method) for one in ends - {()}}
    assert found == expected


def test_gradients_are_compared_with_and_without_kl_terms():
    found = {cell.training.bottlenecks for cell in declared(NoiseSensitivityExperiment)}
    assert found == {modules(1), modules(1, beta=0), modules(1, 2, 4), modules(1, 2, 4, beta=0)}


@pytest.mark.parametrize("profile", PROFILES)
def test_the_experiments_of_every_profile(profile):
    cells = experiments(NAME, profiles.load(NAME, profile))
    assert len({cell.key for cell in cells}) == len(cells)


def test_positions_that_are_no_digits_are_refused():
    with pytest.raises(StoreError, match="invalid literal"):
        experiments(NAME, CHAPTER | {"several": ["1+2"]})
