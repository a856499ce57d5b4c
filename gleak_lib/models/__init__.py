"""Models: `MODELS` and `build`; every model is staged, so that bottlenecks fit between its stages."""

import inspect
from collections.abc import Callable, Sequence

import torch

from gleak_lib.bottlenecks import CVB, PRECODE, BottleneckSpec
from gleak_lib.errors import ParameterError, nearest
from gleak_lib.models.base import (
    StagedModel,
    before_decoder,
    count_parameters,
    parameter_groups,
)
from gleak_lib.models.cnn import cnn
from gleak_lib.registry import Registry

MODELS: dict[str, Callable[..., StagedModel]] = Registry("model", {"cnn": cnn})


def build(
    name: str,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: BottleneckSpec | Sequence[BottleneckSpec] = (),
    seed: int | None = None,
    **options,
) -> StagedModel:
    """Build a model of the registry with fresh weights.

    Args:
        name: a key of `MODELS`.
        input_shape: C, H, W of one image.
        num_classes: number of logits.
        bottlenecks: one specification or several. They are initialised after the model, so that the
            model's own weights depend on the seed alone.
        seed: seed of the weights; None draws from torch's global generator.
        options: what the model's own function takes beyond these.

    Raises:
        UnknownNameError: a name that is not in `MODELS`.
        ParameterError: an option or a position that the model lacks.
        ShapeError: images that the model does not accept.
    """
    make = MODELS[name]
    known = set(inspect.signature(make).parameters) - {"input_shape", "num_classes", "bottlenecks"}
    for option in options:
        if option not in known:
            hint = nearest(option, known)
            raise ParameterError(
                f"Model {name!r} has no option {option!r}."
                + (f" Did you mean {hint!r}?" if hint else "")
                + f" It has: {', '.join(sorted(known)) or 'none'}."
            )
    if num_classes < 1:
        raise ParameterError(f"num_classes must be at least 1, got {num_classes}.")
    specs = (bottlenecks,) if isinstance(bottlenecks, (PRECODE, CVB)) else tuple(bottlenecks)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return make(input_shape=tuple(input_shape), num_classes=num_classes, bottlenecks=specs, **options)


__all__ = [
    "MODELS",
    "StagedModel",
    "before_decoder",
    "build",
    "count_parameters",
    "parameter_groups",
]
