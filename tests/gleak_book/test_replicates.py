"""Campaigns: one attack on several models."""

import pytest
from gleak_book.replicates import Replicates

from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import CVB
from gleak_lib.client_setup import parse
from gleak_lib.experiments import TrainingCell
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityCell
from gleak_lib.federated import Protocol

REPLICATES = Replicates("digits", "cnn", victims=9, seeds=3, seed=5, victim_seed=20, training_rounds=4)


def test_replicates_take_what_a_chapter_says():
    chapter = {"dataset": "digits", "model": "cnn", "victims": 9, "seeds": 3, "seed": 5, "victim_seed": 20}
    assert Replicates.of(chapter | {"training_rounds": 4, "steps": 7}) == REPLICATES
    assert Replicates.of(chapter, training_rounds=4, victims=2) == REPLICATES.replace(victims=2)


def test_every_model_has_victims_of_its_own():
    protection = parse("cvb(1) + compression(p=0.9)")
    cells = REPLICATES.attack(protection, ATTACKS["joint"], rounds=4)
    assert [(c.seed, c.training.seed, c.victim_seed) for c in cells] == [(5, 5, 20), (6, 6, 21), (7, 7, 22)]
    assert {(c.victims, c.batch_size, c.rounds, c.share_noise) for c in cells} == {(9, 1, 4, False)}
    for cell in cells:
        assert cell.attack == ATTACKS["joint"]
        assert cell.defense == cell.training.defense == protection.defense
        assert cell.training.bottlenecks == protection.bottlenecks
    assert REPLICATES.attack(protection, ATTACKS["joint"])[0].rounds == 0  # fresh weights


@pytest.mark.parametrize(("batch", "victims"), [(1, 9), (2, 4), (9, 1), (16, 1)])
def test_batches_share_the_victims_out(batch, victims):
    cell = REPLICATES.attack(parse(f"batch({batch})"), ATTACKS["ig"])[0]
    assert (cell.batch_size, cell.victims) == (batch, victims)


def test_the_noise_is_told_to_those_who_were_given_it():
    chosen = parse("cvb(1)")
    assert REPLICATES.attack(chosen, ATTACKS["oracle"])[0].share_noise
    assert not REPLICATES.attack(chosen, ATTACKS["ignore"])[0].share_noise
    assert REPLICATES.attack(chosen, ATTACKS["ig"], updates=2, share_labels=False)[0].updates == 2


def test_trainings_know_nothing_of_the_attacks_batches():
    chosen = parse("cvb(1)")
    trainings = REPLICATES.trainings(chosen)
    assert trainings == REPLICATES.trainings(parse("cvb(1) + batch(4)"))
    assert trainings == [
        TrainingCell("digits", "cnn", bottlenecks=(CVB(1),), protocol=Protocol(rounds=4), seed=seed)
        for seed in (5, 6, 7)
    ]
    kept = REPLICATES.attack(chosen, ATTACKS["ig"], rounds=2)[0].training
    assert kept == trainings[0].at(2)  # the weights on the way


def test_spreads_follow_the_attacks():
    spreads = REPLICATES.spread(parse("cvb(1)"), 2)
    attacked = REPLICATES.attack(parse("cvb(1)"), ATTACKS["ig"], rounds=2)
    assert spreads == [
        NoiseSensitivityCell(c.training, 2, 9, victim_seed=c.victim_seed, seed=c.seed) for c in attacked
    ]
