"""Torchvision's classifiers: per-victim gradients against an ordinary backward() of each client's own model.

Small images and the smallest variants. Those marked slow take ten seconds a model on one core and
are left out by `-m 'not slow'`; their classes are also tried at a smaller size.
"""

import copy
import warnings

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models import SwinTransformer, convnext

from gleak_lib import gradients

CLASSES, VICTIMS = 3, 2


def _vgg11() -> nn.Module:
    """With a classifier that fits into memory."""
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"])
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


def _convnext() -> nn.Module:
    blocks = [convnext.CNBlockConfig(8, 12, 2), convnext.CNBlockConfig(12, None, 1)]
    return convnext.ConvNeXt(blocks, num_classes=CLASSES)


def _swin() -> nn.Module:
    return SwinTransformer(
        [4, 4], 12, depths=[2, 1], num_heads=[2, 2], window_size=[4, 4], num_classes=CLASSES
    )


def _named(name: str, **options):
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options)


MODELS = {
    "resnet18": (_named("resnet18"), 32),
    "densenet121": (_named("densenet121"), 32),
    "googlenet": (_named("googlenet", init_weights=False), 32),
    "mobilenet_v2": (_named("mobilenet_v2"), 32),
    "mobilenet_v3_small": (_named("mobilenet_v3_small"), 32),
    "efficientnet_b0": (_named("efficientnet_b0"), 32),
    "shufflenet_v2_x0_5": (_named("shufflenet_v2_x0_5"), 32),
    "squeezenet1_1": (_named("squeezenet1_1"), 32),
    "mnasnet0_5": (_named("mnasnet0_5"), 32),
    "regnet_y_400mf": (_named("regnet_y_400mf"), 32),
    "vgg11": (_vgg11, 32),
    "convnext": (_convnext, 32),
    "swin": (_swin, 32),
    "convnext_tiny": (_named("convnext_tiny"), 32),
    "swin_t": (_named("swin_t"), 32),
}
SLOW = ("convnext_tiny", "swin_t")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in MODELS])
def test_gradients_are_those_of_a_clients_own_backward(name):
    make, side = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    x, labels = torch.randn(VICTIMS, 3, side, side), torch.arange(VICTIMS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # vmap's own
        found, _ = gradients.per_victim_gradients(gradients.prepare(model, 1), x, labels, victims=VICTIMS)
    assert list(found) == [n for n, _ in model.named_parameters()]
    for victim in range(VICTIMS):
        client = copy.deepcopy(model)
        F.cross_entropy(client(x[victim : victim + 1]), labels[victim : victim + 1]).backward()
        for n, p in client.named_parameters():
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            size = float(expected.abs().max())
            assert float((found[n][victim] - expected).abs().max()) <= 1e-3 * size + 1e-9, n
