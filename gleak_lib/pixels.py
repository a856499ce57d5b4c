"""Between pixels in [0, 1] and what a model sees: (pixel - mean) / std, channel by channel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gleak_lib.errors import ShapeError


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (images - mean) / std.

    Args:
        images: ... x C x H x W in [0, 1].
        mean: the training pixels' mean, one value per channel.
        std: their standard deviation, one value per channel.

    Raises:
        ShapeError: `mean` or `std` does not have C values.
    """
    return (images - _per_channel(images, mean, "mean")) / _per_channel(images, std, "std")


def denormalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undo `normalize`: return images * std + mean, of the same shape.

    Raises:
        ShapeError: `mean` or `std` does not have C values.
    """
    return images * _per_channel(images, std, "std") + _per_channel(images, mean, "mean")


def spread(value: Sequence[float] | float, channels: int, what: str) -> tuple[float, ...]:
    """Return one value per channel.

    Raises:
        ShapeError: If there are several values, and not one per channel.
    """
    values = (float(value),) * channels if isinstance(value, (int, float)) else tuple(float(v) for v in value)
    if len(values) != channels:
        raise ShapeError(f"{what} must be one value or {channels}, one per channel, got {len(values)}.")
    return values


def rescaling(low: float, high: float, otherwise: str) -> str:
    """Return what to do with pixels from `low` to `high`, which are not in [0, 1]: for messages."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "some are NaN or infinite"
    return "divide them by 255" if low >= 0 and 2 < high <= 255 else otherwise


def _per_channel(images: Tensor, values: Sequence[float], what: str) -> Tensor:
    if images.ndim < 3 or images.shape[-3] != len(values):
        raise ShapeError(
            f"The {what} has {len(values)} value(s), but images of shape {tuple(images.shape)} need one a "
            "channel of ... x C x H x W."
        )
    return torch.as_tensor(tuple(values), dtype=images.dtype, device=images.device)[:, None, None]
