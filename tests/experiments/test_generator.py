"""Generators in stored experiments: descriptions with stable keys, weights trained once, victims unseen."""

import dataclasses
import hashlib

import pytest
import torch

from gleak_lib import attacks, datasets, generators
from gleak_lib.attacks import ATTACKS, NoiseGradient, ggl
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import (
    AttackExperiment,
    Context,
    GeneratorExperiment,
    ReidentificationExperiment,
    TrainingExperiment,
    from_json,
    run,
)
from gleak_lib.experiments.encoding import encode
from gleak_lib.experiments.specs import scores
from gleak_lib.experiments.specs.generator import with_weights
from gleak_lib.generators import DCGAN

SMALL = GeneratorExperiment("digits", latent_size=6, width=2, steps=3, batch_size=8)
ATTACK = ggl(SMALL).replace(max_steps=3)
CELL = AttackExperiment(TrainingExperiment("digits"), attack=ATTACK, victims=2, split="test")


def test_a_description_stands_in_an_attack_and_is_read_back():
    stored = encode(CELL)
    assert stored["attack"]["variables"]["generator"]["type"] == "GeneratorCell"
    assert from_json(stored) == CELL and from_json(stored).key == CELL.key == "77178aca831e9309"
    other = AttackExperiment(
        TrainingExperiment("digits"), attack=ggl(dataclasses.replace(SMALL, seed=1)), split="test"
    )
    assert other.key != CELL.key
    assert SMALL.key == "522778bcb6af648f" != dataclasses.replace(SMALL, ema=0.9).key
    assert SMALL.describe() == "DCGAN on digits, 3 steps, told the classes, seed 0"


def test_weights_are_trained_once_and_kept_outside_the_results(store, monkeypatch):
    found = run([CELL], store, device="cpu", progress=False)
    path = store.cache / f"{SMALL.key}.safetensors"
    assert path.exists() and not list(store.folder.rglob("*.safetensors"))
    monkeypatch.setattr(generators, "train", None)
    context = Context(store.cache)
    made = SMALL.trained(context)
    assert isinstance(made, DCGAN) and made.classes == 10 and made.gray
    again = CELL.run(context)
    assert again.figures["loss"] == pytest.approx(found[0].figures["loss"], rel=1e-5)
    assert with_weights(ATTACKS["ig"], context) is ATTACKS["ig"]
    assert with_weights(ATTACK, context).variables.weight == ATTACK.variables.weight
    monkeypatch.undo()
    path.write_bytes(b"no safetensors")
    with pytest.warns(UserWarning, match="is not used, the weights are trained again: the file is damaged"):
        mended = SMALL.trained(context)
    z, labels = torch.randn(2, 6), torch.tensor([0, 1])
    assert torch.equal(mended.sample(z, labels), made.sample(z, labels))


def test_a_generators_result_has_its_losses_and_a_sample_of_each_class(store):
    (result,) = run([SMALL], store, device="cpu", progress=False)
    assert result.figures["loss"]["step"] == [1, 2, 3] and len(result.figures["loss"]["generator"]) == 3
    assert result.figures["images"] == len(datasets.load("digits").train)
    assert result.images("samples").shape == (10, 3, 32, 32)


def digests(images):
    pixels = (images * 255).round().to(torch.uint8).numpy()
    return {hashlib.sha256(image.tobytes()).hexdigest() for image in pixels}


def test_the_generator_never_sees_a_victim():
    digits = datasets.load("digits")
    images, labels = CELL.drawn(digits)
    assert not digests(images) & digests(digits.train.images[:])
    assert len(digests(images)) == 2 and digests(images) <= digests(digits.test.images[:])
    with pytest.raises(
        ParameterError, match="generator has seen the training images of digits: attack victims of"
    ):
        dataclasses.replace(CELL, split="train")
    AttackExperiment(TrainingExperiment("mnist"), attack=ATTACK, split="train")  # another set's


def test_a_generator_trains_on_the_training_split_alone(tmp_path, monkeypatch):
    asked = []

    def train(images, labels, **options):
        asked.append(digests(images[:]))
        return SMALL.build(datasets.load("digits")), {"generator": [], "discriminator": []}

    monkeypatch.setattr(generators, "train", train)
    SMALL.trained(Context(tmp_path))
    digits = datasets.load("digits")
    assert asked == [digests(digits.train.images[:])] and not asked[0] & digests(digits.test.images[:])


def test_what_a_description_refuses():
    with pytest.raises(ParameterError, match="steps must be an integer of at least 1, got 0"):
        GeneratorExperiment("digits", steps=0)
    with pytest.raises(ParameterError, match="lr must be positive, got 0"):
        GeneratorExperiment("digits", lr=0.0)
    with pytest.raises(ParameterError, match=r"ema must be in \[0, 1\), got 1.5"):
        GeneratorExperiment("digits", ema=1.5)
    with pytest.raises(ParameterError, match="description of one is trained first"):
        attacks.invert(_seen(), ATTACK)


def _seen():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    return attacks.observe(model, torch.rand(1, 3, 32, 32), torch.tensor([1]))


def test_the_noise_gradient_and_ranks_go_with_it(store):
    control = dataclasses.replace(CELL, cleaning=(NoiseGradient(),))
    ranked = ReidentificationExperiment(CELL)
    one, other, ranks = run([CELL, control, ranked], store, device="cpu", progress=False)
    assert one.figures["loss"] != other.figures["loss"] and len(ranks.figures["ranks"]) == 2
    for scaling in scores.SCALINGS:
        assert len(one.figures["scores"][scaling][scores.MSE_R]) == 2
    assert from_json(encode(control)) == control
