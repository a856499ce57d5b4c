"""What several architectures share: activations by name, normalizations by name, checks of sizes."""

from collections.abc import Callable

from torch import nn

from gleak_lib.errors import ParameterError
from gleak_lib.registry import Registry

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = Registry(
    "activation",
    {
        "relu": nn.ReLU,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "leaky_relu": nn.LeakyReLU,
        "gelu": nn.GELU,
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
