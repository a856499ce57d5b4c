"""The closed form: exact where it applies, clear where it does not."""

import dataclasses

import pytest
import torch
from torch import nn

from gleak_lib import metrics
from gleak_lib.attacks import ATTACKS, RankOne, invert, observe
from gleak_lib.bottlenecks import PRECODE, insert
from gleak_lib.defenses import DEFENSES
from gleak_lib.errors import ParameterError, UnknownNameError

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
    """PRECODE randomizes what follows: the quotient of the gradients does not care (001 appendix)."""
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
    with pytest.raises(ParameterError, match="gradient of a bias, and 1 has none .removing it"):
        invert(seen, ANALYTIC)
    batch = observe(perceptron(), torch.rand(2, 3, 3, 4, 4), torch.zeros(2, 3).long())
    with pytest.raises(ParameterError, match="are a sum over 3: use an iterative attack"):
        invert(batch, ANALYTIC)
    conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))
    with pytest.raises(ParameterError, match="given the pixels .3 sees 32 other features"):
        invert(observed(conv)[0], ANALYTIC)
    with pytest.raises(ParameterError, match="it has no linear layer"):
        invert(observed(nn.Sequential(nn.Conv2d(3, 5, 4), nn.Flatten()))[0], ANALYTIC)


def normed(norm=nn.BatchNorm1d, bias=False, **options):
    """A perceptron whose BatchNorm has seen data and been trained: no factor of it is one."""
    model = perceptron(bias=bias, norm=lambda: norm(64, **options)).eval()
    if isinstance(model[2], nn.BatchNorm1d) and model[2].affine and model[2].running_var is not None:
        model[2].running_mean.normal_()
        model[2].running_var.uniform_(0.5, 2)
        nn.init.uniform_(model[2].weight, 0.5, 2)
        nn.init.normal_(model[2].bias)
    return model


@pytest.mark.parametrize("rows", ["all", "largest", "repeated"])
def test_batchnorms_shift_stands_in_for_the_bias(rows):
    seen, images = observed(normed())
    with pytest.raises(ParameterError, match="has none"):
        invert(seen, ANALYTIC)
    found = invert(seen, ANALYTIC.replace(route="shift", rows=rows))
    torch.testing.assert_close(found.images, images, atol=1e-4, rtol=0)
    assert found.loss.max() < 1e-9


def test_the_shift_and_the_bias_say_the_same():
    seen, _ = observed(normed(bias=True))
    one, other = (invert(seen, ANALYTIC.replace(route=route)) for route in ("bias", "shift"))
    torch.testing.assert_close(one.images, other.images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("precode", [False, True])
@pytest.mark.parametrize("norm", [nn.Identity, nn.BatchNorm1d])
def test_the_weight_gradient_alone_gives_the_image_but_for_its_length(norm, precode):
    """Without any bias it is a multiple of the image."""
    model = normed() if norm is nn.BatchNorm1d else perceptron(bias=False)
    if precode:
        model = insert(model, after="3", spec=PRECODE(k=8), input_shape=(3, 4, 4), seed=0)
    seen, images = observed(model)
    found = invert(seen, RankOne(noise_samples=4 if precode else 1), generator=rng())
    x, true = (t.sub(torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)).flatten(1) for t in (found.images, images))
    inside = (found.images > 0.01) & (found.images < 0.99)  # what the pixel range has not cut off
    x, true = (t * inside.flatten(1) for t in (x, true))
    assert torch.cosine_similarity(x, true).min() > 0.999, "direction and sign"
    if not precode:
        torch.testing.assert_close(found.images, images, atol=0.05, rtol=0)
        assert found.loss.abs().max() < 1e-3


def test_the_direction_needs_labels_or_a_classifier_to_read_them_off():
    headless = nn.Sequential(
        nn.Flatten(), nn.Linear(48, 20, bias=False), nn.Unflatten(1, (5, 2, 2)), nn.AvgPool2d(2), nn.Flatten()
    )
    seen, _ = observed(headless, share_labels=False)
    with pytest.raises(ParameterError, match="pass labels"):
        invert(seen, RankOne())


def test_a_zero_gradient_gives_no_direction():
    seen, _ = observed(perceptron(bias=False))
    seen.gradients["1.weight"][2] = 0
    found = invert(seen, RankOne(), generator=rng())
    assert found.images.isfinite().all()
    assert found.loss[2] >= 1 > 1e-3 > found.loss[1]


def batches(model, size=3, victims=4):
    images = torch.rand(victims, size, 3, 4, 4, generator=rng(0))
    labels = torch.arange(victims * size).reshape(victims, size) % 5
    return observe(model, images, labels, generator=rng(2), mean=(0.4, 0.5, 0.6), std=0.25), images


def wide(norm=nn.Identity):
    """So many neurons that some respond to one image only."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 512), norm(), nn.ReLU(), nn.Linear(512, 5))


def test_batches_are_read_off_the_rows_that_agree():
    seen, images = batches(wide())
    found = invert(seen, ANALYTIC.replace(rows="repeated"))
    assert found.images.shape == images.shape
    assert metrics.assign(found.images, images).sub(images).abs().max() < 1e-3
    assert found.loss.max() < 1e-6


def test_a_mixture_is_no_image():
    """A linear network responds to every image with every neuron: no row shows one image alone."""
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.Linear(64, 5))
    seen, images = batches(linear)
    found = metrics.assign(invert(seen, ANALYTIC.replace(rows="repeated")).images, images)
    assert (found - images).abs().amax((2, 3, 4)).min() > 0.05


def test_training_mode_leaves_the_bias_no_gradient():
    """BatchNorm takes the batch's mean away again: rows hold differences of images only."""
    seen, images = batches(wide(lambda: nn.BatchNorm1d(512)).train(), size=2)
    assert seen.gradients["1.bias"].abs().max() < 1e-6 * seen.gradients["1.weight"].abs().max()
    x = (images - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / 0.25
    row = seen.gradients["1.weight"][0].norm(dim=1).argmax()
    gradient = seen.gradients["1.weight"][0, row]
    difference = (x[0, 0] - x[0, 1]).flatten()
    assert torch.cosine_similarity(gradient, difference, dim=0).abs() > 0.9999
    for rows in ("largest", "all"):
        with pytest.raises(ParameterError, match="are a sum over 2"):
            invert(seen, ANALYTIC.replace(rows=rows))
    found = metrics.assign(invert(seen, ANALYTIC.replace(rows="repeated")).images, images)
    assert (found - images).square().mean((2, 3, 4)).min() > 0.01


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (perceptron(bias=False), "needs a BatchNorm with a shift right behind 1"),
        (normed(norm=nn.LayerNorm), "needs a BatchNorm with a shift right behind 1"),
        (normed(affine=False), "needs a BatchNorm with a shift right behind 1"),
    ],
)
def test_where_the_shift_does_not_help(model, message):
    images, labels = torch.rand(2, 2, 3, 4, 4), torch.zeros(2, 2).long()
    with pytest.raises(ParameterError, match=message):
        invert(observe(model, images, labels), ANALYTIC.replace(route="shift", rows="repeated"))


def test_the_shift_does_not_help_in_training_mode():
    seen, _ = batches(wide(lambda: nn.BatchNorm1d(512)).train())
    with pytest.raises(ParameterError, match="needs clients in evaluation mode"):
        invert(seen, ANALYTIC.replace(route="shift", rows="repeated"))
    with pytest.raises(UnknownNameError, match="value of route 'shfit'. Did you mean 'shift'"):
        ANALYTIC.replace(route="shfit")
