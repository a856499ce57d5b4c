"""The chapter "What stands": which attacks each protection meets, and what is trained and counted."""

from typing import Any

import pytest

from gleak_lib.attacks import ATTACKS, Optimize, Resample
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.client_setup import parse
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackExperiment, CommunicationCostExperiment, TrainingExperiment, from_json
from gleak_lib.experiments.encoding import encode

NAME, CHOSEN = "09_what_stands", "cvb(1)"
CHAPTER = {
    "training_rounds": 2,
    "victims": 4,
    "steps": 30,
    "plateau": 5,
    "seeds": 1,
    "alike_rounds": 7,
}
BUDGET = {"max_steps": 30}
IG, IGNORE = (ATTACKS[name].replace(drop_after=5, **BUDGET) for name in ("ig", "ignore"))
JOINT, LAYERWISE = (ATTACKS[name].replace(**BUDGET) for name in ("joint", "layerwise"))
LONGER = LAYERWISE.replace(max_steps=60)  # twice the steps at the defaults
SMOOTHER, SENT = JOINT.replace(tv=0.03), LAYERWISE.replace(estimate="sparsity")


def declared(kind: type = AttackExperiment, on_one: bool = False, **changes) -> list[Any]:
    """What the chapter declares for the section "On one protocol" (seven rounds), or without it."""
    alike = {"alike": changes.get("protections", [])[:1] or ["none"]}
    values = CHAPTER | {"long_searches": []} | alike | changes
    cells = [cell for cell in experiments(NAME, values) if isinstance(cell, kind)]
    return [cell for cell in cells if (getattr(cell, "training", cell).protocol.rounds == 7) is on_one]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_experiments_of_every_profile(profile):
    values = profiles.load(NAME, profile)
    cells = experiments(NAME, values)
    assert len({c.key for c in cells}) == len(cells)
    assert all(from_json(encode(c)) == c for c in cells)
    labels = [parse(text).label for text in values["protections"]]
    assert len(set(labels)) == len(labels)  # the rows of a table are told apart
    assert set(values["trained"]) | set(values["untrained"]) <= set(values["protections"])


@pytest.mark.parametrize(
    ("text", "trained", "attacks"),
    [
        ("none", False, [IG, LAYERWISE, JOINT]),
        ("none", True, [IG, LAYERWISE]),
        ("batch(4)", False, [IG, LAYERWISE, JOINT]),
        (CHOSEN, False, [IGNORE, LAYERWISE, JOINT]),
        (CHOSEN, True, [IG, LAYERWISE, LAYERWISE.replace(noise=Resample())]),
        ("dp(noise_multiplier=1)", False, [IG, LAYERWISE, JOINT, SMOOTHER]),
        ("quantize(bits=4)", True, [IG, LAYERWISE, SMOOTHER]),
        ("compression(p=0.9)", False, [IG, LAYERWISE, JOINT, SENT]),
        ("prune_small(p=0.2)", False, [IG, LAYERWISE, JOINT, SENT]),
        ("soteria(probes=4)", False, [IG, LAYERWISE, JOINT, LAYERWISE.replace(exclude=("last",))]),
        (
            f"{CHOSEN} + average_noise(draws=3)",
            False,
            [IGNORE, LAYERWISE, JOINT, JOINT.replace(noise=Optimize(samples=3))],
        ),
        (
            f"{CHOSEN} + average_noise()",
            False,
            [IGNORE, LAYERWISE, JOINT, JOINT.replace(noise=Optimize(samples=4))],
        ),
        (f"{CHOSEN} + laplace(scale=1)", False, [IGNORE, LAYERWISE, JOINT, SMOOTHER]),
        ("clip(bound=1)", False, [IG, LAYERWISE, JOINT]),
    ],
)
def test_every_protection_meets_the_attacks_made_for_it(text, trained, attacks):
    setup = parse(text)
    cells = declared(protections=[text], trained=[text] if trained else [])
    found = [
        cell.attack
        for cell in cells
        if cell.rounds == (2 if trained else 0)
        and (cell.training.bottlenecks, cell.defense, cell.batch_size)
        == (setup.bottlenecks, setup.defense, setup.batch_size)
    ]
    assert found == attacks
    assert {cell.victims * cell.batch_size for cell in cells} == {4}


