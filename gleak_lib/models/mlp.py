"""Multi-layer perceptrons: of 001's appendix (Table VII) and of PRECODE's supplement (000 §4)."""

import math
from collections.abc import Sequence

from torch import nn

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.models.base import StagedModel
from gleak_lib.models.layers import ACTIVATIONS, Init, require_positive


def mlp(
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: Sequence[Bottleneck] = (),
    depth: int = 4,
    width: int = 1024,
    bias: bool = True,
    norm: bool = True,
    activation: str = "relu",
    init: Init = "default",
) -> StagedModel:
    """Four linear layers of 1,024, each with BatchNorm and ReLU, and a linear output (001 appendix).

    6,313,994 parameters for 3 x 32 x 32 images and ten classes, 6,309,888 without biases. BatchNorm in
    training mode needs batches of more than one image: attack single images in evaluation mode.

    Args:
        input_shape: C, H, W of one image.
        num_classes: number of logits.
        bottlenecks: specifications; positions 1 to `depth`, each behind an activation.
        depth: hidden layers.
        width: features of each.
        bias: whether the linear layers, the output included, have biases. 001 removes "the bias weights
            from all fully connected layers", so BatchNorm keeps its shift either way. Mind that in
            evaluation mode the shift's gradient is the missing bias's up to a known factor a neuron.
        norm: BatchNorm behind each hidden linear layer.
        activation: see `ACTIVATIONS`.
        init: see `gleak_lib.models.layers.initialize`.
    """
    require_positive(depth=depth, width=width)
    act = ACTIVATIONS[activation]
    stages, before = [], math.prod(input_shape)
    for position in range(1, depth + 1):
        layers: list[nn.Module] = [nn.Flatten()] if position == 1 else []
        layers.append(nn.Linear(before, width, bias=bias))
        layers += [nn.BatchNorm1d(width), act()] if norm else [act()]
        stages.append(nn.Sequential(*layers))
        before = width
    head = nn.Linear(width, num_classes, bias=bias)
    return StagedModel(stages, head, input_shape=input_shape, bottlenecks=bottlenecks, init=init)


def dmlp(
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: Sequence[Bottleneck] = (),
    width: int = 1024,
    bias: bool = True,
    activation: str = "relu",
    init: Init = "default",
) -> StagedModel:
    """The deep MLP of PRECODE's supplement: four hidden linear layers and a linear output (000 §4).

    6,305,802 parameters for 3 x 32 x 32 images and ten classes. Positions 1 to 4, the four places where
    000 puts PRECODE. 000 gives the number of layers only; width and activation are those of 001's MLP
    (same authors), without its BatchNorm, of which 000 says nothing.
    """
    return mlp(
        input_shape=input_shape,
        num_classes=num_classes,
        bottlenecks=bottlenecks,
        width=width,
        bias=bias,
        norm=False,
        activation=activation,
        init=init,
    )
