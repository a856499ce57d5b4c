"""ResNet-18 in stages, with the architecture of torchvision's."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.errors import ParameterError
from gleak_lib.models.base import StagedModel
from gleak_lib.models.layers import ACTIVATIONS, NORMS, Init, require_positive

Make = Callable[[], nn.Module]
MakeNorm = Callable[[int], nn.Module]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with norms around a shortcut, which is a 1x1 convolution where sizes change."""

    def __init__(self, before: int, channels: int, stride: int, norm: MakeNorm, act: Make) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.norm1 = norm(channels)
        self.act1 = act()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = norm(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), norm(channels))
        self.act2 = act()

    def forward(self, x: Tensor) -> Tensor:
        """Map N x before x H x W to N x channels x H/stride x W/stride."""
        y = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18(
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: Sequence[Bottleneck] = (),
    norm: str = "group",
    width: int = 64,
    activation: str = "relu",
    init: Init = "default",
) -> StagedModel:
    """ResNet-18: 7x7 stem of stride 2, max-pool, four residual stages of two blocks, mean, linear output.

    11,181,642 parameters for 3-channel images and ten classes. Position P is behind the P-th residual
    stage (torchvision's `layerP`); the stem belongs to the first, so that position 1 is "after the first
    residual stage", where 001 §VI-D puts its CVB of K_E = 32 kernels.

    Args:
        input_shape: C, H, W of one image.
        num_classes: number of logits.
        bottlenecks: specifications; positions 1 to 4.
        norm: `group` (two groups, as in the CVB paper's code), `batch` (torchvision's; 002) or `none`.
        width: channels of the first residual stage; the others have 2, 4 and 8 times as many.
        activation: `relu`, and `sigmoid` in 002.
        init: `default` is torchvision's: Kaiming normal (fan out) for convolutions, torch's for the output.
    """
    require_positive(width=width)
    if norm == "group" and width % 2:
        raise ParameterError(f"width must be even for GroupNorm with two groups, got {width}.")
    act, make_norm = ACTIVATIONS[activation], NORMS[norm]
    stem = nn.Sequential(
        nn.Conv2d(input_shape[0], width, 7, stride=2, padding=3, bias=False),
        make_norm(width),
        act(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    stages, before = [], width
    for number in range(4):
        channels = width * 2**number
        parts: OrderedDict[str, nn.Module] = OrderedDict(stem=stem) if number == 0 else OrderedDict()
        parts["block1"] = BasicBlock(before, channels, 1 if number == 0 else 2, make_norm, act)
        parts["block2"] = BasicBlock(channels, channels, 1, make_norm, act)
        stages.append(nn.Sequential(parts))
        before = channels
    for layer in nn.ModuleList(stages).modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))
    return StagedModel(stages, head, input_shape=input_shape, bottlenecks=bottlenecks, init=init)
