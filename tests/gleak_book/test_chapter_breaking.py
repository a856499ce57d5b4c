"""The chapter "Breaking the bottleneck": which attacks each network meets, on which weights."""

from typing import Any

import pytest

from gleak_lib.attacks import ATTACKS, Given, Optimize, Resample
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.defenses import NO_DEFENSE, Clip
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackExperiment, NoiseSensitivityExperiment, from_json
from gleak_lib.experiments.encoding import encode

NAME, CHOSEN = "08_breaking_the_bottleneck", (CVB(1, 5, 0.5, beta=0.1),)
FEW: dict[str, Any] = {
    "networks": ["cvb(1)"],
    "grid": ["cvb(1)"],
    "trained": ["cvb(1)"],
    "compared": [],
    "rounds": [2],
    "training_rounds": 2,
    "trained_steps": 30,
    "patch_networks": ["none"],
    "batch_sizes": [],
    "image_sizes": [],
    "victims": 4,
    "grid_victims": 2,
    "steps": 20,
    "grid_steps": 10,
    "plateau": 5,
    "seeds": 1,
}
JOINT = ATTACKS["joint"].replace(max_steps=10)


def declared(kind: type = AttackExperiment, **changes) -> list[Any]:
    return [cell for cell in experiments(NAME, FEW | changes) if isinstance(cell, kind)]


def added(**changes) -> list[Any]:
    """What these parameters add to the few."""
    return [cell for cell in declared(**changes) if cell not in declared()]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_cells_of_every_profile(profile):
    values = profiles.load(NAME, profile)
    cells = experiments(NAME, values)
    assert len({c.key for c in cells}) == len(cells)
    assert all(from_json(encode(c)) == c for c in cells)


def test_each_network_meets_the_attacks_that_suit_it():
    cells = {
        (c.attack.name, c.attack.noise): c
        for c in declared()
        if not c.rounds and c.attack.settings.get("max_steps") == 20
    }
    redrawn = cells.pop(("joint", Resample()))
    cells = {name: c for (name, _), c in cells.items()}
    assert list(cells) == ["ig", "ignore", "joint", "layerwise", "oracle"]
    assert redrawn.attack.replace(noise=cells["joint"].attack.noise) == cells["joint"].attack
    assert {(c.training.bottlenecks, c.victims, c.victim_seed) for c in cells.values()} == {(CHOSEN, 4, 1)}
    assert {name for name, c in cells.items() if c.share_noise} == {"oracle"}
    assert cells["ignore"].attack == ATTACKS["ignore"].replace(max_steps=20, drop_after=5)
    assert cells["joint"].attack == ATTACKS["joint"].replace(max_steps=20)
    (slow,) = (c for c in declared() if c.attack.name == "expectation")
    assert (slow.victims, slow.attack.schedule.max_steps) == (2, 10)  # its four draws cost four times as much
    plain = added(networks=["none", "cvb(1)"])
    assert [c.attack.name for c in plain] == ["ig", "joint"] and not plain[0].training.bottlenecks


def test_every_model_has_victims_of_its_own():
    cells = [c for c in declared(seeds=3) if c.attack == JOINT and c.updates == 1 and c.share_labels]
    assert [(c.seed, c.training.seed, c.victim_seed) for c in cells] == [(0, 0, 1), (1, 1, 2), (2, 2, 3)]


def test_trained_weights_meet_the_layerwise_attacks_and_two_yardsticks():
    cells = [c for c in declared() if c.rounds]
    assert {(c.rounds, c.victims, c.attack.schedule.max_steps) for c in cells} == {(2, 2, 30)}
    assert [type(c.attack.noise) for c in cells] == [Resample, Resample, Optimize, Given, Given]
    assert [c.attack.match.distance for c in cells] == ["cosine"] + ["layerwise"] * 4
    assert [(c.share_noise, c.noise_scale) for c in cells] == [*[(False, 1)] * 3, (True, 1), (True, 0)]


