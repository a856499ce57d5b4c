"""Singular values of the Jacobian of gradient directions, against a Jacobian that is written out."""

import math

import pytest
import torch
from torch import nn

from gleak_lib import attacks, models
from gleak_lib.errors import GradientError, ParameterError, ShapeError
from gleak_lib.gradients import jacobian_products, per_victim_gradients, prepare

SHAPE = (1, 8, 8)
PIXELS = {"mean": 0.4, "std": 0.3}
IMAGES = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.double)
LABELS = torch.tensor([1, 2])


def network(activation="sigmoid"):
    return models.build(
        "lenet", input_shape=SHAPE, num_classes=3, convs=1, activation=activation, seed=0
    ).double()


def direction(model, x, label):
    """The gradient of plain autograd, of length one."""
    loss = nn.functional.cross_entropy(model(x[None]), label[None])
    flat = torch.cat(
        [g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()), create_graph=True)]
    )
    return flat / flat.norm(), flat.norm()


@pytest.fixture(scope="module")
def written_out():
    model, found = network(), []
    for image, label in zip((IMAGES - 0.4) / 0.3, LABELS, strict=True):
        matrix = torch.autograd.functional.jacobian(lambda x, y=label: direction(model, x, y)[0], image)
        found.append(torch.linalg.svdvals(matrix.flatten(1)))
    return torch.stack(found)


def test_all_directions_give_the_singular_values(written_out):
    found = attacks.conditioning(network(), IMAGES, LABELS, probes=None, **PIXELS)
    squares = written_out.square()
    torch.testing.assert_close(found.singular_values, written_out, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.rms, squares.mean(1).sqrt())
    torch.testing.assert_close(found.effective_rank, squares.sum(1) ** 2 / squares.square().sum(1))
    norms = [direction(network(), x, y)[1] for x, y in zip((IMAGES - 0.4) / 0.3, LABELS, strict=True)]
    torch.testing.assert_close(found.gradient_norm, torch.stack(norms).detach())


def test_probes_estimate_them(written_out):
    generator = torch.Generator().manual_seed(1)
    found = attacks.conditioning(network(), IMAGES, LABELS, probes=400, generator=generator, **PIXELS)
    squares = written_out.square()
    torch.testing.assert_close(found.rms, squares.mean(1).sqrt(), rtol=0.05, atol=0)
    rank = squares.sum(1) ** 2 / squares.square().sum(1)
    torch.testing.assert_close(found.effective_rank, rank, rtol=0.2, atol=0)
    assert found.singular_values is None


@pytest.mark.parametrize(("activation", "share"), [("relu", None), ("sigmoid", 0.0), ("leaky_relu", 0.0)])
def test_flat_activations_are_counted(activation, share):
    model = network(activation)
    found = attacks.conditioning(model, IMAGES, LABELS, probes=1, **PIXELS).flat
    if share is None:
        share = (model.stage1((IMAGES - 0.4) / 0.3) == 0).double().flatten(1).mean(1)
        assert share.min() > 0
        assert share.max() < 1
    torch.testing.assert_close(found, torch.as_tensor(share).expand(2).double())


def test_a_model_without_activations_has_no_flat_ones():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    assert math.isnan(attacks.conditioning(linear, IMAGES, LABELS, probes=1).flat[0])


def test_products_are_those_of_a_written_out_jacobian():
    model = prepare(network(), 1)
    x = IMAGES[:1].clone().requires_grad_()
    grads, _ = per_victim_gradients(model, x, LABELS[:1], victims=1, create_graph=True)
    (moved,) = jacobian_products(grads, x, [torch.ones_like(x)])
    step = 1e-6

    def at(images):
        return per_victim_gradients(model, images, LABELS[:1], victims=1)[0]

    ahead, behind = at(x.detach() + step), at(x.detach() - step)
    for name, found in moved.items():
        expected = (ahead[name] - behind[name]).flatten(1) / (2 * step)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_refuses_what_has_no_answer():
    with pytest.raises(
        ShapeError, match=r"images must be V x C x H x W with V class indices, got \(2, 1, 8, 8\)"
    ):
        attacks.conditioning(network(), IMAGES, LABELS[:1])
    with pytest.raises(ParameterError, match="probes must be at least 1, or None for all directions, got 0"):
        attacks.conditioning(network(), IMAGES, LABELS, probes=0)
    dead = network("relu")
    for p in dead.parameters():
        nn.init.zeros_(p)
    dead.head[1].bias.data[1:3] = -1e6
    with pytest.raises(GradientError, match="A gradient is zero everywhere: it has no direction"):
        attacks.conditioning(dead, IMAGES[:1], torch.tensor([0]))
