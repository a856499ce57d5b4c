"""Plain CNNs: the CVB paper's baseline (001 Fig. 4), and that of McMahan et al. (2016), attacked in 002."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.models.base import StagedModel, feature_size
from gleak_lib.models.layers import ACTIVATIONS, Init, require_positive


def mcmahan_cnn(
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: Sequence[Bottleneck] = (),
    hidden: int = 512,
    activation: str = "relu",
    init: Init = "default",
) -> StagedModel:
    """Two 5x5 convolutions (32, 64 channels), each with a 2x2 max-pool, a linear layer of 512, the output.

    Padding 2 keeps the maps' sizes, which gives the 1,663,370 parameters that McMahan et al. report for
    1 x 28 x 28 images and ten classes; 2,156,490 for 3 x 32 x 32.

    Args:
        input_shape: C, H, W of one image; H and W at least 4.
        num_classes: number of logits.
        bottlenecks: specifications; positions 1 and 2 behind the pools, 3 behind the linear layer.
        hidden: features of the linear layer.
        activation: `relu` or `sigmoid` in 002.
        init: see `gleak_lib.models.layers.initialize`.
    """
    require_positive(hidden=hidden)
    act = ACTIVATIONS[activation]
    stages = [
        nn.Sequential(nn.Conv2d(input_shape[0], 32, 5, padding=2), act(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(32, 64, 5, padding=2), act(), nn.MaxPool2d(2)),
    ]
    features = feature_size(stages, input_shape)
    stages.append(nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), act()))
    head = nn.Linear(hidden, num_classes)
    return StagedModel(stages, head, input_shape=input_shape, bottlenecks=bottlenecks, init=init)


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
