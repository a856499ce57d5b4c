"""Under `torch.no_grad` all is as ever; in `torch.inference_mode` a sentence says what to do."""

import dataclasses

import pytest
import torch
from torch import nn

from gleak_lib import attacks, defenses, models
from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.errors import GradientError
from gleak_lib.types import Observation

SHAPE = (3, 12, 12)
IMAGES = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([3, 1])
IG = ATTACKS["ig"].replace(max_steps=3)


def rng():
    return torch.Generator().manual_seed(1)


def build(**kw):
    return models.build("lenet", input_shape=SHAPE, num_classes=5, seed=0, **kw)


class Curved(defenses.Defense):
    """One of a user's own that differentiates."""

    def transform(self, grads, generator):
        found = {}
        for name, g in grads.items():
            g = g.detach().requires_grad_()
            (found[name],) = torch.autograd.grad(g.square().sum(), g)
        return found


PLAIN = attacks.observe(build(), IMAGES, LABELS)
NOISY = attacks.observe(build(bottlenecks=PRECODE(1, 2)), IMAGES, LABELS, share_noise=True, generator=rng())
MLP = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.Tanh(), nn.Linear(8, 5))
FLAT = attacks.observe(MLP, IMAGES, LABELS)
VIT = models.build(
    "vit", input_shape=SHAPE, num_classes=5, hidden=48, heads=4, mlp=8, depth=1, patch=4, seed=0
)
FOUND = attacks.invert(PLAIN, IG, generator=rng())


def run(observation, attack):
    return lambda: attacks.invert(observation, attack, generator=rng()).images


DOORS = {
    "ig": run(PLAIN, IG),
    "dlg": run(PLAIN, ATTACKS["dlg"].replace(max_steps=2, inner_steps=2)),
    "joint": run(NOISY, ATTACKS["joint"].replace(max_steps=2)),
    "z": run(NOISY, ATTACKS["joint"].replace(max_steps=2, noise_form="z")),
    "weighted": run(NOISY, ATTACKS["joint"].replace(max_steps=2, weighting="variance")),
    "rank one": run(FLAT, attacks.RankOne()),
    "patches": run(attacks.observe(VIT, IMAGES, LABELS), ATTACKS["patches"]),
    "together": lambda: attacks.invert_together([PLAIN], IG, generators=[rng()])[0].images,
    "loss_at_truth": lambda: attacks.loss_at_truth(NOISY, ATTACKS["joint"], IMAGES, LABELS, NOISY.noise),
    "gradient_distance": lambda: attacks.gradient_distance(PLAIN, IG, FOUND),
    "conditioning": lambda: attacks.conditioning(MLP, IMAGES, LABELS, generator=rng()).rms,
    "observe": lambda: attacks.observe(MLP, IMAGES, LABELS, defense=Curved()).gradients["1.weight"],
}


@pytest.mark.parametrize("name", DOORS)
def test_no_grad_changes_nothing(name):
    expected = DOORS[name]()
    with torch.no_grad():
        found = DOORS[name]()
        assert not torch.is_grad_enabled()
    assert torch.equal(found, expected) and not found.requires_grad


@pytest.mark.parametrize("name", DOORS)
def test_inference_mode_is_refused_with_what_to_do(name):
    with (
        torch.inference_mode(),
        pytest.raises(
            GradientError,
            match="inference_mode.. is on.*leave it, or use torch.no_grad",
        ),
    ):
        DOORS[name]()


def test_what_was_made_in_inference_mode():
    sizes = {"input_shape": SHAPE, "labels": LABELS[:1]}
    grads = [g[0] for g in PLAIN.gradients.values()]
    with torch.inference_mode():
        seen = Observation.from_gradients(PLAIN.model, grads, **sizes)
        given = [g.clone() for g in grads]
        images, labels = IMAGES.clone(), LABELS.clone()
    with pytest.raises(GradientError, match="was made in torch.inference_mode.*outside of that, from clones"):
        attacks.invert(seen, IG)
    clones = {name: g.clone() for name, g in seen.gradients.items()}
    attacks.invert(dataclasses.replace(seen, gradients=clones, labels=None), IG)
    attacks.invert(Observation.from_gradients(PLAIN.model, given, **sizes), IG)
    again = attacks.observe(PLAIN.model, images, labels)
    assert torch.equal(attacks.invert(again, IG, generator=rng()).images, FOUND.images)
    attacks.loss_at_truth(again, IG, images, labels)
