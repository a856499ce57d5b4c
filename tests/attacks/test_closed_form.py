"""The closed form: exact where it applies, clear where it does not."""

import dataclasses

import pytest
import torch
from torch import nn

from gleak_lib.attacks import ATTACKS, invert, observe
from gleak_lib.bottlenecks import PRECODE, insert
from gleak_lib.defenses import DEFENSES
from gleak_lib.errors import ParameterError

ANALYTIC = ATTACKS["analytic"]


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def perceptron(bias=True, norm=nn.Identity):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(48, 64, bias=bias),
        norm(),
        nn.ReLU(),
        nn.Linear(64, 32, bias=bias),
        nn.ReLU(),
        nn.Linear(32, 5, bias=bias),
    )


def observed(model, victims=6, **options):
    images = torch.rand(victims, 3, 4, 4, generator=rng(0))
    labels = torch.arange(victims) % 5
    return observe(model, images, labels, generator=rng(2), mean=(0.4, 0.5, 0.6), std=0.25, **options), images


@pytest.mark.parametrize("rows", ["all", "largest"])
@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.GroupNorm(4, 64)], ids=["plain", "groupnorm"])
def test_it_is_exact(rows, norm):
    seen, images = observed(perceptron(norm=norm))
    found = invert(seen, ANALYTIC.replace(rows=rows), generator=rng())
    torch.testing.assert_close(found.images, images, atol=1e-4, rtol=0)
    assert found.loss.max() < 1e-9
    assert found.steps.tolist() == [0] * 6
    assert torch.equal(found.labels, torch.arange(6) % 5)
    assert found.trace.shape == (1, 6)
    assert found.trace_steps.tolist() == [0]


def test_bottlenecks_behind_the_layer_hide_nothing():
    """PRECODE randomises what follows: the quotient of the gradients does not care (001 appendix)."""
    model = insert(perceptron(), after="3", spec=PRECODE(k=8), input_shape=(3, 4, 4), seed=0)
    model = insert(model, after="5", spec=PRECODE(k=4), input_shape=(3, 4, 4), seed=1)
    seen, images = observed(model)
    assert invert(seen, ANALYTIC).images.sub(images).abs().max() < 1e-4


def test_noise_spoils_it_and_more_rows_help():
    seen, images = observed(perceptron(), defense=DEFENSES["gaussian"](std=1e-3), victims=20)
    errors, losses = {}, {}
    for rows in ("all", "largest"):
        found = invert(seen, ANALYTIC.replace(rows=rows))
        errors[rows] = (found.images - images).square().mean().item()
        losses[rows] = found.loss
    assert 0 < errors["all"] < errors["largest"] < 0.05
    assert (losses["all"] > 1e-4).all()
    assert (losses["all"] <= losses["largest"]).all()


def test_compression_spoils_it_once_it_cuts_into_live_rows():
    """Half of the rows of a ReLU layer are zero for an image anyway: cutting half may cost nothing."""
    seen, images = observed(perceptron(), defense=DEFENSES["compression"](p=0.5))
    found = invert(seen, ANALYTIC)
    assert torch.equal(found.loss < 1e-6, (found.images - images).abs().amax((1, 2, 3)) < 1e-3)
    seen, images = observed(perceptron(), defense=DEFENSES["compression"](p=0.9))
    found = invert(seen, ANALYTIC)
    assert found.loss.min() > 1e-4, "it must not claim to be exact"
    assert (found.images - images).square().mean() < (images - 0.5).square().mean()


def test_a_victim_without_bias_gradient_is_reported():
    seen, images = observed(perceptron())
    gradients = dict(seen.gradients)
    gradients["1.bias"] = seen.gradients["1.bias"].clone()
    gradients["1.bias"][2] = 0
    found = invert(dataclasses.replace(seen, gradients=gradients), ANALYTIC)
    assert found.loss[2] == 1
    assert found.images.isfinite().all()
    assert found.images[3].sub(images[3]).abs().max() < 1e-4


def test_labels_are_not_needed():
    seen, images = observed(perceptron(), share_labels=False)
    found = invert(seen, ANALYTIC)
    assert torch.equal(found.labels, torch.arange(6) % 5), "but inferred where they can be"
    headless = nn.Sequential(
        nn.Flatten(), nn.Linear(48, 20), nn.Unflatten(1, (5, 2, 2)), nn.AvgPool2d(2), nn.Flatten()
    )
    seen, images = observed(headless, share_labels=False)
    found = invert(seen, ANALYTIC)
    assert found.labels.tolist() == [-1] * 6
    assert found.images.sub(images).abs().max() < 1e-4


def test_batches_of_one_keep_their_shape():
    images = torch.rand(3, 1, 3, 4, 4)
    seen = observe(perceptron(), images, torch.zeros(3, 1).long())
    found = invert(seen, ANALYTIC)
    torch.testing.assert_close(found.images, images, atol=1e-4, rtol=0)
    assert found.labels.shape == (3, 1)


def test_where_it_does_not_apply():
    seen, _ = observed(perceptron(bias=False))
    with pytest.raises(ParameterError, match="gradient of a bias, and 1 has none .001 Table VII"):
        invert(seen, ANALYTIC)
    batch = observe(perceptron(), torch.rand(2, 3, 3, 4, 4), torch.zeros(2, 3).long())
    with pytest.raises(ParameterError, match="are a sum over 3: use an iterative attack"):
        invert(batch, ANALYTIC)
    conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))
    with pytest.raises(ParameterError, match="given the pixels .3 sees 32 other features"):
        invert(observed(conv)[0], ANALYTIC)
    with pytest.raises(ParameterError, match="it has no linear layer"):
        invert(observed(nn.Sequential(nn.Conv2d(3, 5, 4), nn.Flatten()))[0], ANALYTIC)
