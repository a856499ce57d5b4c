"""The chapter on medical images: whole sets, sets of victims only, an archive of one's own."""

import dataclasses
from typing import Any

import pytest
import torch
from gleak_book.kinds import ClassCountsExperiment

from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import CVB
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.datasets import Pixels
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackExperiment, TrainingExperiment
from gleak_lib.experiments.specs.reidentification import ReidentificationExperiment, ranks

NAME = "07_medical_images"
CHAPTER: dict[str, Any] = {
    "datasets": ["pneumoniamnist", "dermamnist_victims", "retinamnist", "bloodmnist_victims"],
    "victims": 16,
    "steps": 2000,
    "plateau": 400,
    "training_rounds": 40,
    "rounds": [0, 40],
    "seeds": 2,
    "link_images": 8,
}


def declared(kind: type = AttackExperiment, **changes) -> list[Any]:
    return [cell for cell in experiments(NAME, CHAPTER | changes) if isinstance(cell, kind)]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_cells_of_every_profile(profile):
    cells = experiments(NAME, profiles.load(NAME, profile))
    assert len({c.key for c in cells}) == len(cells)


def test_each_set_has_the_papers_bottleneck():
    specs = {c.dataset_name: c.training.bottlenecks for c in declared() if c.training.bottlenecks}
    assert specs == {
        "pneumoniamnist": (CVB(1, 5, 0.5, beta=1e-3),),
        "dermamnist_victims": (CVB(1, 3, 0.5, beta=0.1),),
        "retinamnist": (CVB(1, 3, 0.5, beta=1e-3),),
        "bloodmnist_victims": (CVB(1, 5, 0.5, beta=0.1),),
    }
    budget = {"max_steps": 2000, "drop_after": 400}
    for cell in declared():
        name = "ignore" if cell.training.bottlenecks else "ig"
        assert cell.attack == ATTACKS[name].replace(**budget) and cell.victims == 16


def test_victims_only_sets_are_attacked_on_fresh_weights_and_never_trained():
    only = "dermamnist_victims"
    assert [c.rounds for c in declared(datasets=[only])] == [0, 0]
    assert not declared((TrainingExperiment, ReidentificationExperiment), datasets=[only])
    assert [c.dataset for c in declared(ClassCountsExperiment, datasets=[only])] == [only]


def test_images_are_prepared_as_in_the_papers_code():
    xray, derma = (declared(datasets=[name])[0] for name in ("pneumoniamnist", "dermamnist_victims"))
    assert (xray.client, xray.training.statistics) == (0, "original")
    assert (derma.client, derma.training.statistics) == (None, "resized")  # these are the paper's victims
    assert {c.protocol.validation for c in declared(TrainingExperiment)} == {"split"}
    assert len(declared(TrainingExperiment)) == 2 * 2 * 2


def test_whoever_has_the_archives_names_them():
    whole = ["pneumoniamnist", "dermamnist"]
    assert {c.dataset_name for c in declared(TrainingExperiment, datasets=whole)} == set(whole)
    assert {(c.dataset_name, c.rounds) for c in declared(datasets=whole)} == {
        (name, r) for name in whole for r in (0, 40)
    }


def test_an_archive_of_ones_own_gets_the_bottleneck_of_the_parameters():
    cells = declared(datasets=["my_hospital"], kernel_size=3, beta=0.01)
    assert {c.training.bottlenecks for c in cells} == {(), (CVB(1, 3, beta=0.01),)}
    assert {(c.client, c.training.statistics) for c in cells} == {(None, "resized")}


def test_reconstructions_are_identified_on_every_weight_unless_that_is_not_wanted():
    cells = declared(ReidentificationExperiment)
    assert {(c.attack.dataset_name, c.attack.rounds, c.attack.victims) for c in cells} == {
        (name, r, 8) for name in ("pneumoniamnist", "retinamnist") for r in (0, 40)
    }
    assert not declared(ReidentificationExperiment, link_images=0)
    assert {c.attack.victims for c in declared(ReidentificationExperiment, victims=3)} == {3}


def test_fresh_weights_are_always_attacked():
    assert {c.rounds for c in declared(rounds=[40])} == {0, 40}
    with pytest.raises(ParameterError, match=r"rounds must be at most training_rounds \(40\)"):
        declared(rounds=[0, 41])


def test_the_rank_counts_what_is_more_alike():
    grid = torch.linspace(0, 1, 16).reshape(1, 1, 4, 4)
    candidates = torch.cat([grid, 1 - grid, grid.transpose(2, 3), grid.square()])
    found = torch.cat([0.2 + 0.5 * grid, grid.square()])  # paler, but the same; and one like the fourth
    truth = torch.cat([grid, grid])
    assert ranks(found, truth, Pixels(candidates)).tolist() == [1, 2]
    assert ranks(torch.ones(1, 1, 4, 4), grid, Pixels(candidates)).tolist() == [1]  # nothing is like it


def test_linkage_needs_few_victims_of_one_image():
    cell = AttackExperiment(TrainingExperiment("digits"), victims=9)
    with pytest.raises(ParameterError, match="at most 8 victims of one image, got 9 of 1"):
        ReidentificationExperiment(cell)
    with pytest.raises(ParameterError, match="got 2 of 2"):
        ReidentificationExperiment(dataclasses.replace(cell, victims=2, batch_size=2))
