"""What an attacker estimates of the defense from the gradients, and applies to the dummies' (003)."""

import dataclasses

import pytest
import torch

from gleak_lib import attacks, models
from gleak_lib.attacks import ATTACKS, Attack, invert, observe
from gleak_lib.attacks.estimates import ESTIMATES, clipping, clipping_whole, sparsity
from gleak_lib.defenses import Clip, Compression, Gaussian, Soteria
from gleak_lib.errors import ParameterError, UnknownNameError

DUMMY = {"a": torch.tensor([[3.0, 4.0], [0.3, 0.4]]), "b": torch.tensor([[2.0], [5.0]])}


def test_the_observed_zeros_are_the_mask():
    target = {"a": torch.tensor([[0.0, 1.0], [1.0, 0.0]]), "b": torch.tensor([[1.0], [0.0]])}
    found = sparsity(DUMMY, target)
    assert found["a"].tolist() == [[0.0, 4.0], [pytest.approx(0.3), 0.0]]
    assert found["b"].tolist() == [[2.0], [0.0]]


def test_the_observed_norms_are_the_bounds():
    target = {"a": torch.tensor([[0.0, 1.0], [0.0, 1.0]]), "b": torch.tensor([[-1.0], [0.0]])}
    found = clipping(DUMMY, target)
    torch.testing.assert_close(found["a"], torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    assert found["b"].tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("defense", "estimate"), [(Compression(0.9), "sparsity"), (Clip(1e-3, per_layer=True), "clipping")]
)
@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_the_truth_has_no_loss_once_the_defense_is_known(small, defense, estimate, distance):
    model = small("cnn")
    images, labels = torch.rand(2, *model.input_shape), torch.tensor([0, 1])
    seen = observe(model, images, labels, defense=defense)
    plain = observe(model, images, labels).gradients
    dummy = ESTIMATES[estimate](plain, seen.gradients)
    for n, g in seen.gradients.items():
        torch.testing.assert_close(dummy[n], g, rtol=1e-4, atol=1e-7)
    attack = ATTACKS["ig"].replace(distance=distance, estimate=estimate, max_steps=2)
    found = invert(seen, attack, generator=torch.Generator().manual_seed(0))
    without = invert(seen, attack.replace(estimate="none"), generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(found.loss).all() and not torch.equal(found.loss, without.loss)


def test_an_estimate_that_there_is_not():
    with pytest.raises(UnknownNameError, match="value of estimate 'sparse'. Did you mean 'sparsity'"):
        Attack().replace(estimate="sparse")


def test_the_whole_gradient_is_shortened_to_the_observed_norm():
    target = {"a": torch.tensor([[0.0, 3.0], [0.3, 0.4]]), "b": torch.tensor([[4.0], [0.0]])}
    found = clipping_whole(DUMMY, target)
    factor = 5 / (9 + 16 + 4) ** 0.5
    torch.testing.assert_close(found["a"][0], factor * DUMMY["a"][0])
    torch.testing.assert_close(found["b"][0], factor * DUMMY["b"][0])
    bound = 0.5 / (0.25 + 25) ** 0.5
    torch.testing.assert_close(found["b"][1], bound * DUMMY["b"][1])


@pytest.fixture
def pair(small):
    """What clients of a small network share under a defense, and without one."""
    model = small("cnn")
    images, labels = torch.rand(3, *model.input_shape, generator=stream()), torch.tensor([0, 1, 2])

    def shared(defense=None):
        return observe(model, images, labels, defense=defense, generator=stream())

    return shared


def stream():
    return torch.Generator().manual_seed(0)


def test_the_bounds_are_the_observed_norms(pair):
    plain = attacks.clipping_bound(pair())
    bound = 0.5 * float(plain.min())
    torch.testing.assert_close(attacks.clipping_bound(pair(Clip(bound))), torch.full((3,), bound))
    small = 0.5 * float(min(n.min() for n in attacks.clipping_bounds(pair()).values()))
    for estimated in attacks.clipping_bounds(pair(Clip(small, per_layer=True))).values():
        torch.testing.assert_close(estimated, torch.full((3,), small))
    torch.testing.assert_close(
        attacks.clipping_bound(pair(Clip(2 * float(plain.max())))), plain
    )  # not reached


def test_the_masks_are_the_true_ones(pair):
    plain, pruned = pair().gradients, pair(Compression(0.9))
    kept = attacks.sparsification_mask(pruned)
    for name, mask in kept.items():
        truth = Compression(0.9)({name: plain[name]})[name] != 0
        assert torch.equal(mask, truth) and torch.equal(pruned.gradients[name] != 0, mask)
    last = max((n for n in plain if n.endswith("weight")), key=list(plain).index)
    dead = (plain[last] == 0).all(1)
    for p in (0.5, 0.9):
        hidden = pair(Soteria(p))
        mask = attacks.soteria_mask(hidden)
        truth = (hidden.gradients[last] == 0).all(1)
        assert torch.equal(mask, truth) and bool((mask | ~dead).all())
        assert (mask.sum(1) >= int(p * mask.shape[1])).all()
        if (dead.sum(1) <= int(p * mask.shape[1])).all():  # the dead are pruned first
            assert (mask.sum(1) == int(p * mask.shape[1])).all()


@pytest.mark.parametrize(("std", "error"), [(1e-3, 0.06), (1e-1, 0.12)])
def test_the_noise_level_is_read_off_the_rank(std, error):
    model = models.build("cnn", input_shape=(3, 32, 32), seed=0)
    images, labels = torch.rand(4, 2, 3, 32, 32, generator=stream()), torch.arange(8).reshape(4, 2)
    seen = observe(model, images, labels, defense=Gaussian(std), generator=stream())
    torch.testing.assert_close(attacks.noise_level(seen), torch.full((4,), std), rtol=error, atol=0)
    clear = attacks.noise_level(observe(model, images, labels))
    assert (clear < 1e-6).all()


def test_estimates_that_nothing_is_known_for(pair):
    seen = pair()
    with pytest.raises(ParameterError, match="'nowhere' is none"):
        attacks.soteria_mask(seen, "nowhere")
    head = [n for n in seen.gradients if n.startswith("head")]
    lacking = dataclasses.replace(seen, gradients={n: g for n, g in seen.gradients.items() if n not in head})
    with pytest.raises(ParameterError, match=r"needs the gradient of head\S*weight, and the observation has"):
        attacks.noise_level(lacking)
    many = dataclasses.replace(seen, batch_size=3)
    with pytest.raises(ParameterError, match="Of 3 images a 3 x .* gradient may have full rank"):
        attacks.noise_level(many)
    convolutions = dataclasses.replace(seen, model=torch.nn.Conv2d(1, 1, 1))
    with pytest.raises(ParameterError, match="it has none"):
        attacks.soteria_mask(convolutions)
