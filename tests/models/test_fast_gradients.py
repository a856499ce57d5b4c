"""Every model's gradients on the fast path against vmap and a plain loop, to the second order, float64."""

import pytest
import torch
from torch import nn

from gleak_lib import gradients
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import ShapeError

VICTIMS = 2
CASES = [
    # model, options, bottlenecks, batch size, training mode
    *[(name, {}, (), batch, False) for name in ("lenet", "mcmahan_cnn", "dmlp", "vit") for batch in (1, 2)],
    ("lenet4", {"activation": "tanh"}, CVB(2, 3), 2, False),
    ("mcmahan_cnn", {"activation": "sigmoid"}, (PRECODE(3, 2), CVB(1, 3)), 1, False),
    ("dmlp", {"bias": False, "activation": "leaky_relu"}, PRECODE(2, 3), 2, False),
    ("mlp", {}, (), 1, False),
    ("mlp", {"bias": False}, PRECODE(1, 3), 2, False),
    ("dmlp", {}, PRECODE(4, 3, bias=True, sigma="softplus", kl="bits"), 2, False),
    ("mlp", {}, CVB(3, 1), 3, True),
    ("convnet8", {}, (), 1, False),
    ("convnet8", {}, CVB(5, 3), 2, True),
    ("convnet8", {"norm": "group", "activation": "sigmoid"}, (), 2, False),
    ("resnet18", {}, (), 1, False),
    ("resnet18", {}, CVB(1, 3), 2, False),
    ("resnet18", {"norm": "batch"}, PRECODE(2, 3), 1, False),
    ("resnet18", {"norm": "batch"}, (), 2, True),
    ("vit", {"bias": True}, CVB(1, 3), 2, False),
    ("vit", {"position_embedding": False}, PRECODE(2, 3), 1, False),
    ("vit", {"norm_eps": 0.3, "activate_output": False}, (), 2, False),
]


def case(small, name, options, bottlenecks, batch, train):
    torch.manual_seed(0)
    model = small(name, bottlenecks=bottlenecks, **options).double().train(train)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    x = torch.randn(VICTIMS * batch, *model.input_shape, dtype=torch.double, requires_grad=True)
    labels = torch.randint(0, 3, (VICTIMS * batch,))
    noise = [torch.randn(len(x), *s, dtype=torch.double) for s in model.noise_shapes]
    return gradients.prepare(model, batch), x, labels, noise


def derivatives(model, x, labels, noise, method):
    """Gradients, and the derivative by the images of a weighted sum of their squares."""
    grads, _ = gradients.per_victim_gradients(
        model, x, labels, victims=VICTIMS, noise=noise, method=method, create_graph=True
    )
    weights = {n: torch.linspace(0.1, 1, g[0].numel()).view(g[0].shape) for n, g in grads.items()}
    mix = sum((g.square() * weights[n]).sum() for n, g in grads.items())
    return grads, torch.autograd.grad(mix, x)[0]


def assert_equal(actual, expected, what):
    atol = 1e-9 * expected.abs().max().item() + 1e-14  # a bias before BatchNorm has gradient zero
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=atol, msg=lambda m: f"{what}: {m}")


@pytest.mark.parametrize(("name", "options", "bottlenecks", "batch", "train"), CASES)
def test_fast_path_vmap_and_loop_agree(name, options, bottlenecks, batch, train, small):
    inputs = case(small, name, options, bottlenecks, batch, train)
    assert gradients.supports_fast(inputs[0])
    expected, second = derivatives(*inputs, "loop")
    assert second.abs().max() > 0
    for method in ("fast", "vmap"):
        grads, other = derivatives(*inputs, method)
        assert list(grads) == list(expected)
        for parameter in expected:
            assert_equal(grads[parameter], expected[parameter], f"{method} {parameter}")
        assert_equal(other, second, f"{method}, second order")


def test_vit_against_finite_differences(small):
    model, x, labels, _ = case(small, "vit", {}, (), 1, False)

    def mix(images):
        grads, _ = gradients.per_victim_gradients(model, images, labels, victims=VICTIMS, create_graph=True)
        return sum(g.square().sum() for g in grads.values())

    assert torch.autograd.gradcheck(mix, (x,), atol=1e-5, fast_mode=True)


def test_batchnorm_of_single_values_is_refused(small):
    """One image a victim and one value per channel: nothing is left of the input, as torch says too."""
    model = gradients.prepare(small("mlp").train(), 1)
    with pytest.raises(ShapeError, match=r"one value per channel.*model\.eval\(\)"):
        model(torch.rand(2, 2, 4, 4))
