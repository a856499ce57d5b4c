"""The CVB paper's baseline CNN (001 Fig. 4)."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.models.base import StagedModel, feature_size
from gleak_lib.models.init import Init
from gleak_lib.models.layers import ACTIVATIONS


def cnn(
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: Sequence[Bottleneck] = (),
    activation: str = "relu",
    init: Init = "default",
) -> StagedModel:
    """Three 5x5 convolutions of stride 2 without padding (16, 32, 64 channels, ReLU), one linear layer.

    65,962 parameters for 3 x 32 x 32 images and ten classes. Positions 1 to 3.
    """
    act = ACTIVATIONS[activation]
    channels = (input_shape[0], 16, 32, 64)
    stages = [nn.Sequential(nn.Conv2d(c_in, c_out, 5, stride=2), act()) for c_in, c_out in pairwise(channels)]
    head = nn.Sequential(nn.Flatten(), nn.Linear(feature_size(stages, input_shape), num_classes))
    return StagedModel(stages, head, input_shape=input_shape, bottlenecks=bottlenecks, init=init)
