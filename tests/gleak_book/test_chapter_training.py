"""The chapters on training under defense and the gallery: what they train and attack."""

import json
import re

import pytest

from gleak_lib.bottlenecks import PRECODE
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.experiments import AttackExperiment, CommunicationCostExperiment, TrainingExperiment, paths

TRAINING, GALLERY = "17_training_under_defense", "18_gallery"
ALIKE = {"size": 16, "beta": 1e-3, "width": 32}
ROUNDS = ALIKE | {
    "datasets": ["digits", "cifar10"],
    "training_rounds": [2, 5],
    "goals": [0.2, 0.3],
    "seeds": 2,
    "defenses": ["clip(1)"],
}
PICTURES = ALIKE | {"datasets": ["digits", "cifar100"], "classes": [3, 100], "steps": [5, 7]}
PICTURES |= {"defenses": ["compression(0.9)"]}


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
    before = {"training_rounds": 2, "precode_sizes": [16], "betas": [1e-1, 1e-3], "seeds": 2, **ALIKE}
    shared = set(declared(TrainingExperiment, TRAINING, ROUNDS)) & set(
        declared(TrainingExperiment, "16_precode_supplement", before)
    )
    assert {cell.bottlenecks for cell in shared} == {(), (PRECODE(4, k=16, beta=1e-3),)}


def test_the_gallery_attacks_one_image_of_each_class_under_every_defense():
    found = declared(AttackExperiment, GALLERY, PICTURES)
    assert {(c.training.dataset, c.victims, c.one_per_class, c.rounds) for c in found} == {
        ("digits", 3, True, 0),
        ("cifar100", 100, True, 0),
    }
    methods = {"digits": {}, "cifar100": {}}
    for cell in found:
        setup = "PRECODE" if cell.training.bottlenecks else str(cell.defense)
        own = methods[cell.training.dataset]
        own.setdefault((cell.training.model, setup), set()).add(cell.attack.name)
    assert (
        methods["digits"]
        == methods["cifar100"]
        == {
            ("dmlp", "none"): {"ig", "analytic"},
            ("dmlp", "PRECODE"): {"ig", "ignore", "analytic"},
            ("dmlp", "compression()"): {"ig", "analytic"},
            ("lenet", "none"): {"ig"},
            ("lenet", "PRECODE"): {"ig", "ignore"},
            ("lenet", "compression()"): {"ig"},
        }
    )


def test_attacks_of_the_gallery_that_take_steps_share_one_schedule_per_set():
    found = [c for c in declared(AttackExperiment, GALLERY, PICTURES) if c.attack.name != "analytic"]
    schedules = {(c.training.dataset, c.attack.schedule.max_steps, c.attack.schedule) for c in found}
    assert {one[:2] for one in schedules} == {("digits", 5), ("cifar100", 7)} and len(schedules) == 2
    assert len({c.attack.optimizer for c in found}) == 1


@pytest.mark.parametrize("name", [TRAINING, GALLERY])
@pytest.mark.parametrize("profile", PROFILES)
def test_the_experiments_of_every_profile(name, profile):
    cells = experiments(name, profiles.load(name, profile))
    assert len({cell.key for cell in cells}) == len(cells)


@pytest.mark.parametrize("page", ["gallery_many", "gallery_medical"])
def test_pages_of_the_gallery_take_what_its_notebook_has(page):
    book = paths.root() / "book"
    notebook = json.loads((book / "chapters" / f"{GALLERY}.ipynb").read_text(encoding="utf-8"))
    outputs = [one for cell in notebook["cells"] for one in cell.get("outputs", [])]
    glued = {one.get("metadata", {}).get("scrapbook", {}).get("name") for one in outputs}
    text = (book / f"{page}.md").read_text(encoding="utf-8")
    asked = set(re.findall(rf"{GALLERY}.ipynb::([\w-]+)|{{glue:any}} ([\w-]+)", text))
    assert len(asked) >= 6 and {one or other for one, other in asked} <= glued
