"""Init schemes: moments and bounds of the weights, what is left alone, and what a seed decides."""

import math
from typing import get_args

import pytest
import torch
from torch import nn

from gleak_lib import models
from gleak_lib.bottlenecks import CVB

FAN_IN, FAN_OUT = 3072, 1024
EXPECTED = {  # standard deviation of the first layer of the deep MLP, 002's formulas
    "default": math.sqrt(1 / 3 / FAN_IN),
    "xavier_normal": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "xavier_uniform": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "kaiming_normal": math.sqrt(2 / FAN_IN),
    "kaiming_uniform": math.sqrt(2 / FAN_IN),
    "dlg": math.sqrt(1 / 12),
}


@pytest.mark.parametrize("scheme", get_args(models.Init))
def test_spread_of_the_weights(scheme):
    weight = models.build("dmlp", init=scheme, seed=0).stage1[1].weight
    assert abs(weight.mean()) < 0.01 * weight.std()
    assert weight.std().item() == pytest.approx(EXPECTED[scheme], rel=0.005)
    widest = weight.abs().max().item() / EXPECTED[scheme]
    assert widest > 4 if scheme.endswith("_normal") else widest == pytest.approx(math.sqrt(3), rel=1e-3)


def layers_of(name, scheme):
    """Each layer's weights with its fans: inputs and outputs of one unit, times the kernel's entries."""
    options = {"norm": "batch"} if name == "resnet18" else {}
    model = models.build(name, init=scheme, seed=1, **options)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            yield layer.weight, layer.in_features, layer.out_features
        elif isinstance(layer, nn.Conv2d):
            kernel = math.prod(layer.kernel_size)
            yield layer.weight, layer.in_channels * kernel, layer.out_channels * kernel


@pytest.mark.parametrize(("name", "count"), [("mcmahan_cnn", 4), ("resnet18", 21)])
@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("scheme", ["xavier", "kaiming"])
def test_every_layer_has_the_deviation_and_bound_of_002(name, count, kind, scheme):
    """Kaiming: gain/sqrt(fan), gain sqrt(3/fan); Xavier: sqrt(2/(in + out)), sqrt(6/(in + out))."""
    found = list(layers_of(name, f"{scheme}_{kind}"))
    assert len(found) == count
    for weight, fan_in, fan_out in found:
        if scheme == "xavier":
            deviation, bound = math.sqrt(2 / (fan_in + fan_out)), math.sqrt(6 / (fan_in + fan_out))
        else:
            deviation, bound = math.sqrt(2) / math.sqrt(fan_in), math.sqrt(2) * math.sqrt(3 / fan_in)
        n, largest = weight.numel(), weight.abs().max().item()
        assert abs(weight.mean()) < 5 * deviation / math.sqrt(n)
        assert weight.std().item() == pytest.approx(deviation, rel=5 / math.sqrt(n))
        if kind == "uniform":
            assert (1 - 30 / n) * bound < largest <= (1 + 1e-6) * bound
        else:
            assert largest > 1.1 * bound  # a normal distribution has tails


@pytest.mark.parametrize("scheme", ["xavier_normal", "kaiming_uniform"])
@pytest.mark.parametrize("name", models.MODELS)
def test_a_scheme_zeroes_biases_and_leaves_norms_and_tokens_alone(name, scheme, small):
    plain, drawn = small(name), small(name, init=scheme)
    layers = [(n, m) for n, m in drawn.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    changed = {f"{n}.{p}" for n, m in layers for p, _ in m.named_parameters()}
    assert all(m.bias is None or not m.bias.any() for _, m in layers)
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, drawn.state_dict()[key]) is (key not in changed), key


def test_dlg_draws_biases_too(small):
    bias = small("lenet", init="dlg").stage1[0].bias
    assert 0.2 < bias.abs().max() <= 0.5


@pytest.mark.parametrize("name", models.MODELS)
def test_bottlenecks_stay_at_torchs_default_and_change_nothing(name, small):
    options = {"init": "kaiming_normal"}
    plain = small(name, **options).state_dict()
    guarded = small(name, bottlenecks=CVB(1, 1), **options)
    assert all(torch.equal(tensor, guarded.state_dict()[key]) for key, tensor in plain.items())
    encoder = guarded.bottleneck1.encoder.weight
    assert encoder.abs().max() <= 1 / math.sqrt(encoder[0].numel())


def test_default_is_torchs_and_for_the_resnet_torchvisions():
    torch.manual_seed(3)
    first = nn.Conv2d(3, 12, 5)
    assert torch.equal(models.build("lenet", seed=3).stage1[0].weight, first.weight)
    weight = models.build("resnet18", seed=0).stage4.block2.conv2.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.01)
