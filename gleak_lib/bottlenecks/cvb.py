"""The convolutional variational bottleneck (001 §IV): convolutional encoder, 1x1 convolution as decoder."""

import math
from dataclasses import dataclass, field

from torch import nn

from gleak_lib.bottlenecks.base import Bottleneck, KLForm, VariationalBottleneck, check_memory
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.typed import typed


@typed
@dataclass(frozen=True)
class CVB(Bottleneck):
    """Specification of a CVB: K_E = scale * channels kernels for mu and as many for sigma, no biases.

    It adds 2 * kernel_size^2 * c * K_E + K_E * c parameters for c channels (001 §IV). Zero padding keeps
    the map's size. Tokens (P x F, as in a ViT) are seen as P channels of a sqrt(F) x sqrt(F) map
    (001 §VI-D), a vector of F features as F channels of a 1 x 1 map. The text leaves open how sigma is kept
    positive: sigma = softplus(clip(raw, -5, 5)) is the paper's public code's.

    Attributes:
        kernel_size: k_E, odd.
        scale: s_E, kernels relative to the channels that come in.
        position, beta, sigma_floor: see `Bottleneck`.
        kl: form of the KL term; the default is the public code's, with which the paper's tables were made.
    """

    kernel_size: int = 5
    scale: float = 0.5
    beta: float = field(default=0.1, kw_only=True)
    kl: KLForm = field(default="paper-code", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ParameterError(f"CVB's kernel_size must be odd and positive, got {self.kernel_size}.")
        if not 0 < self.scale < math.inf:
            raise ParameterError(f"CVB's scale must be positive and finite, got {self.scale}.")

    def build(self, shape: tuple[int, ...]) -> VariationalBottleneck:
        """Build the module for features of `shape`: C x H x W, P x F or F.

        Raises:
            ShapeError: If the shape is of tokens whose F is not a square number, or another one.
            ParameterError: If its training would not fit into memory.
        """
        channels, height, width = _as_map(shape)
        kernels = max(1, round(self.scale * channels))
        padding = self.kernel_size // 2
        entries = 2 * self.kernel_size**2 * channels * kernels + kernels * channels
        check_memory(entries, f"Training a CVB with kernel_size={self.kernel_size} and scale={self.scale:g}")
        return self.around(
            nn.Conv2d(channels, 2 * kernels, self.kernel_size, padding=padding, bias=False),
            nn.Conv2d(kernels, channels, 1, bias=False),
            shape,
            inner_shape=(channels, height, width),
            noise_shape=(kernels, height, width),
        )


def _as_map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    if len(shape) == 1:
        return shape[0], 1, 1
    if len(shape) == 2:
        side = math.isqrt(shape[1])
        if side * side == shape[1]:
            return shape[0], side, side
        raise ShapeError(f"A CVB on tokens needs a square number of features, got {shape[1]} (001 §VI-D).")
    raise ShapeError(f"A CVB needs features C x H x W, P x F or F, got shape {shape}.")
