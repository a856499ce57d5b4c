"""From arrays of any source to an `ImageDataset`: resizing, statistics, and what a set must hold."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gleak_lib import memory
from gleak_lib.datasets.base import ImageDataset, Pixels, Split
from gleak_lib.datasets.validate import check_range, labels_of, pixels_of, statistic_of, victims_of
from gleak_lib.errors import DataError, ParameterError, unknown

PART = 4096  # images resized at once: as floats of 32 x 32 they take 50 MB, a whole set would take 700
Arrays = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Images and labels by split ("train", "test", maybe "val"), as they lie on disk."""

Statistics = Literal["resized", "original"]
"""Of which training images the pixel statistics are: those that models see, or those that lie on disk."""
STATISTICS: tuple[Statistics, ...] = ("resized", "original")


def build(
    name: str,
    arrays: Arrays,
    *,
    source: str,
    num_classes: int | None = None,
    channels: int = 3,
    size: int = 32,
    statistics: Statistics = "resized",
) -> ImageDataset:
    """Check the arrays and make an image set of them.

    Args:
        name: what the set is called.
        arrays: split -> images (uint8, N x H x W or N x H x W x 3) and labels (integers, N or N x 1).
        source: where they come from; every message begins with it.
        num_classes: K; None takes it from the training labels.
        channels: 3 replicates gray images (as the CVB paper does); 1 keeps them gray.
        size: height and width that all images are resized to (bilinear, antialiased).
        statistics: `resized` takes mean and std of the training images after resizing, as models see them;
            `original` before, as the CVB paper's code does (MNIST 0.1307 / 0.3081). Resizing
            smooths, so that the first std is the smaller one.

    Raises:
        DataError: a wrong shape, type, length or label, or no image at all.
        ParameterError: color images and `channels=1`.
        UnknownNameError: another kind of statistics.
    """
    check_statistics(statistics)
    images = {split: pixels_of(values, f"{source}: {split}_images") for split, (values, _) in arrays.items()}
    labels = {
        split: labels_of(values, len(images[split]), f"{source}: {split}_labels")
        for split, (_, values) in arrays.items()
    }
    num_classes = num_classes or int(labels["train"].max()) + 1
    for split, values in labels.items():
        check_range(values, num_classes, f"{source}: {split}_labels")
    original = images["train"]
    images = {split: resize(values, size) for split, values in images.items()}
    mean, std = moments(original if statistics == "original" else images["train"], source)
    splits = {split: Split(show(images[split], channels, source), labels[split]) for split in images}
    val = splits.get("val") or empty(
        splits["train"], f"{name} has no validation images: take some of `train`."
    )
    mean, std = repeat(mean, channels), repeat(std, channels)
    return ImageDataset(name, splits["train"], val, splits["test"], num_classes, mean, std, source)


def build_victims(
    name: str,
    arrays: Mapping[str, np.ndarray],
    *,
    source: str,
    num_classes: int | None = None,
    channels: int = 3,
    size: int = 32,
    statistics: Statistics = "resized",
) -> ImageDataset:
    """Make an image set of a victims archive: a few training images to attack, nothing to train on.

    Arguments and errors are those of `build`, but for `arrays`: `images` (float in [0, 1], V x C x H x W),
    `labels` (V or V x 1), maybe `mean` and `std` (C), else the statistics are those of the victims.
    """
    check_statistics(statistics)
    original = victims_of(arrays["images"], source)
    images = resize(original, size)
    labels = labels_of(arrays["labels"], len(images), f"{source}: labels")
    num_classes = num_classes or int(labels.max()) + 1
    check_range(labels, num_classes, f"{source}: labels")
    if "mean" in arrays and "std" in arrays:
        mean, std = (statistic_of(arrays[key], key, images.shape[1], source) for key in ("mean", "std"))
    else:
        mean, std = moments(original if statistics == "original" else images, source)
    train = Split(show(images, channels, source), labels)
    nothing = empty(train, f"{name} holds {len(train)} victims only, no image to train or test on.")
    mean, std = repeat(mean, channels), repeat(std, channels)
    return ImageDataset(name, train, nothing, nothing, num_classes, mean, std, source, victims_only=True)


def resize(images: Tensor, size: int) -> Tensor:
    """Return N x C x size x size of the same type, bilinear and antialiased; uint8 is rounded.

    Raises:
        ParameterError: images of that size would not fit into memory.
    """
    if images.shape[-2:] == (size, size):
        return images
    count, channels = images.shape[:2]
    floats = 8 * min(count, PART) * size**2  # before and after rounding
    memory.require(
        channels * (2 * count * images.element_size() * size**2 + floats), f"{count:,} images at size {size}"
    )
    parts = []
    for part in images.split(PART):
        floats = functional.interpolate(part.float(), (size, size), mode="bilinear", antialias=True)
        parts.append(floats.round().clamp(0, 255).to(torch.uint8) if part.dtype == torch.uint8 else floats)
    return torch.cat(parts)


def check_statistics(statistics: str) -> None:
    """Refuse what is no kind of pixel statistics, with an `UnknownNameError`."""
    if statistics not in STATISTICS:
        raise unknown("kind of pixel statistics", statistics, STATISTICS)


def moments(images: Tensor, source: str) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel of N x C x H x W, of pixels in [0, 1].

    uint8 pixels are counted, so that the figures do not depend on the order of a sum.

    Raises:
        DataError: a channel is constant, so that its deviation cannot normalize it.
    """
    means, stds = [], []
    for channel in images.unbind(1):
        if channel.dtype == torch.uint8:
            share = torch.bincount(channel.flatten(), minlength=256).numpy() / channel.numel()
            values = np.arange(256) / 255
            means.append(float(share @ values))
            stds.append(float(np.sqrt(share @ (values - means[-1]) ** 2)))
        else:
            means.append(channel.double().mean().item())
            stds.append(channel.double().std(correction=0).item())
    if min(stds) == 0:
        raise DataError(f"{source}: the training images have a constant channel and cannot be normalized.")
    return means, stds


def show(images: Tensor, channels: int, source: str) -> Pixels:
    """Return the images with `channels` channels: gray ones replicated, others as they are, or an error."""
    if images.shape[1] not in (1, channels) or channels not in (1, 3):
        raise ParameterError(f"{source} has {images.shape[1]} channel(s); channels={channels} does not fit.")
    return Pixels(images, channels)


def repeat(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return one value per channel, where gray images have a single one."""
    return tuple(values) * channels if len(values) == 1 else tuple(values)


def empty(like: Split, reason: str) -> Split:
    """Return a split without images, which says `reason` to whoever indexes it."""
    return Split(Pixels(like.images.stored[:0], like.images.channels, reason), like.labels[:0])
