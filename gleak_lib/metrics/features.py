"""MSE-R: the error in a network's representation instead of pixels (003)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.gradients import forward
from gleak_lib.metrics.image import _check
from gleak_lib.pixels import normalize
from gleak_lib.typed import typed
from gleak_lib.types import VariationalModel

Features = Callable[[Tensor], Tensor]


@typed
def mse_features(pred: Tensor, target: Tensor, *, features: Features) -> Tensor:
    """Mean squared error between the features of two images (MSE-R, 003).

    Args:
        pred: V x C x H x W (or V x B x C x H x W) in [0, 1].
        target: the truth, of the same shape and range.
        features: N x C x H x W in [0, 1] -> N x ... features, for instance `penultimate(model)`.

    Returns:
        V (or V x B).

    Raises:
        ShapeError: images as in `mse`, or features without a row an image.
    """
    _check("MSE-R", pred, target, 1.0)
    rows = pred.shape[:-3]
    with torch.no_grad():
        found, true = (features(images.reshape(-1, *images.shape[-3:])) for images in (pred, target))
    if len(found) != rows.numel() or found.shape != true.shape:
        raise ShapeError(
            f"features must give one row for each of {rows.numel()} images, got {tuple(found.shape)}."
        )
    return (found - true).flatten(1).square().mean(1).reshape(rows)


@typed
def penultimate(
    model: nn.Module, *, mean: Sequence[float] | float = 0.0, std: Sequence[float] | float = 1.0
) -> Features:
    """Return the function that gives "the feature vector before the final classification layer" (003).

    Args:
        model: maps N x C x H x W, normalized, to logits; it runs in evaluation mode. The layer is the linear
            one that runs last. Bottlenecks get zero noise, so that the features repeat.
        mean, std: pixel statistics, one value or one per channel.
    """

    def features(images: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handles = [
            module.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
            for module in model.modules()
            if isinstance(module, nn.Linear)
        ]
        modes = {module: module.training for module in model.modules()}
        like = next(model.parameters())
        channels = images.shape[1]
        statistics = [(s,) * channels if isinstance(s, (int, float)) else s for s in (mean, std)]
        try:
            model.eval()
            shapes = model.noise_shapes if isinstance(model, VariationalModel) else ()
            noise = [like.new_zeros(len(images), *shape) for shape in shapes]
            forward(model, normalize(images.to(like), *statistics), noise or None)
        finally:
            for handle in handles:
                handle.remove()
            for module, training in modes.items():
                module.training = training
        if not seen:
            raise ParameterError("This model has no linear layer: give mse_features another function.")
        return seen[-1]

    return features
