"""What an attacker estimates of the defense from the gradients, and applies to the dummies' (003)."""

import pytest
import torch

from gleak_lib.attacks import ATTACKS, Attack, invert, observe
from gleak_lib.attacks.estimates import ESTIMATES, clipping, sparsity
from gleak_lib.defenses import Clip, Compression
from gleak_lib.errors import UnknownNameError

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
