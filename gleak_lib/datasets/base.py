"""What `load` returns: uint8 images, given as floats in [0, 1] where they are asked for."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gleak_lib.errors import DataError, ShapeError, unknown

SPLITS = ("train", "val", "test")
SplitName = Literal["train", "val", "test"]
Index = Any  # whatever indexes the first axis of a tensor: int, slice, list, integer or boolean tensor


class Pixels:
    """N x C x H x W images, kept as uint8 (gray ones once) and given as float32 in [0, 1] when indexed.

    `pixels[3]` is C x H x W; `pixels[:8]`, `pixels[[1, 5]]` and `pixels[tensor]` are N x C x H x W.
    50,000 color images of 32 x 32 take 150 MB this way; as floats they would take 600 MB.

    Attributes:
        stored: N x (1 or C) x H x W, uint8, or float in [0, 1].
        channels: C; a single stored channel stands for all of them.
        why_empty: what to say to somebody who indexes a set without images.
    """

    def __init__(self, stored: Tensor, channels: int | None = None, why_empty: str = "There are no images."):
        """Keep `stored`, to be shown with `channels` channels (None: as many as it has).

        Raises:
            ShapeError: `stored` is no such tensor, or its channels are neither one nor `channels`.
        """
        if stored.ndim != 4 or not (stored.dtype == torch.uint8 or stored.is_floating_point()):
            raise ShapeError(
                f"Expected uint8 or float N x C x H x W, got {stored.dtype} {tuple(stored.shape)}."
            )
        self.stored = stored
        self.channels = channels or stored.shape[1]
        self.why_empty = why_empty
        if stored.shape[1] not in (1, self.channels):
            raise ShapeError(
                f"Only gray images can be replicated: {stored.shape[1]} channels, not {channels}."
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, C, H, W."""
        count, _, height, width = self.stored.shape
        return count, self.channels, height, width

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: Index) -> Tensor:
        if not len(self):
            raise DataError(self.why_empty)
        picked = self.stored[index]
        images = picked.float() / 255 if picked.dtype == torch.uint8 else picked.float()
        return images.expand(*images.shape[:-3], self.channels, *images.shape[-2:]).contiguous()

    def subset(self, index: Index) -> "Pixels":
        """Return the images at `index` (slice, list or tensor), still as they are stored."""
        return Pixels(self.stored[index], self.channels, self.why_empty)


@dataclass(frozen=True)
class Split:
    """Images and labels; `split[index]` is a pair, so that a `DataLoader` takes a split as it is.

    Attributes:
        images: N x C x H x W; indexing gives float32 in [0, 1].
        labels: N class indices, int64.
    """

    images: Pixels
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Index) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]

    def subset(self, index: Index) -> "Split":
        """Return the part of the split at `index` (slice, list or tensor), not converted."""
        return Split(self.images.subset(index), self.labels[index])


@dataclass(frozen=True)
class ImageDataset:
    """An image set as every model sees it: C x 32 x 32, whatever it looked like on disk.

    Attributes:
        name: the name it was loaded by.
        train, val, test: the splits; `val` is empty where the source has none. Indexing an empty split
            raises a `DataError` that says why it is empty.
        num_classes: K.
        mean, std: pixel statistics of the training images in [0, 1], one value per channel; of which form of
            them says the option `statistics` of `load`.
        source: where it was read from.
        victims_only: whether it holds only a few training images to attack, and none to train or test on.
    """

    name: str
    train: Split
    val: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    victims_only: bool = False

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """C, H, W of one image."""
        return self.train.images.shape[1:]

    def split(self, name: SplitName) -> Split:
        """Return the split of that name.

        Raises:
            UnknownNameError: If the name is not `train`, `val` or `test`.
        """
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
        return getattr(self, name)

    def require_training(self) -> None:
        """Refuse a set that nothing can be trained on.

        Raises:
            DataError: the set is a victims archive.
        """
        if self.victims_only:
            raise DataError(
                f"{self.name} holds {len(self.train)} victims only, nothing to train or test on: attack "
                "fresh weights (rounds=0), or load the whole image set."
            )
