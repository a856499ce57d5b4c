"""Rough estimates: what another machine took, times how fast this one is."""

import time

import pytest
import torch
from toy_cells import Toy

from gleak_lib.attacks import ATTACKS
from gleak_lib.experiments import AttackExperiment, TrainingExperiment
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.runner import cost, estimate, probe
from gleak_lib.experiments.runner.cost import Costs, Machine, Measured
from gleak_lib.federated import Protocol

IMAGES = {"digits": 1000, "cifar10": 50_000}
HERE, THERE = Machine("here", 2), Machine("there", 1)
TRAINING = TrainingExperiment("cifar10", protocol=Protocol(rounds=2))
LABELED = AttackExperiment(
    TrainingExperiment("cifar10"), attack=ATTACKS["idlg"].replace(max_steps=7), victims=3
)


def known(*timed, machine=HERE):
    return Costs([Measured(cell.work(IMAGES), origin, s) for cell, origin, s in timed], machine, IMAGES)


# 960 s there for 32 images and 3000 steps: 0.01 s an image's step
ELSEWHERE = [(probe.REFERENCE, THERE, 960.0), (TRAINING, THERE, 40.0), (LABELED, Machine("third", 1), 5.0)]


def rough(*timed, step=0.03):  # three times as slow as there
    costs = known(*timed)
    costs.step = step
    return costs


def test_seconds_elsewhere_times_the_ratio_of_one_step():
    costs = rough(*ELSEWHERE)
    assert costs.origin == "there"
    assert costs.seconds(probe.REFERENCE) == pytest.approx(2880.0)
    assert costs.seconds(TRAINING) == pytest.approx(120.0)
    assert costs.seconds(LABELED) is None and costs.seconds(Toy(1.0)) is None
    assert known(*ELSEWHERE).seconds(TRAINING) is None  # nobody said how fast it is here


def test_what_was_measured_here_goes_first():
    costs = rough(*ELSEWHERE, (TRAINING, HERE, 7.0))
    assert costs.seconds(TRAINING) == pytest.approx(7.0)
    assert costs.seconds(probe.REFERENCE) == pytest.approx(2880.0)


def test_without_the_reference_elsewhere_there_is_no_estimate():
    costs = rough((TRAINING, THERE, 40.0), (probe.REFERENCE, HERE, 1.0))
    assert costs.origin is None and costs.seconds(TRAINING) is None and costs.elsewhere(TRAINING) is None


def test_a_step_is_measured_only_where_others_know_more(store, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(probe, "step_seconds", lambda machine, measure: asked.append(machine))
    for cell, timed in (
        (LABELED, ELSEWHERE),  # known on another machine only, of which the reference is not
        (TRAINING, [*ELSEWHERE, (TRAINING, HERE, 1.0)]),  # known here
        (TRAINING, ELSEWHERE),
    ):
        monkeypatch.setattr(estimate.cost, "read", lambda folders, machine, timed=timed: known(*timed))
        assert not asked
        estimate.estimate([cell, Toy(1.0)], store, Context(tmp_path), HERE, measure=True)
    assert asked == [HERE]


def test_a_step_is_timed_once_and_leaves_threads_and_chance_alone(monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 0.0)
    monkeypatch.setattr(probe, "MEASURED", {})
    machine, threads, state = cost.here("auto"), torch.get_num_threads(), torch.get_rng_state()
    assert probe.step_seconds(machine, measure=False) is None
    assert probe.step_seconds(Machine("another device", 1), measure=True) is None
    began = time.perf_counter()
    step = probe.step_seconds(machine._replace(threads=1), measure=True)
    took = time.perf_counter() - began
    assert step is not None
    assert 0 < step * probe.IMAGES * (probe.MANY - probe.FEW) < took
    began = time.perf_counter()
    assert probe.step_seconds(machine._replace(threads=1), measure=True) == step
    assert time.perf_counter() - began < took / 2
    assert probe.step_seconds(machine._replace(threads=1), measure=False) == step  # it was measured before
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)


def test_the_estimate_says_that_it_is_rough(store, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "MEASURED", {HERE: 0.03})
    monkeypatch.setattr(estimate.cost, "read", lambda folders, machine: known(*ELSEWHERE, machine=machine))
    context = Context(tmp_path)
    text = str(estimate.estimate([TRAINING], store, context, HERE))
    assert text == "about 2 min on here (2 threads) (rough: what it took on there, and some steps here)"
    text = str(estimate.estimate([TRAINING, Toy(1.0)], store, context, HERE))
    assert text.startswith(
        "at least 2 min on here (2 threads), and no estimate for 1 of 2 experiments (rough:"
    )
    probe.MEASURED.clear()
    assert str(estimate.estimate([TRAINING], store, context, HERE)).startswith("no estimate on here")
    monkeypatch.setattr(estimate.cost, "read", lambda folders, machine: known((TRAINING, HERE, 120.0)))
    assert str(estimate.estimate([TRAINING], store, context, HERE)) == "about 2 min on here (2 threads)"


def test_images_of_a_set_that_nothing_is_stored_of_are_counted(store, tmp_path):
    cell = TrainingExperiment("digits@48", protocol=Protocol(rounds=2))
    costs = Costs([Measured(TRAINING.work(IMAGES), HERE, 10.0)], HERE, {"cifar10": 50_000})
    estimate._count_images([cell, TrainingExperiment("unheard_of"), Toy(1.0)], costs, Context(tmp_path))
    assert set(costs.images) == {"cifar10", "digits"} and costs.images["digits"] > 1000
    assert costs.seconds(cell) is not None
