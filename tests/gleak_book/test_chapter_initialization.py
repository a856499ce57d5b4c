"""The chapter "Weight initialization": its grid, its other runs, and a model of the user's."""

import dataclasses

import pytest
import torch
from gleak_book.kinds import ConditioningExperiment
from torch import nn

from gleak_lib import models
from gleak_lib.attacks import Adam, Attack, Pixels
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.defenses import NO_DEFENSE, Laplace, PruneSmall
from gleak_lib.experiments import AttackExperiment, Store, from_json, run
from gleak_lib.experiments.encoding import encode

NAME = "14_weight_initialization"
SMALL = {"models": ["lenet"], "victims": 1, "steps": 2, "long_steps": 3, "seeds": 1, "label_batches": 1}
PLAIN = Attack("adam", priors=(), optimizer=Adam(0.1, signed=False), variables=Pixels(clip=False))
PLAIN = PLAIN.replace(drop_after=0, stop_after=0, stop_below=0.0)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_experiments_of_every_profile(profile):
    cells = experiments(NAME, profiles.load(NAME, profile))
    assert len({cell.key for cell in cells}) == len(cells)
    assert all(from_json(encode(cell)) == cell for cell in cells)


def test_the_sources_grid_has_960_runs():
    """6 seeds x 2 models x 5 batch sizes x 4 inits x 2 activations x 2 prunings, one batch each."""
    plain = PLAIN.replace(max_steps=500)
    grid = [
        cell
        for cell in experiments(NAME, profiles.load(NAME, "paper"))
        if isinstance(cell, AttackExperiment)
        and cell.attack == plain
        and cell.mode == "eval"
        and cell.share_labels
        and cell.defense in (NO_DEFENSE, PruneSmall(0.2))
        and cell.training.dataset == "cifar10"
        and cell.training.model in ("mcmahan_cnn", "resnet18")
        and dict(cell.training.options)["activation"] in ("relu", "sigmoid")
    ]
    assert len({cell.key for cell in grid}) == 960
    assert {cell.victims for cell in grid} == {1}
    values = {
        (
            cell.seed,
            cell.training.model,
            cell.batch_size,
            dict(cell.training.options)["init"],
            dict(cell.training.options)["activation"],
            cell.defense,
        )
        for cell in grid
    }
    assert len(values) == 960
    assert [len({value[i] for value in values}) for i in range(6)] == [6, 2, 5, 4, 2, 2]
    assert {value[5] for value in values} == {NO_DEFENSE, PruneSmall(0.2)}
    norms = {dict(cell.training.options).get("norm") for cell in grid if cell.training.model == "resnet18"}
    assert norms == {"batch"}


def test_cpu_has_every_setting_of_the_small_cnn():
    """3 and 3 further seeds x 3 batch sizes x 16 settings; of both models 3 x 2 x 8, in fewer steps."""
    values = profiles.load(NAME, "cpu")
    cells = [
        cell
        for cell in experiments(NAME, values)
        if isinstance(cell, AttackExperiment)
        and cell.mode == "eval"
        and cell.share_labels
        and cell.defense in (NO_DEFENSE, PruneSmall(0.2))
        and cell.training.dataset == "cifar10"
        and cell.attack.replace(max_steps=1) == PLAIN.replace(max_steps=1)
        and dict(cell.training.options)["activation"] in ("relu", "sigmoid")
        and "gain" not in dict(cell.training.options)
    ]
    full, small = (
        [c for c in cells if c.attack.settings["max_steps"] == n and c.batch_size != 2]
        for n in (values["steps"], values["reduced_steps"])
    )
    assert len(full) == 6 * 3 * 16 and len(small) == 2 * 3 * 2 * 8 and not any(c.defense for c in small)
    met = {"mcmahan_cnn": set(), "resnet18": set()}
    for c in small:
        options = dict(c.training.options)
        setting = options["init"], options["activation"], c.batch_size, c.victims, c.victim_seed, c.seed
        met[c.training.model].add(setting)
    assert met["mcmahan_cnn"] == met["resnet18"] and len(met["resnet18"]) == 48


