"""Drawing the images that an attack has to find."""

import numpy as np
import torch
from torch import Tensor

from gleak_lib.datasets.base import ImageDataset, SplitName
from gleak_lib.errors import DataError, ParameterError
from gleak_lib.typed import typed

NAMES = {"train": "training", "val": "validation", "test": "test"}


@typed
def victims(
    dataset: ImageDataset,
    count: int,
    seed: int,
    *,
    batch_size: int = 1,
    distinct_labels: bool = False,
    among: Tensor | None = None,
    split: SplitName = "train",
    one_per_class: bool = False,
) -> tuple[Tensor, Tensor]:
    """Draw victims from a split's images, without replacement.

    The same seed gives the same victims on every machine, and the first k of a larger draw are the draw
    of k victims (for one batch size).

    Args:
        dataset: where to draw from.
        count: V, the number of victims.
        seed: of the draw.
        batch_size: B, images a victim.
        distinct_labels: no two images of one victim share a class, as GradInversion's label rule needs.
        among: N indices of the split's images to draw from, for instance those that one client trains on;
            None draws from all of them.
        split: `train`, `val` or `test`.
        one_per_class: no two victims, of one image each, share a class.

    Returns:
        Images V x C x H x W in [0, 1] and labels V; with `batch_size` above 1, V x B x C x H x W and V x B.

    Raises:
        ParameterError: If there are fewer images or distinct classes, a count is below 1, the seed is out of
            range, or `among` is no row of indices of that split's images.
        UnknownNameError: If there is no such split.
        DataError: If the split is empty; the message says why.
    """
    source = dataset.split(split)
    pool = np.arange(len(source)) if among is None else _pool(among, dataset, split)
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed must be in 0 ... 2**32 - 1, got {seed}.")
    if count < 1 or batch_size < 1:
        raise ParameterError(f"count and batch_size must be at least 1, got {count} and {batch_size}.")
    if one_per_class and batch_size > 1:
        raise ParameterError(f"one_per_class is for victims of one image, got batch_size={batch_size}.")
    check_count(dataset, count, batch_size, None if among is None else len(pool), split)
    order = pool[np.random.RandomState(seed).permutation(len(pool))]  # this generator's stream is frozen
    if distinct_labels:
        order = _distinct(order, source.labels.numpy(), count, batch_size, dataset.name)
    if one_per_class:
        classes = len(source.labels[torch.from_numpy(pool)].unique())
        if count > classes:
            raise ParameterError(
                f"{count} victims of one class each need {count} classes, and the {NAMES[split]} images of "
                f"{dataset.name} have {classes}: take at most {classes}, or set one_per_class=False."
            )
        order = _distinct(order, source.labels.numpy(), 1, count, dataset.name)
    index = torch.from_numpy(order[: count * batch_size])
    images, labels = source[index]
    if batch_size == 1:
        return images, labels
    return images.unflatten(0, (count, batch_size)), labels.unflatten(0, (count, batch_size))


def _pool(among: Tensor, dataset: ImageDataset, split: SplitName) -> np.ndarray:
    """Return the indices as an array, none of them twice.

    Raises:
        ParameterError: If they are no integers, out of range, or repeated.
    """
    pool = among.cpu().numpy()
    fits = pool.ndim == 1 and pool.dtype.kind in "iu" and len(np.unique(pool)) == len(pool)
    total = len(dataset.split(split))
    if not fits or (pool < 0).any() or (pool >= total).any():
        raise ParameterError(
            f"among must be different indices of the {total} {NAMES[split]} images of {dataset.name}, "
            f"got {among.dtype} of shape {tuple(among.shape)}."
        )
    return pool


def check_count(
    dataset: ImageDataset,
    count: int,
    batch_size: int = 1,
    among: int | None = None,
    split: SplitName = "train",
) -> None:
    """Refuse to draw more images than there are.

    Args:
        dataset: where to draw from.
        count, batch_size, split: as for `victims`.
        among: how many of the split's images may be drawn; None means all.

    Raises:
        ParameterError: If there are fewer; the message says how many.
        DataError: If the split is empty.
    """
    source = dataset.split(split)
    if not len(source):
        raise DataError(source.images.why_empty)
    needed, total = count * batch_size, len(source) if among is None else among
    if needed > total:
        raise ParameterError(
            f"{count} victims of {batch_size} image(s) need {needed} images, but {dataset.name} "
            f"has {total} {NAMES[split]} images{'' if among is None else ' to draw from'}: lower count or "
            "batch_size."
        )


def _distinct(order: np.ndarray, labels: np.ndarray, count: int, batch_size: int, name: str) -> np.ndarray:
    """Fill one victim after the other with the first images whose class it lacks; the others wait."""
    waiting, chosen = order.tolist(), []
    for _ in range(count):
        seen: dict[int, int] = {}  # class -> place in `waiting`
        for place, image in enumerate(waiting):
            seen.setdefault(int(labels[image]), place)
            if len(seen) == batch_size:
                break
        else:
            raise ParameterError(
                f"{name} has not enough images for {count} victims of {batch_size} distinct classes: lower "
                "count or batch_size, or set distinct_labels=False."
            )
        chosen += [waiting[place] for place in seen.values()]
        taken = set(seen.values())
        end = max(taken) + 1
        waiting = [image for place, image in enumerate(waiting[:end]) if place not in taken] + waiting[end:]
    return np.array(chosen)
