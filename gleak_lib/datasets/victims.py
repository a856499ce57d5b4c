"""Drawing the images that an attack has to find."""

import numpy as np
import torch
from torch import Tensor

from gleak_lib.datasets.base import ImageDataset
from gleak_lib.errors import ParameterError


def victims(
    dataset: ImageDataset, count: int, seed: int, *, batch_size: int = 1, distinct_labels: bool = False
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

    Returns:
        Images V x C x H x W in [0, 1] and labels V; with `batch_size` above 1, V x B x C x H x W and V x B.

    Raises:
        ParameterError: more images or distinct classes than there are, or a count below 1.
    """
    total = len(dataset.train)
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed must be in 0 ... 2**32 - 1, got {seed}.")
    if count < 1 or batch_size < 1:
        raise ParameterError(f"count and batch_size must be at least 1, got {count} and {batch_size}.")
    if count * batch_size > total:
        raise ParameterError(
            f"{count} victims of {batch_size} image(s) need {count * batch_size} images, but {dataset.name} "
            f"has {total} training images: lower count or batch_size."
        )
    order = np.random.RandomState(seed).permutation(total)  # this generator's stream is frozen for good
    if distinct_labels:
        order = _distinct(order, dataset.train.labels.numpy(), count, batch_size, dataset.name)
    index = torch.from_numpy(order[: count * batch_size])
    images, labels = dataset.train[index]
    if batch_size == 1:
        return images, labels
    return images.unflatten(0, (count, batch_size)), labels.unflatten(0, (count, batch_size))


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