def test_rechecked_batch_sizes_meet_every_setting_on_as_many_further_seeds():
    values = SMALL | {"seeds": 2, "batch_sizes": [1, 2], "between": [], "gains": []}
    before, after = (set(experiments(NAME, values | {"rechecked": found})) for found in ([], [1]))
    assert before < after
    met = [
        (s, len([c for c in after - before if (c.training.seed, c.victim_seed, c.seed) == (s, s, s)]))
        for s in (2, 3)
    ]
    settings = 2 * 2 * 2  # schemes, activations, prunings
    assert met == [(2, settings), (3, settings)] and len(after - before) == 2 * settings
    assert {c.batch_size for c in after - before} == {1}


def test_an_interrupted_grid_goes_on(tmp_path):
    cells = [
        c for c in experiments(NAME, SMALL | {"between": [], "gains": []}) if isinstance(c, AttackExperiment)
    ][:6]
    store = Store(tmp_path / "results")
    run(cells[:3], store, device="cpu", progress=False)
    before = {cell: store.path(cell).stat().st_mtime_ns for cell in cells[:3]}
    run(cells, store, device="cpu", progress=False)
    assert all(store.get(cell) for cell in cells)
    assert before == {cell: store.path(cell).stat().st_mtime_ns for cell in cells[:3]}


def test_one_file_of_parameters_is_enough_for_a_users_model():
    given = SMALL | {"models": ["hospital.nets:small"], "activations": ["own"], "between": [], "gains": []}
    cells = experiments(NAME, given)
    assert {cell.training.model for cell in cells} == {"hospital.nets:small"}
    assert {tuple(dict(cell.training.options)) for cell in cells} == {("init",)}


def test_each_hint_is_alone_and_meets_the_images_that_the_plain_run_has():
    values = SMALL | {"noise_levels": [0.1], "sparsities": [0.9], "resolutions": [16], "seeds": 2}
    cells = [c for c in experiments(NAME, values | {"pruning": [0.0]}) if isinstance(c, AttackExperiment)]
    changed = [c for c in cells if c.defense or "@" in c.training.dataset]
    assert {(str(c.defense), c.training.dataset) for c in changed} == {
        ("gaussian()", "digits"),
        ("laplace()", "digits"),
        ("prune_small(p=0.9)", "digits"),
        ("none", "digits@16"),
    }
    (scale,) = {c.defense.scale for c in changed if isinstance(c.defense, Laplace)}
    assert 2 * scale**2 == pytest.approx(0.1**2)
    plain = {
        (c.training, c.victim_seed, c.seed)
        for c in cells
        if not c.defense and c.batch_size == 1 and c.mode == "eval"
    }
    for c in changed:
        training = dataclasses.replace(c.training, dataset="digits")
        assert (training, c.victim_seed, c.seed) in plain


def test_batchnorm_is_met_in_both_modes_by_the_same_batches():
    values = SMALL | {"norm_models": ["resnet18"], "norm_batches": [2]}
    cells = [
        c
        for c in experiments(NAME, values)
        if isinstance(c, AttackExperiment) and c.training.model == "resnet18"
    ]
    one, other = cells
    assert dataclasses.replace(one, mode="train") == other and dict(one.training.options)["norm"] == "batch"


def test_factors_are_looked_at_beside_what_they_leak():
    cells = experiments(NAME, SMALL | {"gains": [0.5, 2.0]})
    attacked, looked_at = (
        {c.training for c in cells if isinstance(c, kind) and "scaled" in c.training.model}
        for kind in (AttackExperiment, ConditioningExperiment)
    )
    assert attacked == looked_at
    assert {dict(training.options)["gain"] for training in attacked} == {0.5, 2.0}


def test_scaled_multiplies_weights_and_leaves_biases():
    options = {"input_shape": (1, 8, 8), "num_classes": 3, "seed": 0}
    plain = models.build("lenet", **options)
    twice = models.build_own("gleak_book.scaled:scaled", model="lenet", gain=2.0, **options)
    for one, other in zip(plain.modules(), twice.modules(), strict=True):
        if isinstance(one, (nn.Conv2d, nn.Linear)):
            assert torch.equal(2 * one.weight, other.weight) and torch.equal(one.bias, other.bias)
