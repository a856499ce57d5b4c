"""What several architectures share: activations and norms by name, initial weights, checks of sizes."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from gleak_lib.errors import ParameterError, unknown
from gleak_lib.registry import Registry

Init = Literal["default", "xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform", "dlg"]

SCHEMES: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "kaiming_normal": nn.init.kaiming_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
}


def initialize(module: nn.Module, scheme: Init = "default") -> None:
    """Draw the weights of every convolution and linear layer in `module` anew, in place.

    The gains are those of torch's functions when called with a weight alone: 1 for Xavier, sqrt(2) (fan in)
    for Kaiming, whatever the activation; 002 names the functions and no gain. Norms, class tokens and
    position embeddings keep what they have.

    Args:
        module: what to initialize.
        scheme: `default` leaves everything as it is, which is torch's default, or for a ResNet
            torchvision's. The Xavier and Kaiming schemes set biases to zero, of which 002 says nothing.
            `dlg` draws weights and biases from U(-0.5, 0.5), as the code of DLG and iDLG does.

    Raises:
        UnknownNameError: a scheme that there is not.
    """
    if scheme not in get_args(Init):
        raise unknown("init scheme", scheme, get_args(Init))
    if scheme == "default":
        return
    for layer in module.modules():
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            continue
        if scheme == "dlg":
            for parameter in layer.parameters(recurse=False):
                nn.init.uniform_(parameter, -0.5, 0.5)
            continue
        SCHEMES[scheme](layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = Registry(
    "activation",
    {
        "relu": nn.ReLU,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "leaky_relu": nn.LeakyReLU,
        "gelu": nn.GELU,
        "softplus": nn.Softplus,
    },
)

NORMS: dict[str, Callable[[int], nn.Module]] = Registry(
    "normalization",
    {
        "group": lambda channels: nn.GroupNorm(2, channels),
        "batch": nn.BatchNorm2d,
        "none": lambda _channels: nn.Identity(),
    },
)


def require_positive(**sizes: int) -> None:
    """Refuse sizes that are not integers of at least 1, naming the first."""
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ParameterError(f"{name} must be an integer of at least 1, got {value!r}.")
