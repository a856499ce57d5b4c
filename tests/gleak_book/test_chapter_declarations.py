"""Chapters 2, 4, 5 and 6: the experiments that they declare are the paper's, and those that are stored."""

from typing import Any

import pytest
from gleak_book import paper_experiments, paper_rows
from gleak_book.kinds import GradientTracksExperiment
from gleak_book.paper_experiments import Scale

from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.chapters import PROFILES, experiments, open_store, profiles
from gleak_lib.defenses import DP, NO_DEFENSE, Compression
from gleak_lib.errors import ParameterError, StoreError, UnknownNameError
from gleak_lib.experiments import (
    AttackExperiment,
    CommunicationCostExperiment,
    NoiseSensitivityExperiment,
    TrainingExperiment,
    from_json,
)
from gleak_lib.experiments.encoding import encode

ANALYSIS, CVBS, DEFENSES, ARCHITECTURES = NAMES = (
    "02_gradient_analysis",
    "04_cvb_hyperparameters",
    "05_attacks_and_defenses",
    "06_other_architectures",
)
NUMBERS = {ANALYSIS: (8, 8, 8), CVBS: (30, 56, 100), DEFENSES: (52, 97, 165), ARCHITECTURES: (11, 22, 54)}


def declared(name: str, kind: type = AttackExperiment, profile: str = "cpu", **changes) -> list[Any]:
    cells = experiments(name, profiles.load(name, profile) | changes)
    return [cell for cell in cells if isinstance(cell, kind)]


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_of_the_published_profile_is_stored(name):
    status = open_store("cpu").status(declared(name, object))
    assert (status.lacking, len(status.done)) == ((), NUMBERS[name][1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_experiments_of_every_profile(name, profile):
    cells = declared(name, object, profile)
    assert len({(c.kind, c.key) for c in cells}) == len(cells) == NUMBERS[name][PROFILES.index(profile)]
    assert all(from_json(encode(c)) == c for c in cells)


@pytest.mark.parametrize(
    ("name", "table", "sets"),
    [
        (CVBS, "VIII", ("cifar10",)),
        (DEFENSES, "X", ("mnist", "cifar10")),
        (ARCHITECTURES, "XI", ("mnist", "cifar10")),
    ],
)
def test_the_papers_rows_are_there_at_its_scale(name, table, sets):
    cells = {cell.key for cell in declared(name, object, "paper")}
    rows = [row for d in sets for row in paper_rows.read(table, dataset=d)]
    for row in rows:
        assert paper_experiments.attack(row, Scale()).key in cells
        assert {cell.key for cell in paper_experiments.trainings(row, Scale())} <= cells


def test_analysis_watches_the_papers_three_attacks_on_both_weights():
    watched = declared(ANALYSIS, GradientTracksExperiment, rounds=[0, 5], images=2)
    assert [cell.attacked.rounds for cell in watched] == [0] * 3 + [5] * 3
    assert [cell.attacked.attack.match.layers for cell in watched[:3]] == ["all", "all", "before-decoder"]
    found = [cell.attacked.training.bottlenecks for cell in watched[:3]]
    assert found == [(), (PRECODE(3, 32),), (PRECODE(3, 32),)]
    for cell in watched:
        schedule = cell.attacked.attack.schedule
        assert (schedule.max_steps, schedule.stop_after, schedule.stop_below) == (2000, 0, 0)
        assert (cell.tail, cell.shown) == (200, 3)
    other = declared(ANALYSIS, GradientTracksExperiment, network="cvb(1, 3)")
    assert {cell.attacked.training.bottlenecks for cell in other} == {(), (CVB(1, 3),)}


def test_cvbs_differ_in_one_setting_and_the_kl_term_is_run_in_both_forms():
    attacks = declared(CVBS)
    networks = [cell.training.bottlenecks for cell in attacks]
    assert {cell.attack.match.layers for cell in attacks if cell.training.bottlenecks} == {"before-decoder"}
    assert len(set(networks)) == len(networks) == 20 + 2
    assert (CVB(1, 1), CVB(3, 1)) in networks and (CVB(1, 5, 1 / 16),) in networks
    exact = [specs for specs in networks if specs and specs[0].kl == "exact"]
    assert exact == [(CVB(kl="exact"),), (CVB(beta=0.001, kl="exact"),)]
    assert all(
        one.kl == "exact" for c in declared(CVBS, kl="exact", kl_betas=[]) for one in c.training.bottlenecks
    )
    noise = declared(CVBS, NoiseSensitivityExperiment, sigma_rounds=[0, 2])
    assert [cell.rounds for cell in noise] == [0, 2] * 4


def test_defenses_are_attacked_trained_and_counted():
    alone = {"datasets": ["mnist"], "dataset": "mnist", "attacks": ["ig"], "compared": ["none"]}
    kept = declared(DEFENSES, defenses=["precode"], precode_sizes=[8], more=["compression(p=1/2)"], **alone)
    of_table = [cell for cell in kept if cell.training.dataset == "mnist"]  # the others compare channels
    found = [(cell.training.bottlenecks, cell.defense) for cell in of_table]
    assert found == [((), NO_DEFENSE), ((PRECODE(1, 8),), NO_DEFENSE), ((), Compression(0.5))]
    channels = [cell.training.dataset for cell in kept if cell not in of_table]
    assert len(channels) == 16 == 2 * channels.count("mnist_victims@gray")
    trained = declared(DEFENSES, TrainingExperiment, defenses=["dp"], **alone)
    compressed = [Compression(0.99, on=on) for on in ("step", "update")]
    noise = [DP(20, s) for s in (1, 0.1, 0.01, 0.001)]
    assert [cell.defense for cell in trained] == [NO_DEFENSE, *noise, *compressed]
    assert len(declared(DEFENSES, CommunicationCostExperiment)) == 13


def test_attacks_ignore_what_stands_behind_a_bottleneck_and_ig_runs_without_the_mask():
    found = {(c.training.bottlenecks, c.attack.name, c.attack.match.layers): c for c in declared(DEFENSES)}
    for name in ("idlg", "cpl", "ignore"):
        assert ((CVB(1),), name, "before-decoder") in found and ((), name, "before-decoder") not in found
    assert ((CVB(1),), "ig", "all") in found
    older = [c.attack for c in found.values() if c.attack.name in ("idlg", "cpl")]
    assert {attack.schedule.max_steps for attack in older} == {100}


def test_each_architecture_has_its_own_budget():
    attacks = declared(ARCHITECTURES, tv_victims=[16, 4, 1])
    assert {(c.training.model, c.attack.schedule.max_steps) for c in attacks} == {
        ("cnn", 2000), ("resnet18", 300), ("vit", 500)
    }  # fmt: skip
    vit = {(c.victims, c.attack.settings["tv"]) for c in attacks if c.training.model == "vit"}
    assert vit == {(4, 1e-4), (1, 0.1), (1, 0.01), (1, 1e-4)}
    specs = {c.training.model: c.training.bottlenecks for c in attacks if c.training.bottlenecks}
    assert specs == {"cnn": (CVB(1),), "resnet18": (CVB(1, beta=5e-5),), "vit": (CVB(1, 3),)}
    assert {cell.model for cell in declared(ARCHITECTURES, TrainingExperiment)} == {"cnn"}
    late = declared(ARCHITECTURES, rounds=5, training_rounds=[20, 5, 5])
    assert {cell.rounds for cell in late} == {5}
    assert late[0].attack == ATTACKS["ig"].replace(max_steps=2000, drop_after=400, tv=0.01)


@pytest.mark.parametrize(
    ("name", "changes", "error", "message"),
    [
        (ANALYSIS, {"network": "precod(1)"}, UnknownNameError, "Did you mean 'precode'"),
        (ANALYSIS, {"network": "dp()"}, StoreError, r"network needs a bottleneck, as in precode\(3\)"),
        (ANALYSIS, {"tail": 2001}, ParameterError, "tail must be 2 to 2000"),
        (ANALYSIS, {"images": 17}, ParameterError, "shown 1 to 16, the number of victims"),
        (CVBS, {"kernel_sizes": [2]}, ParameterError, "kernel_size must be odd"),
        (CVBS, {"sigma_rounds": [6]}, ParameterError, r"at most training_rounds \(5\), got \[6\]"),
        (CVBS, {"scale": "half"}, StoreError, "Invalid literal for Fraction: 'half'"),
        (CVBS, {"kl": "exat"}, ParameterError, "kl must be one of exact, paper-code"),
        (DEFENSES, {"defenses": ["pd"]}, ParameterError, "defenses must be one of dp, gc, precode, cvb"),
        (DEFENSES, {"compared": ["cvd(1)"]}, UnknownNameError, "Did you mean 'cvb'"),
        (DEFENSES, {"more": ["compression(p=2)"]}, ParameterError, r"ratio p must be in \[0, 1\), got 2"),
        (DEFENSES, {"attacks": ["ggl"]}, ParameterError, "attacks must be one of idlg, cpl, ig"),
        (ARCHITECTURES, {"models": ["cnn", "resnet", "vit"]}, ParameterError, "models must be one of cnn"),
        (ARCHITECTURES, {"victims": [16]}, ParameterError, r"victims needs one value per entry of models"),
        (ARCHITECTURES, {"tv_victims": [16]}, ParameterError, "tv_victims needs one value per entry"),
        (ARCHITECTURES, {"rounds": 5}, ParameterError, r"rounds must be at most training_rounds \(\[20, 0"),
    ],
)  # fmt: skip
def test_what_the_chapters_refuse(name, changes, error, message):
    with pytest.raises(error, match=message):
        declared(name, **changes)
