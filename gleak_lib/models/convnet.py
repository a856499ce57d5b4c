"""The ConvNet with eight convolutions that 004 §6-A attacks by GIA."""

from collections.abc import Sequence

from torch import nn

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.models.base import StagedModel, feature_size
from gleak_lib.models.layers import ACTIVATIONS, NORMS, Init, require_positive

WIDTHS = (1, 2, 2, 4, 4, 4, 4, 4)  # channels of each convolution, in units of `width`
POOLED = (6, 8)  # convolutions, counted from 1, behind which the map is pooled


def convnet8(
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: Sequence[Bottleneck] = (),
    width: int = 32,
    norm: str = "batch",
    activation: str = "relu",
    init: Init = "default",
) -> StagedModel:
    """Eight 3x3 convolutions with BatchNorm and ReLU, 3x3 max-pools after the sixth and eighth, one linear.

    733,642 parameters for 3 x 32 x 32 images and ten classes. Positions 1 to 8, each behind a convolution's
    activation and pool.

    004 says no more than "8 convolutional layers, then 1 fully-connected layer" for its attack with the
    cosine distance; the rest is the ConvNet of that attack's public code (Geiping et al., 2020), which has
    w, 2w, 2w, 4w, ... channels and widths of 32 and 64.

    Args:
        input_shape: C, H, W of one image; H and W at least 9.
        num_classes: number of logits.
        bottlenecks: specifications; positions 1 to 8.
        width: w.
        norm: `batch`, `group` (2 groups) or `none`.
        activation: see `ACTIVATIONS`.
        init: see `gleak_lib.models.layers.initialize`.
    """
    require_positive(width=width)
    act, normalize = ACTIVATIONS[activation], NORMS[norm]
    stages, before = [], input_shape[0]
    for number, factor in enumerate(WIDTHS, start=1):
        channels = factor * width
        layers = [nn.Conv2d(before, channels, 3, padding=1), normalize(channels), act()]
        stages.append(nn.Sequential(*layers, *([nn.MaxPool2d(3)] if number in POOLED else [])))
        before = channels
    head = nn.Sequential(nn.Flatten(), nn.Linear(feature_size(stages, input_shape), num_classes))
    return StagedModel(stages, head, input_shape=input_shape, bottlenecks=bottlenecks, init=init)