def test_rounds_on_the_way_and_networks_to_compare_with():
    late = [c for c in added(rounds=[1, 2], compared=["none", "precode(1)"]) if c.rounds]
    found = [(c.rounds, c.training.bottlenecks) for c in late]
    precode = (PRECODE(1, k=8),)
    assert found == [*[(1, CHOSEN)] * 4, *[(2, ())] * 2, *[(2, precode)] * 5]
    measured = declared(NoiseSensitivityExperiment, rounds=[1, 2], compared=["none", "precode(1)"])
    assert [(c.rounds, c.training.bottlenecks) for c in measured] == [
        *((r, precode) for r in (0, 2)),
        *((r, CHOSEN) for r in (0, 1, 2)),
    ]


def test_variants_change_one_thing_each():
    few = [c for c in declared() if not c.rounds and c.victims == 2]
    found = [c for c in few if c.attack.name in ("joint", "layerwise") and c.share_labels]
    has = JOINT.settings
    changed = [{f for f in has if c.attack.settings[f] != has[f]} - {"name"} for c in found]
    assert changed == [
        *(set(), {"noise_prior"}, {"noise_form"}, {"weighting"}, {"distance", "tv"}, {"layers"}),
        *(set(), set()),
    ]
    assert [c.updates for c in found] == [1] * 6 + [2, 4]


@pytest.mark.parametrize(
    ("name", "bottleneck"),
    [
        ("retinamnist", CVB(1, 3, 0.5, beta=1e-3)),
        ("bloodmnist_victims", CVB(1, 5, 0.5, beta=0.1)),
        ("digits@40", CHOSEN[0]),  # the papers know nothing of them
    ],
)
def test_image_sets_have_the_papers_bottleneck(name, bottleneck):
    cells = added(sets=[name])
    assert [(c.attack.name, c.dataset_name) for c in cells] == [("ignore", name), ("joint", name)]
    assert {c.training.bottlenecks for c in cells} == {(bottleneck,)}


def test_the_closed_form_meets_disturbed_gradients_and_trained_weights():
    cells = [
        c for c in declared(patch_rounds=[0, 2], patch_training_set="digits@40") if c.attack.name == "patches"
    ]
    assert {c.training.model for c in cells} == {"vit"} and {c.victims for c in cells} == {4}
    assert [bool(c.defense) for c in cells] == [False, True, True, True, True, True, False]
    assert Clip(bound=1.0) in {c.defense for c in cells}
    late = cells[-1]
    assert (late.rounds, late.defense, late.dataset_name) == (2, NO_DEFENSE, "digits@40")


def test_a_large_model_is_attacked_with_settings_of_its_own():
    lists = {"architectures": ["resnet18", "vit"], "architecture_networks": ["cvb(1)"] * 2}
    lists |= {"architecture_victims": [2, 3], "architecture_steps": [30, 40]}
    cells = added(**lists)
    assert [c.attack.name for c in cells] == ["ig", "ignore", "joint"] * 2
    assert [c.victims for c in cells] == [2] * 3 + [3] * 3
    assert cells[0].attack == ATTACKS["ig"].replace(max_steps=30, drop_after=3, tv=0.1)
    assert cells[5].attack == ATTACKS["joint"].replace(max_steps=40)
    assert cells[2].attack == ATTACKS["joint"].replace(max_steps=30, tv=0.1, lr=1.0, noise_lr=0.2)


def test_what_makes_it_harder():
    pair, layers, larger = added(batch_sizes=[2], image_sizes=[40])
    assert [(c.batch_size, c.victims) for c in (pair, layers)] == [(2, 1)] * 2
    assert layers.attack.match.distance == "layerwise" and larger.dataset_name == "digits@40"
    assert [c.attack for c in declared() if not c.share_labels and c.attack.name == "joint"] == [JOINT]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rounds": []}, ParameterError, "rounds must not be empty"),
        ({"rounds": [1, 3]}, ParameterError, r"rounds must be at most training_rounds \(2\)"),
        ({"networks": []}, ParameterError, "networks must not be empty"),
        ({"grid": []}, ParameterError, "grid must not be empty"),
        ({"trained": []}, ParameterError, "trained must not be empty"),
        ({"patch_networks": []}, ParameterError, "patch_networks must not be empty"),
        ({"architectures": ["vit"]}, ParameterError, "needs one value per entry of architectures"),
        ({"grid": ["cvb 1 5"]}, ParameterError, "'cvb 1 5' is no setting. Write"),
        ({"networks": ["no_such"]}, UnknownNameError, "Unknown protection 'no_such'"),
    ],
)
def test_what_the_chapter_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        declared(**changes)
