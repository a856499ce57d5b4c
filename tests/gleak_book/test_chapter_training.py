"""The chapters on training under defense and the gallery: what they train and attack."""

import pytest

from gleak_lib.bottlenecks import PRECODE
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.experiments import AttackExperiment, CommunicationCostExperiment, TrainingExperiment

TRAINING, GALLERY = "17_training_under_defense", "18_gallery"
ALIKE = {"size": 16, "beta": 1e-3, "width": 32}
ROUNDS = ALIKE | {
    "datasets": ["digits", "cifar10"],
    "training_rounds": [2, 5],
    "goals": [0.2, 0.3],
    "seeds": 2,
    "defenses": ["clip(1)"],
}
PICTURES = ALIKE | {"datasets": ["digits", "cifar10"], "classes": [3, 10], "defenses": ["compression(0.9)"]}
PICTURES |= {"many": "cifar100", "many_classes": 100}


def declared(kind, name, values):
    return [cell for cell in experiments(name, values) if isinstance(cell, kind)]


def test_every_network_is_trained_with_every_seed_without_and_under_each_defense():
    found = {
        (c.dataset, c.model, c.bottlenecks, str(c.defense), c.seed, c.protocol.rounds)
        for c in declared(TrainingExperiment, TRAINING, ROUNDS)
    }
    kinds = {
        "dmlp": [((), "none"), ((), "clip(bound=1)"), ((PRECODE(4, k=16, beta=1e-3),), "none")],
        "lenet": [((), "none"), ((), "clip(bound=1)"), ((PRECODE(3, k=16, beta=1e-3),), "none")],
    }
    assert found == {
        (images, model, modules, defense, seed, rounds)
        for images, rounds in (("digits", 2), ("cifar10", 5))
        for model, own in kinds.items()
        for modules, defense in own
        for seed in (0, 1)
    }


def test_bytes_are_counted_of_every_set_network_and_defense():
    sent = declared(CommunicationCostExperiment, TRAINING, ROUNDS)
    assert len(sent) == len({c.key for c in sent}) == 2 * 2 * 3
    assert {c.batch_size for c in sent} == {64}


def test_trainings_under_defense_are_those_of_the_chapter_before_where_they_agree():
    before = {"training_rounds": 2, "precode_sizes": [16], "betas": [1e-3], "seeds": 2, **ALIKE}
    shared = set(declared(TrainingExperiment, TRAINING, ROUNDS)) & set(
        declared(TrainingExperiment, "16_precode_supplement", before)
    )
    assert {cell.bottlenecks for cell in shared} == {(), (PRECODE(4, k=16, beta=1e-3),)}


def test_the_gallery_attacks_one_image_of_each_class_under_every_defense():
    found = declared(AttackExperiment, GALLERY, PICTURES)
    assert {(c.training.dataset, c.victims, c.one_per_class, c.rounds) for c in found} == {
        ("digits", 3, True, 0),
        ("cifar10", 10, True, 0),
        ("cifar100", 100, True, 0),
    }
    methods = {}
    for cell in found:
        setup = "PRECODE" if cell.training.bottlenecks else str(cell.defense)
        methods.setdefault((cell.training.model, setup), set()).add(cell.attack.name)
    assert methods == {
        ("dmlp", "none"): {"ig", "analytic"},
        ("dmlp", "PRECODE"): {"ig", "ignore", "analytic"},
        ("dmlp", "compression()"): {"ig", "analytic"},
        ("lenet", "none"): {"ig"},
        ("lenet", "PRECODE"): {"ig", "ignore"},
        ("lenet", "compression()"): {"ig"},
    }


def test_the_set_of_many_classes_meets_the_closed_form_alone():
    found = {c for c in declared(AttackExperiment, GALLERY, PICTURES) if c.training.dataset == "cifar100"}
    assert {(c.training.model, c.attack.name) for c in found} == {("dmlp", "analytic")}
    assert {(bool(c.training.bottlenecks), str(c.defense)) for c in found} == {
        (True, "none"),
        (False, "compression()"),
    }
    twice = PICTURES | {"many": "cifar10", "many_classes": 10}  # part of what is attacked anyway
    cells = experiments(GALLERY, twice)
    assert len({cell.key for cell in cells}) == len(cells)


def test_attacks_of_the_gallery_that_take_steps_share_one_schedule():
    steps = [c for c in declared(AttackExperiment, GALLERY, PICTURES) if c.attack.name != "analytic"]
    assert len({c.attack.schedule for c in steps}) == len({c.attack.optimizer for c in steps}) == 1


@pytest.mark.parametrize("name", [TRAINING, GALLERY])
@pytest.mark.parametrize("profile", PROFILES)
def test_the_experiments_of_every_profile(name, profile):
    cells = experiments(name, profiles.load(name, profile))
    assert len({cell.key for cell in cells}) == len(cells)
