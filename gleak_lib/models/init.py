"""Initial weights: torch's defaults, the four schemes of 002, and DLG's own."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from gleak_lib.errors import unknown

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
