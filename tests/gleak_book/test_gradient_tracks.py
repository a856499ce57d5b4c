"""Tracks of gradients: against the attack's own loss, at the truth, and over all steps."""

import dataclasses

import numpy as np
import pytest
import torch
from gleak_book.kinds import GradientTracksExperiment
from gleak_book.kinds.gradient_tracks import recorded
from gleak_book.kinds.gradient_watch import Watch

from gleak_lib import attacks, datasets
from gleak_lib.attacks import ATTACKS, Inferred
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackExperiment, Context, TrainingExperiment, from_json
from gleak_lib.experiments.encoding import encode
from gleak_lib.pixels import normalize

STEPS = 12
BUDGET = {"max_steps": STEPS, "stop_after": 0, "stop_below": 0.0}
HEAD = ATTACKS["ig"].replace(tv=0.0, layers=("head",), **BUDGET)
TRAINING = TrainingExperiment("digits", bottlenecks=(PRECODE(3, 4),))
ATTACK = AttackExperiment(TRAINING, attack=HEAD, victims=1, seed=3)
EVERY = GradientTracksExperiment(ATTACK, points=2 * STEPS, tail=5, shown=1)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return EVERY.run(Context(tmp_path_factory.mktemp("weights")))


def test_similarity_is_the_attacks_own_loss(done):
    tracks = done.figures["tracks"]
    assert tracks["steps"] == list(range(1, STEPS + 1)) == done.figures["trace"]["step"]
    head = tracks["groups"].index("head")
    loss = np.array(done.figures["trace"]["median"])
    np.testing.assert_allclose(tracks["examples"][0][head], 1 - loss, atol=1e-4)
    assert np.ptp(loss) > 0.01  # it is no constant that agrees


def test_the_attack_is_the_unwatched_one(done, tmp_path):
    alone = ATTACK.run(Context(tmp_path))
    assert {name: done.figures[name] for name in alone.figures} == alone.figures
    np.testing.assert_array_equal(done.examples["reconstruction"], alone.examples["reconstruction"])


def test_the_tail_describes_the_last_steps(done):
    tracks = done.figures["tracks"]
    last = np.array(tracks["examples"][0])[:, -5:]
    assert tracks["tail"]["steps"] == 5
    for name, expected in (
        ("mean", last.mean(1)),
        ("std", last.std(1)),
        ("change", np.sqrt((np.diff(last, axis=1) ** 2).mean(1))),
    ):
        np.testing.assert_allclose(np.array(tracks["tail"][name])[:, 0], expected, atol=2e-4)
    for values in tracks["similarity"].values():  # one victim: all quartiles are its own
        assert values == tracks["examples"][0]


def test_at_the_truth_everything_is_the_clients(tmp_path):
    digits = datasets.load("digits")
    images, labels = datasets.victims(digits, 2, 0)
    pixels = {"mean": digits.mean, "std": digits.std}
    model = TRAINING.build(digits)
    generator = torch.Generator().manual_seed(0)
    seen = attacks.observe(model, images, labels, generator=generator, share_noise=True, **pixels)
    watch = Watch(seen, range(1, STEPS + 1), range(STEPS - 1, STEPS + 1), 2, torch.Generator())
    x = normalize(images, digits.mean, digits.std).unsqueeze(1)
    for step in range(1, STEPS + 1):
        watch(step, torch.arange(2), {"image": x}, seen.noise)
    figures = watch.figures()
    np.testing.assert_allclose(figures["similarity"]["median"], 1.0, atol=1e-4)
    np.testing.assert_allclose(figures["tail"]["length"], 1.0, atol=1e-4)
    np.testing.assert_allclose(figures["tail"]["std"], 0.0, atol=1e-4)
    for group, entries in zip(figures["groups"], figures["entries"], strict=True):
        for client, dummy in zip(entries["client"], entries["dummy"], strict=True):
            np.testing.assert_allclose(dummy, np.array(client)[:, None].repeat(STEPS, 1), rtol=1e-3)
            assert 0 not in client, group


def test_signal_is_the_codes_mean_over_its_spread(done, tmp_path):
    digits = datasets.load("digits")
    images, _ = datasets.victims(digits, 1, 0)
    model = TRAINING.build(digits)
    x = normalize(images, digits.mean, digits.std)
    for place in (1, 2, 3):
        x = model.get_submodule(f"stage{place}")(x)
    mu, raw = model.bottleneck3.encoder(x.flatten(1)).chunk(2, dim=1)
    expected = (mu.norm() / torch.nn.functional.softplus(raw).norm()).item()
    found = done.figures["tracks"]["signal"]
    assert found["truth"] == pytest.approx([expected], rel=1e-3)
    assert len(found["dummy"]) == 1 and found["dummy"] != found["truth"]
    plain = GradientTracksExperiment(
        dataclasses.replace(ATTACK, training=TrainingExperiment("digits")), tail=2, shown=1
    )
    signal = plain.run(Context(tmp_path)).figures["tracks"]["signal"]
    assert signal == {"truth": None, "dummy": None}


def test_long_attacks_keep_few_steps():
    steps = recorded(20_000, 120)
    assert len(steps) <= 120 and steps[0] == 1 and steps[-1] == 20_000 and steps == sorted(set(steps))
    assert sum(step < 500 for step in steps) > 30  # the beginning, where most happens


def test_the_cell_is_storable_and_says_what_it_is():
    assert from_json(encode(EVERY)) == EVERY
    assert EVERY.describe() == f"tracks of gradients: {ATTACK.describe()}"
    assert EVERY.needs is None and EVERY.dataset_name == "digits"
    late = GradientTracksExperiment(dataclasses.replace(ATTACK, rounds=2), tail=5, shown=1)
    assert late.needs == TRAINING.at(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_after": 5, "noise_samples": 2}, r"only with noise_samples=1, stop_after=0: use"),
        ({"labels": Inferred()}, r"only with labels=Known\(\)"),
    ],
)
def test_attacks_that_cannot_be_watched(changes, message):
    with pytest.raises(ParameterError, match=message):
        GradientTracksExperiment(dataclasses.replace(ATTACK, attack=HEAD.replace(**changes)), tail=2, shown=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tail": 13}, "tail must be 2 to 12, the attack's max_steps, got 13"),
        ({"tail": 1}, "tail must be 2 to 12"),
        ({"shown": 2}, "shown 1 to 1, the number of victims, got 24 and 2"),
        ({"points": 1}, "points must be at least 2"),
        ({"attacked": dataclasses.replace(ATTACK, share_labels=False)}, "only with share_labels=True"),
        ({"attacked": dataclasses.replace(ATTACK, updates=2)}, "and updates=1"),
    ],
)
def test_what_the_cell_refuses(changes, message):
    with pytest.raises(ParameterError, match=message):
        dataclasses.replace(EVERY, **changes)
