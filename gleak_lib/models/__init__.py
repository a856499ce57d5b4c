"""Models: `MODELS` and `build`; every model is staged, so that bottlenecks fit between its stages."""

import functools
import inspect
from collections.abc import Callable, Sequence

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.errors import ParameterError, ShapeError, no_option
from gleak_lib.fresh import fresh
from gleak_lib.models.base import (
    StagedModel,
    before_decoder,
    count_parameters,
    parameter_groups,
)
from gleak_lib.models.cnn import cnn, mcmahan_cnn
from gleak_lib.models.convnet import convnet8
from gleak_lib.models.layers import ACTIVATIONS, Init, initialize
from gleak_lib.models.lenet import lenet
from gleak_lib.models.mlp import mlp
from gleak_lib.models.own import build_own
from gleak_lib.models.resnet import resnet18
from gleak_lib.models.vit import vit
from gleak_lib.registry import Registry
from gleak_lib.typed import typed

MODELS: dict[str, Callable[..., StagedModel]] = Registry(
    "model",
    {
        "cnn": cnn,
        "lenet": lenet,
        "lenet4": functools.partial(lenet, convs=4),
        "convnet8": convnet8,
        "mcmahan_cnn": mcmahan_cnn,
        "mlp": mlp,
        "dmlp": functools.partial(mlp, norm=False),
        "resnet18": resnet18,
        "vit": vit,
    },
)


@typed
def build(
    name: str,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: Bottleneck | Sequence[Bottleneck] = (),
    init: Init = "default",
    seed: int | None = None,
    **options,
) -> StagedModel:
    """Build a model of the registry with fresh weights.

    Args:
        name: a key of `MODELS`.
        input_shape: C, H, W of one image.
        num_classes: number of logits.
        bottlenecks: one specification or several. They are initialized after the model, so that the
            model's own weights depend on the seed alone.
        init: scheme of the model's own weights, see `initialize`; bottlenecks keep torch's default.
        seed: seed of the weights; None draws from torch's global generator.
        options: what the model's own function takes beyond these.

    Raises:
        UnknownNameError: a name that is not in `MODELS`, an activation or a scheme that there is not.
        ParameterError: an option or a position that the model lacks.
        ShapeError: images that the model does not accept.
    """
    make = MODELS[name]
    known = set(inspect.signature(make).parameters) - {"input_shape", "num_classes", "bottlenecks", "init"}
    for option in options:
        if option not in known:
            raise no_option(f"Model {name!r}", option, sorted(known))
    if num_classes < 1:
        raise ParameterError(f"num_classes must be at least 1, got {num_classes}.")
    shape = tuple(input_shape)
    if len(shape) != 3 or any(not isinstance(size, int) or size < 1 for size in shape):
        raise ShapeError(f"input_shape must be C, H, W, three integers of at least 1, got {input_shape}.")
    specs = (bottlenecks,) if isinstance(bottlenecks, Bottleneck) else tuple(bottlenecks)
    given = {"input_shape": shape, "num_classes": num_classes, "bottlenecks": specs, "init": init, **options}
    what = f"{name} with num_classes={num_classes}" + "".join(f" and {spec}" for spec in specs)
    return fresh(lambda: make(**given), seed=seed, what=what)


__all__ = [
    "ACTIVATIONS",
    "MODELS",
    "Init",
    "StagedModel",
    "before_decoder",
    "build",
    "build_own",
    "count_parameters",
    "initialize",
    "parameter_groups",
]
