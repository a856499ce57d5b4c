"""Every check of a stranger's pixels and labels; each message begins with where they come from."""

import numpy as np
import torch
from torch import Tensor

from gleak_lib.errors import DataError

CLASSES = 2**16  # most that a set may have: each is a row of the model's last layer


def pixels_of(images: np.ndarray, what: str) -> Tensor:
    """Return N x C x H x W uint8 of N x H x W or N x H x W x 3.

    Raises:
        DataError: another type or shape, or no image.
    """
    if images.dtype != np.uint8:
        raise DataError(f"{what} must be uint8 in 0 ... 255, got {images.dtype}.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise DataError(f"{what} must be N x H x W or N x H x W x 3, got {images.shape}.")
    if not images.size:
        raise DataError(f"{what} holds no image.")
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def victims_of(images: np.ndarray, source: str) -> Tensor:
    """Return V x C x H x W float32 in [0, 1].

    Raises:
        DataError: another type, shape or range, NaN, or no image.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype.kind != "f":
        raise DataError(
            f"{source}: images must be float V x C x H x W with C 1 or 3, got {images.dtype} {images.shape}."
        )
    if not images.size:
        raise DataError(f"{source}: images holds no image.")
    if not np.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        low, high = images.min(), images.max()
        raise DataError(f"{source}: images must be finite and in [0, 1], got [{low:.4g}, {high:.4g}].")
    return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))


def labels_of(labels: np.ndarray, count: int, what: str) -> Tensor:
    """Return N int64 of N or N x 1 integers.

    Raises:
        DataError: another type or shape, several labels an image, not one label for each of `count`, or one
            that is negative or no class of any set.
    """
    if labels.dtype.kind not in "iu":
        raise DataError(f"{what} must be integers, got {labels.dtype}.")
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(
            f"{what} has {labels.shape[1]} values an image: multi-label sets are not supported, one class an "
            "image is needed (N or N x 1)."
        )
    if labels.size != count or labels.ndim not in (1, 2):
        raise DataError(f"{what} must be N or N x 1 with N = {count} (the images), got {labels.shape}.")
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high >= CLASSES:
        raise DataError(
            f"{what} holds the label {low if low < 0 else high}, which is out of range: classes are numbered "
            f"from 0, and at most {CLASSES:,} are read."
        )
    return torch.from_numpy(labels.reshape(-1).astype(np.int64))


def check_range(labels: Tensor, num_classes: int, what: str) -> None:
    """Refuse labels beyond K - 1; that none is negative has been checked by `labels_of`.

    Raises:
        DataError: says which value is out of range.
    """
    high = int(labels.max())
    if high >= num_classes:
        raise DataError(
            f"{what} holds the label {high}, which is out of range: the {num_classes} classes are 0 to "
            f"{num_classes - 1}."
        )


def statistic_of(values: np.ndarray, key: str, channels: int, source: str) -> list[float]:
    """Return one finite float per channel.

    Raises:
        DataError: another number of values, not finite, or a deviation that is not above 0.
    """
    fits = values.dtype.kind == "f" and values.size == channels and np.isfinite(values).all()
    if not fits or (key == "std" and values.min() <= 0):
        raise DataError(f"{source}: {key} must be {channels} finite float(s), std above 0, got {values}.")
    return [float(value) for value in values.reshape(-1)]
