"""Weight gradients by kernel rows: those of autograd, image by image, with all their derivatives."""

import pytest
import torch
from torch import nn

from gleak_lib import bottlenecks, models
from gleak_lib.attacks import ATTACKS, invert, observe
from gleak_lib.gradients import kernel_rows, layer_rules

GEOMETRIES = [  # kernel, padding, dilation, groups
    (1, 0, 1, 1),
    (5, 2, 1, 1),
    ((3, 5), (0, 2), 1, 1),
    ((4, 2), (1, 3), (2, 1), 1),
    (3, 1, (1, 2), 2),
]


def layer_and_maps(kernel, padding, dilation, groups, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(4, 6, kernel, padding=padding, dilation=dilation, groups=groups).to(dtype)
    x = torch.randn(3, 4, 7, 9, generator=g, dtype=dtype, requires_grad=True)
    grad = torch.randn(conv(x).shape, generator=g, dtype=dtype, requires_grad=True)
    return conv, x, grad


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_each_images_gradient_is_that_of_autograd(geometry):
    conv, x, grad = layer_and_maps(*geometry)
    found = kernel_rows.weight_gradients(conv, x, grad)
    for image in range(3):
        one = slice(image, image + 1)
        (expected,) = torch.autograd.grad(conv(x[one]), conv.weight, grad[one])
        torch.testing.assert_close(found[image], expected)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_derivatives_of_any_order(geometry):
    conv, x, grad = layer_and_maps(*geometry)

    def of(x, grad):
        return kernel_rows.weight_gradients(conv, x, grad)

    assert torch.autograd.gradcheck(of, (x, grad), fast_mode=True)
    assert torch.autograd.gradgradcheck(of, (x, grad), fast_mode=True)


def test_two_precisions_as_under_autocast():
    conv, x, grad = layer_and_maps(*GEOMETRIES[1], dtype=torch.float32)
    half = grad.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = kernel_rows.weight_gradients(conv, x, half)
    by_x, by_half = torch.autograd.grad(found.float().sum(), [x, half])
    assert by_x.dtype == torch.float32 and by_half.dtype == torch.bfloat16
    exact = kernel_rows.weight_gradients(conv, x, grad)
    torch.testing.assert_close(found.float(), exact, rtol=0.05, atol=0.2)
    torch.testing.assert_close(by_x, torch.autograd.grad(exact.sum(), x)[0], rtol=0.05, atol=0.2)


def test_the_rule_takes_it_for_large_maps_without_a_stride(monkeypatch):
    taken = []
    exact = kernel_rows.weight_gradients
    monkeypatch.setattr(kernel_rows, "weight_gradients", lambda *a: taken.append(a[0]) or exact(*a))
    for size, stride in [(14, 1), (14, 2), (4, 1)]:
        conv = nn.Conv2d(4, 3, 3, stride=stride, padding=1)
        x = torch.randn(2, 4, size, size)
        grad = torch.randn_like(conv(x))
        weight = layer_rules._conv2d(conv, x, grad, 2)["weight"]
        (expected,) = torch.autograd.grad(conv(x[:1]), conv.weight, grad[:1])
        torch.testing.assert_close(weight[0], expected, rtol=1e-4, atol=1e-4)
        assert bool(taken) == (size * stride == 14)
        taken.clear()


@pytest.mark.slow
def test_a_compiled_step_finds_the_same():
    model = models.build("cnn", bottlenecks=bottlenecks.CVB(1, 3), seed=0).double()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seen = observe(model, images, torch.tensor([1, 2]), generator=torch.Generator().manual_seed(1))
    attack = ATTACKS["ignore"].replace(max_steps=3)
    found = [
        invert(seen, attack, generator=torch.Generator().manual_seed(2), compile=compiled).loss
        for compiled in (False, True)
    ]
    torch.testing.assert_close(found[0], found[1])


def test_a_map_smaller_than_its_kernel_gives_what_the_layer_gives():
    conv = nn.Conv2d(2, 2, 5, padding=3)
    x = torch.randn(1, 2, 2, 2)
    grad = torch.ones_like(conv(x))
    (expected,) = torch.autograd.grad(conv(x), conv.weight, grad)
    torch.testing.assert_close(kernel_rows.weight_gradients(conv, x, grad)[0], expected)
