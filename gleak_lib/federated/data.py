"""Resident images: checked once, kept as they are (uint8 takes a quarter), normalized as they are used."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gleak_lib.datasets.base import Pixels, Split
from gleak_lib.errors import DataError, ParameterError, ShapeError
from gleak_lib.pixels import rescaling


class Images:
    """Images and labels on the model's device; `self[index]` gives them normalized, (x - mean) / std.

    Args:
        split: a data set's split, or a pair: images N x C x H x W (uint8 or floats in [0, 1]), N labels.
        mean, std: pixel statistics for pixels in [0, 1], one value per channel or one for all; None takes
            those of these images.
        like: a tensor with the device and dtype that the model works in.
        what: how errors name the split.

    Raises:
        ShapeError: If images or labels have a wrong shape or dtype, or pixels are outside [0, 1].
        DataError: If there are no images at all.
        ParameterError: If mean or std do not fit the channels, or std is 0.
    """

    def __init__(
        self,
        split: Split | tuple[Tensor, Tensor],
        *,
        mean: Sequence[float] | float | None,
        std: Sequence[float] | float | None,
        like: Tensor,
        what: str = "training split",
    ) -> None:
        given, labels = (split.images, split.labels) if isinstance(split, Split) else split
        images, channels = (given.stored, given.channels) if isinstance(given, Pixels) else (given, None)
        if len(images) == 0:
            why = given.why_empty if isinstance(given, Pixels) else "Give it at least one."
            raise DataError(f"The {what} has no images. {why}")
        _check(images, labels, what)
        channels = channels or images.shape[1]  # gray images stand for all channels until they are used
        self.shape = (len(images), channels, *images.shape[2:])
        self.pixels = images.contiguous().to(like.device)
        self.labels = labels.flatten().long().to(like.device)
        self.dtype = like.dtype
        top = 255.0 if images.dtype == torch.uint8 else 1.0
        if mean is None or std is None:
            pairs = [torch.std_mean(channel.float(), correction=0) for channel in self.pixels.unbind(1)]
            mean = [float(m) / top for _, m in pairs] if mean is None else mean
            std = [float(s) / top for s, _ in pairs] if std is None else std
        self.mean, self.std = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
        if not all(s > 0 for s in self.std):
            raise ParameterError(f"std must be positive in every channel, got {self.std}: pass std yourself.")
        center, width = (
            torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (self.mean, self.std)
        )
        self._scale, self._shift = (1 / (top * width)).to(like), (-center / width).to(like)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        pixels = self.pixels[index].to(self.dtype)
        return torch.addcmul(self._shift, pixels, self._scale), self.labels[index]


def _check(images: Tensor, labels: Tensor, what: str) -> None:
    if images.dim() != 4:
        raise ShapeError(f"Images of the {what} must be N x C x H x W, got shape {tuple(images.shape)}.")
    if labels.numel() != len(images) or labels.is_floating_point():
        raise ShapeError(
            f"Labels of the {what} must be {len(images)} integers, one per image, got "
            f"shape {tuple(labels.shape)} and {labels.dtype}."
        )
    if images.is_floating_point():
        low, high = (float(v) for v in images.aminmax())
        if not (low >= 0 and high <= 1):
            raise ShapeError(
                f"Images of the {what} must be in [0, 1] or uint8, got [{low:.3g}, {high:.3g}]: "
                f"{rescaling(low, high, 'undo the normalization (train applies mean and std itself)')}."
            )
    elif images.dtype != torch.uint8:
        raise ShapeError(f"Images of the {what} must be uint8 or floats in [0, 1], got {images.dtype}.")


def _per_channel(name: str, values: Sequence[float] | float, channels: int) -> tuple[float, ...]:
    found = tuple(float(v) for v in ([values] if isinstance(values, (int, float)) else values))
    if len(found) not in (1, channels):
        raise ParameterError(
            f"{name} must have {channels} values, one per channel, or one for all; got {len(found)}."
        )
    return found * (channels // len(found))
