"""Several updates of the same victims, seen as one observation."""

import dataclasses
from collections.abc import Sequence

import torch

from gleak_lib.errors import ParameterError
from gleak_lib.typed import typed
from gleak_lib.types import Observation


@typed
def join(observations: Sequence[Observation]) -> Observation:
    """Return updates of the same victims on the same images as one observation, to be attacked together.

    A client that takes part in several rounds with the same images sends a gradient a round, under other
    weights and other noise. An attack on the joint observation looks for one set of images that explains them
    all: its distance is the mean over the updates, and noise that is optimised is one draw an update.

    Args:
        observations: as `observe` gives them, the same victims in the same order, of one architecture.

    Raises:
        ParameterError: none, or updates whose victims, batches, labels, shapes, parameters or statistics
            differ.
    """
    if not observations:
        raise ParameterError("There are no updates to join: pass at least one observation.")
    first, *others = (part for one in observations for part in (one, *one.later))
    alike((first, *others))
    parts = [dataclasses.replace(one, later=()) for one in others]
    return dataclasses.replace(first, later=tuple(parts))


def alike(updates: Sequence[Observation]) -> None:
    """Refuse updates that are not of the same victims on the same images.

    Raises:
        ParameterError: If their victims, batches, labels, shapes, parameters or statistics differ.
    """
    first, *others = updates
    for one in others:
        for what, of in _SAME.items():
            if of(one) != of(first):
                raise ParameterError(
                    f"Updates can be joined only if they agree in their {what}, "
                    f"got {of(first)} and {of(one)}."
                )
        if one.labels is not None and first.labels is not None and not torch.equal(one.labels, first.labels):
            raise ParameterError(
                "Updates can be joined only if they are of the same images, and these have other labels, "
                f"got {first.labels.flatten().tolist()[:8]} and {one.labels.flatten().tolist()[:8]}."
            )


_SAME = {
    "victims": lambda one: one.victims,
    "batch size": lambda one: one.batch_size,
    "image shape": lambda one: one.input_shape,
    "pixel statistics": lambda one: (one.mean, one.std),
    "parameters": lambda one: list(one.gradients),
}