@pytest.mark.parametrize(
    ("text", "attacks"),
    [
        ("batch(4)", [LAYERWISE]),
        (CHOSEN, [LAYERWISE]),
        ("dp(noise_multiplier=1)", [SMOOTHER]),
        (f"{CHOSEN} + compression(p=0.9)", [LAYERWISE, SENT]),
        ("clip(bound=1)", []),
    ],
)
def test_some_attacks_on_fresh_weights_get_more_steps(text, attacks):
    short, long = (declared(protections=[text], trained=[text], long_searches=more) for more in ([], [text]))
    new = [cell for cell in long if cell not in short]
    assert set(short) < set(long) or not attacks
    assert [cell.attack for cell in new] == [attack.replace(max_steps=60) for attack in attacks]
    assert {cell.rounds for cell in new} <= {0}


def test_experiments_are_attacks_trainings_and_bytes_without_repetition():
    texts = ["dp(noise_multiplier=1e-3)", "batch(2)", CHOSEN, f"{CHOSEN} + batch(2)"]
    cells = declared(object, protections=texts, trained=[CHOSEN], long_searches=texts[1:2], seeds=2)
    kinds = [
        sum(isinstance(c, kind) for c in cells)
        for kind in (AttackExperiment, TrainingExperiment, CommunicationCostExperiment)
    ]
    # without protection, too; noise meets one more attack, one batch a longer one; batches change no training
    assert kinds == [2 * (5 * 3 + 1 + 3 + 1), 2 * 3, 3]
    late = [c for c in cells if isinstance(c, AttackExperiment) and c.rounds]
    assert [(c.seed, c.training.seed, c.victim_seed) for c in late] == [(0, 0, 1), (1, 1, 2)] * 3
    assert {c.defense == c.training.defense for c in late} == {True}


def test_cost_and_leak_are_measured_on_one_protocol():
    texts = ["none", "dp(noise_multiplier=1e-2)", CHOSEN]
    settings = {"protections": texts, "trained": [], "alike": [CHOSEN], "alike_batch": 2, "seeds": 2}
    trainings, attacked = (
        declared(kind, on_one=True, **settings) for kind in (TrainingExperiment, AttackExperiment)
    )
    assert [(t.seed, t.bottlenecks) for t in trainings] == [
        (0, ()),
        (1, ()),
        *((i, parse(CHOSEN).bottlenecks) for i in (0, 1)),
    ]
    assert {t.protocol.batch_size for t in trainings} == {2}
    assert {(c.rounds, c.batch_size, c.victims) for c in attacked} == {(7, 2, 2)}
    assert {(c.training.protocol.rounds, c.training.protocol.batch_size) for c in attacked} == {(7, 2)}
    behind = [c.attack for c in attacked if c.training.bottlenecks and c.seed == c.training.seed == 1]
    assert behind == [IG, LAYERWISE, JOINT, LAYERWISE.replace(noise=Resample()), LONGER]


def test_what_is_not_trained_is_attacked_all_the_same():
    texts = {"protections": ["none", CHOSEN], "trained": []}
    some, others = (declared(object, **texts, untrained=names) for names in ([CHOSEN], []))
    assert {type(c) for c in set(others) - set(some)} == {TrainingExperiment} and set(some) < set(others)


def test_a_protection_that_is_misspelled_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'cvb'"):
        declared(protections=["none", "cvc(1)"], trained=[])
    with pytest.raises(ParameterError, match="protections must not be empty"):
        declared(protections=[], trained=[])


@pytest.mark.parametrize("name", ["trained", "untrained", "long_searches", "alike"])
def test_what_is_no_protection_of_the_list_is_said(name):
    values = {"protections": ["none"], "trained": [], "untrained": [], "long_searches": []}
    with pytest.warns(UserWarning, match=rf"^{name}: \['batch\(8\)'\] stand nowhere in protections"):
        found = declared(object, **values | {name: ["batch(8)"]})
    assert found == declared(object, **values)
