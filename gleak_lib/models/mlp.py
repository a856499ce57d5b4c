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
        norm: BatchNorm behind each hidden linear layer. Without it this is the deep MLP of PRECODE's
            supplement (000 §4; `dmlp`, 6,305,802 parameters), which puts PRECODE at positions 1 to 4 and says
            how many layers it has: width and activation are those of 001's MLP (same authors).
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
