"""The CNN of the paper on federated averaging (McMahan et al., 2016), which 002 attacks."""

from collections.abc import Sequence

from torch import nn

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.models.base import StagedModel, feature_size
from gleak_lib.models.init import Init
from gleak_lib.models.layers import ACTIVATIONS, require_positive


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
        init: see `gleak_lib.models.init.initialize`.
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
