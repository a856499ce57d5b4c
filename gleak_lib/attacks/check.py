"""What an observation must be to be attacked, and what an attack must have found to be a result."""

import dataclasses
import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gleak_lib import gradients as engine
from gleak_lib.attacks.classifier import linear_inputs
from gleak_lib.attacks.updates import alike
from gleak_lib.errors import AttackError, GradientError, ShapeError
from gleak_lib.outer import by_row
from gleak_lib.typed import typed
from gleak_lib.types import Observation, Reconstruction, VariationalModel


@typed
def check(observation: Observation) -> None:
    """Refuse an observation whose parts do not fit each other, wherever they come from.

    `observe` and `invert` call it; who fills in an `Observation` from real updates may call it, too. Victims
    whose gradients are zero everywhere are warned of, since nothing can be found of them.

    Args:
        observation: gradients V x the parameters' shapes, labels V x B, noise N x map each, and so on, as
            `Observation` says; its further updates are looked at as well.

    Raises:
        GradientError: If gradients are not those of the model (names, shapes, type, device), not finite, or
            zero for all victims.
        ShapeError: If the image shape, the batch size, labels, pixel statistics, noise or batch statistics do
            not fit, or the model does not run on such images.
        ParameterError: If further updates are of other victims, batches, labels or parameters.
    """
    for one in (observation, *observation.later):
        engine.check(one.gradients, one.model)
        _check_kind(one)
        _check_images(one)
        _check_labels(one)
        _check_noise(one)
        _check_statistics(one)
    alike((observation, *observation.later))
    _say_zeros(observation)


def check_pixels(mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse pixel statistics that cannot normalise.

    Raises:
        ShapeError: If a mean is not finite, or a std not positive and finite.
    """
    if not all(map(math.isfinite, mean)):
        raise ShapeError(f"mean must be finite, got {tuple(mean)}.")
    if not all(0 < s < math.inf for s in std):
        raise ShapeError(f"std must be positive and finite, got {tuple(std)}.")


def are_indices(labels: Tensor) -> bool:
    """Return whether labels are integers, or truth values, which are 0 and 1."""
    return not (labels.is_floating_point() or labels.is_complex())


def finished(found: Reconstruction, name: str) -> Reconstruction:
    """Return what an attack found, with NaN for the victims whose loss was never finite.

    Such an attack has failed, which is no protection, and so nobody is to score what it started from.

    Args:
        found: by the attack, one entry a victim.
        name: of the attack.

    Raises:
        AttackError: If so it is for all victims; some are warned of.
    """
    images = found.images.flatten(1)
    failed = ~(found.loss.isfinite() & images.isfinite().all(1))
    if not failed.any():
        return found
    message = (
        f"The loss of {name!r} was never finite for {_victims(failed)}: the attack failed, which is no "
        "protection. Look at its weights (tv and the like), its learning rate and the gradients' size."
    )
    if failed.all():
        raise AttackError(message)
    warnings.warn(f"{message} Their images and losses are NaN.", stacklevel=4)
    gone = images.masked_fill(failed[:, None], torch.nan).reshape(found.images.shape)
    return dataclasses.replace(found, images=gone, loss=found.loss.masked_fill(failed, torch.nan))


def _check_kind(one: Observation) -> None:
    parameters = dict(one.model.named_parameters())
    for name, gradient in one.gradients.items():
        like = parameters[name]
        if gradient.dtype != like.dtype or gradient.device != like.device:
            raise GradientError(
                f"The gradient of {name} is {_kind(gradient)}, and the parameter {_kind(like)}: bring them "
                "to one type and device."
            )


def _check_images(one: Observation) -> None:
    if len(one.input_shape) != 3 or min(one.input_shape) < 1:
        raise ShapeError(f"input_shape must be C, H, W, each at least 1, got {one.input_shape}.")
    if one.batch_size < 1:
        raise ShapeError(f"batch_size must be at least 1, got {one.batch_size}.")
    for what, values in (("mean", one.mean), ("std", one.std)):
        if len(values) != one.input_shape[0]:
            raise ShapeError(f"{what} must have {one.input_shape[0]} values, one a channel, got {values}.")
    check_pixels(one.mean, one.std)


def _check_labels(one: Observation) -> None:
    like = one.like
    probe = like.new_zeros(one.batch_size, *one.input_shape)
    try:
        with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []):  # bottlenecks draw noise
            _, classes = linear_inputs(one, probe)
    except RuntimeError as error:
        raise ShapeError(
            f"The model does not run on {one.batch_size} images of shape {one.input_shape}: {error}"
        ) from error
    if one.labels is None:
        return
    expected = (one.victims, one.batch_size)
    if (got := tuple(one.labels.shape)) != expected or not are_indices(one.labels):
        raise ShapeError(f"labels must be {expected} class indices (V x B), got {got} {one.labels.dtype}.")
    low, high = (int(v) for v in one.labels.aminmax())
    if low < 0 or high >= classes:
        raise ShapeError(
            f"labels must be in [0, {classes - 1}] for this model's {classes} logits, got [{low}, {high}]."
        )


def _check_noise(one: Observation) -> None:
    if one.noise is None:
        return
    shapes = one.model.noise_shapes if isinstance(one.model, VariationalModel) else ()
    expected = [(one.victims * one.batch_size, *shape) for shape in shapes]
    if (given := [tuple(n.shape) for n in one.noise]) != expected:
        raise ShapeError(f"noise must be one tensor a bottleneck, N x map each, {expected}, got {given}.")
    kind = one.like.dtype
    if not all(n.dtype == kind and n.isfinite().all() for n in one.noise):
        raise ShapeError(f"noise must be finite and {kind}, as the gradients are.")


def _check_statistics(one: Observation) -> None:
    modules = dict(one.model.named_modules())
    for name, values in (one.statistics or {}).items():
        module = modules.get(name)
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ShapeError(f"statistics are of the model's BatchNorm layers, and {name!r} is none of them.")
        expected = (one.victims, 2, module.num_features)
        if tuple(values.shape) != expected or not values.isfinite().all():
            raise ShapeError(
                f"statistics of {name} must be finite and {expected} (V x 2 x C), got {tuple(values.shape)}."
            )


def _say_zeros(observation: Observation) -> None:
    updates = (observation, *observation.later)
    zero = ~torch.stack([by_row(g).any(1) for one in updates for g in one.gradients.values()]).any(0)
    if zero.all():
        raise GradientError("The gradients are zero everywhere: there is nothing to match.")
    if zero.any():
        warnings.warn(
            f"The gradients of {_victims(zero)} are zero everywhere: what an attack finds there is made up.",
            stacklevel=6,  # who called observe or invert
        )


def _victims(mask: Tensor) -> str:
    numbers = [str(v) for v in mask.nonzero().flatten().tolist()]
    if len(numbers) == 1:
        return f"victim {numbers[0]} of {len(mask)}"
    listed = ", ".join(numbers[:10]) + (", ..." if len(numbers) > 10 else "")
    return f"{len(numbers)} of {len(mask)} victims ({listed})"


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
