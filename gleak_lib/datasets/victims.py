"""Drawing the images that an attack has to find."""

import numpy as np
import torch
from torch import Tensor

from gleak_lib.datasets.base import ImageDataset
from gleak_lib.errors import ParameterError
from gleak_lib.typed import typed


@typed
def victims(
    dataset: ImageDataset,
    count: int,
    seed: int,
    *,
    batch_size: int = 1,
    distinct_labels: bool = False,
    among: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw victims from the training images, without replacement.

    The same seed gives the same victims on every machine, and the first k of a larger draw are the draw
    of k victims (for one batch size).

    Args:
        dataset: where to draw from.
        count: V, the number of victims.
        seed: of the draw.
        batch_size: B, images a victim.
        distinct_labels: no two images of one victim share a class, as GradInversion's label rule needs.
        among: N indices of the training images to draw from, for instance those that one client trains on;
            None draws from all of them.

    Returns:
        Images V x C x H x W in [0, 1] and labels V; with `batch_size` above 1, V x B x C x H x W and V x B.

    Raises:
        ParameterError: more images or distinct classes than there are, a count below 1, a seed out of
            range; `among` is no row of indices of training images.
    """
    pool = np.arange(len(dataset.train)) if among is None else _pool(among, dataset)
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed must be in 0 ... 2**32 - 1, got {seed}.")
    if count < 1 or batch_size < 1:
        raise ParameterError(f"count and batch_size must be at least 1, got {count} and {batch_size}.")
    check_count(dataset, count, batch_size, None if among is None else len(pool))
    order = pool[np.random.RandomState(seed).permutation(len(pool))]  # this generator's stream is frozen
    if distinct_labels:
        order = _distinct(order, dataset.train.labels.numpy(), count, batch_size, dataset.name)
    index = torch.from_numpy(order[: count * batch_size])
    images, labels = dataset.train[index]
    if batch_size == 1:
        return images, labels
    return images.unflatten(0, (count, batch_size)), labels.unflatten(0, (count, batch_size))


def _pool(among: Tensor, dataset: ImageDataset) -> np.ndarray:
    """Return the indices as an array, none of them twice.

    Raises:
        ParameterError: no integers, out of range, or repeated.
    """
    pool = among.cpu().numpy()
    fits = pool.ndim == 1 and pool.dtype.kind in "iu" and len(np.unique(pool)) == len(pool)
    if not fits or (pool < 0).any() or (pool >= len(dataset.train)).any():
        raise ParameterError(
            f"among must be different indices of the {len(dataset.train)} training images of {dataset.name}, "
            f"got {among.dtype} of shape {tuple(among.shape)}."
        )
    return pool


def check_count(dataset: ImageDataset, count: int, batch_size: int = 1, among: int | None = None) -> None:
    """Refuse to draw more images than there are.

    Args:
        dataset: where to draw from.
        count, batch_size: as for `victims`.
        among: how many of its training images may be drawn; None means all.

    Raises:
        ParameterError: it says how many there are.
    """
    needed, total = count * batch_size, len(dataset.train) if among is None else among
    if needed > total:
        raise ParameterError(
            f"{count} victims of {batch_size} image(s) need {needed} images, but {dataset.name} "
            f"has {total} training images{'' if among is None else ' to draw from'}: lower count or "
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
