"""Models whose weights are multiplied by one number: what scale does, with everything else the same."""

from gleak_lib import models
from torch import nn


def scaled(*, model: str, gain: float, **options) -> nn.Module:
    """Return a model of the registry, or `module:function`, with all weights times `gain`; biases stay.

    Args:
        model: its name.
        gain: of every convolution and linear layer.
        options: passed on to `models.build` or `models.build_own`.
    """
    network = (models.build_own if ":" in model else models.build)(model, **options)
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.weight.data.mul_(gain)
    return network
