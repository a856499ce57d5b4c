"""The LeNet of DLG and iDLG (000, 004 §6-A)."""

from collections.abc import Sequence

from torch import nn

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.errors import ParameterError
from gleak_lib.models.base import StagedModel, feature_size
from gleak_lib.models.layers import ACTIVATIONS, Init

CHANNELS = 12
STRIDES = (2, 2, 1, 1)


def lenet(
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: Sequence[Bottleneck] = (),
    convs: int = 3,
    activation: str = "sigmoid",
    init: Init = "default",
) -> StagedModel:
    """5x5 convolutions of 12 channels (strides 2, 2, 1 and a fourth of 1, padding 2), one linear layer.

    15,826 parameters for 3 x 32 x 32 images and ten classes. A position behind every convolution. Smooth
    activations suit second-order attacks; `init="dlg"` gives the wide weights that DLG's code attacks.

    Args:
        input_shape: C, H, W of one image.
        num_classes: number of logits.
        bottlenecks: specifications; positions 1 to `convs`.
        convs: convolutions, 1 to 4. Public code of DLG and iDLG has three, other versions of it four, as the
            LeNet that 004 §6-A attacks by DGA (`lenet4`, 19,438 parameters): 004 names only the layers, and
            channels, strides and activation are those of DLG's.
        activation: `sigmoid` in DLG's code.
        init: see `gleak_lib.models.layers.initialize`.
    """
    if convs not in range(1, len(STRIDES) + 1):
        raise ParameterError(f"convs must be 1 to {len(STRIDES)}, got {convs!r}.")
    act = ACTIVATIONS[activation]
    channels = (input_shape[0], *[CHANNELS] * convs)
    stages = [
        nn.Sequential(nn.Conv2d(channels[i], CHANNELS, 5, STRIDES[i], padding=2), act()) for i in range(convs)
    ]
    head = nn.Sequential(nn.Flatten(), nn.Linear(feature_size(stages, input_shape), num_classes))
    return StagedModel(stages, head, input_shape=input_shape, bottlenecks=bottlenecks, init=init)
