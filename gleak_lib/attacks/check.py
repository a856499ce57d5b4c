"""What an observation must be to be attacked, and what an attack must have found to be a result."""

import dataclasses
import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gleak_lib import gradients as engine
from gleak_lib.attacks.label_inference import linear_inputs
from gleak_lib.errors import AttackError, GradientError, ParameterError, ShapeError
from gleak_lib.gradients.factored import by_row
from gleak_lib.typed import typed
from gleak_lib.types import Loss, Observation, Reconstruction, VariationalModel


@typed
def check(observation: Observation) -> None:
    """Refuse an observation whose parts do not fit each other, wherever they come from.

    `observe` and `invert` call it, and so may who fills in an `Observation`. Victims whose gradients are zero
    everywhere are warned of, since nothing can be found of them. Further updates are looked at as well.

    Raises:
        GradientError: If gradients are not those of the model (names, shapes, type, device), not finite, or
            zero for all victims; if the model has changed since it was observed.
        ShapeError: If the image shape, the batch size, labels, pixel statistics, noise or batch statistics do
            not fit, or the model does not run on such images.
        ParameterError: If further updates are of other victims, batches, labels or parameters.
    """
    updates = (observation, *observation.later)
    for one in updates:
        engine.check(one.gradients, one.model)
        parameters = dict(one.model.named_parameters())
        for name, gradient in one.gradients.items():
            if (got := _kind(gradient)) != (expected := _kind(parameters[name])):
                raise GradientError(
                    f"The gradient of {name} is {got}, and the parameter {expected}: bring them to one type "
                    "and device."
                )
            if gradient.is_inference() and not torch.is_inference_mode_enabled():
                raise GradientError(
                    f"The gradient of {name} was made in torch.inference_mode(), and nothing can be computed "
                    "from it: make the observation outside of that, from clones."
                )
        one.check_model()
        _check_images(one)
        check_labels(one)
        _check_noise(one)
        _check_statistics(one)
    alike(updates)
    same_labels(updates)
    zero = ~torch.stack([by_row(g).any(1) for one in updates for g in one.gradients.values()]).any(0)
    if zero.all():
        raise GradientError("The gradients are zero everywhere: there is nothing to match.")
    if zero.any():
        warnings.warn(
            f"The gradients of {_victims(zero)} are zero everywhere: what an attack finds there is made up.",
            stacklevel=5,  # who called observe or invert
        )


def check_pixels(mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse pixel statistics that cannot normalize: a mean that is not finite, a std not positive."""
    if not all(map(math.isfinite, mean)):
        raise ShapeError(f"mean must be finite, got {tuple(mean)}.")
    if not all(0 < s < math.inf for s in std):
        raise ShapeError(f"std must be positive and finite, got {tuple(std)}.")


def are_indices(labels: Tensor) -> bool:
    """Return whether labels are integers, or truth values, which are 0 and 1."""
    return not (labels.is_floating_point() or labels.is_complex())


def as_indices(labels: Tensor) -> str:
    """Return how to make class indices of labels that are none, as the end of a message."""
    rows = labels.dim() > 1 and labels.shape[-1] > 1 and not labels.is_complex()
    if rows and bool(((labels == 0) | (labels == 1)).all() and (labels.sum(-1) == 1).all()):
        return ": of one-hot rows pass labels.argmax(-1)"
    return ": pass labels.long()" if labels.is_floating_point() else ""


def check_loss(loss: Loss | None, logits: Tensor, labels: Tensor) -> None:
    """Refuse a loss that does not give one value per image.

    Raises:
        ShapeError: If it does not.
    """
    if loss is not None and (got := tuple(loss(logits, labels).shape)) != tuple(labels.shape):
        raise ShapeError(
            f"loss must return one value per image, {tuple(labels.shape)}, got {got}: make it with "
            'reduction="none"; clients share the gradient of its mean.'
        )


@typed
def join(observations: Sequence[Observation]) -> Observation:
    """Return updates of the same victims on the same images as one observation, to be attacked together.

    A client that takes part in several rounds with the same images sends a gradient a round, under other
    weights and other noise. An attack looks for one set of images that explains them all: its distance is the
    mean over the updates, and noise that is optimized is one draw an update.

    Args:
        observations: as `observe` gives them, the same victims in the same order, of one architecture, each
            with a model of its own if the weights differ (copy.deepcopy).

    Raises:
        GradientError: If a model has changed since it was observed.
        ParameterError: If there is none, or their victims, batches, labels, shapes, parameters or statistics
            differ.
    """
    if not observations:
        raise ParameterError("There are no updates to join: pass at least one observation.")
    first, *others = (part for one in observations for part in (one, *one.later))
    for one in (first, *others):
        one.check_model()
    alike((first, *others))
    same_labels((first, *others))
    return dataclasses.replace(first, later=tuple(dataclasses.replace(one, later=()) for one in others))


def alike(observations: Sequence[Observation], what: str = "Updates can be joined") -> None:
    """Refuse observations whose victims, batches or parameters differ, with a `ParameterError`."""
    same = {
        "victims": lambda one: one.victims,
        "batch size": lambda one: one.batch_size,
        "image shape": lambda one: one.input_shape,
        "pixel statistics": lambda one: (one.mean, one.std),
        "parameters": lambda one: list(one.gradients),
    }
    first, *others = observations
    for one in others:
        for noun, of in same.items():
            if of(one) != of(first):
                raise ParameterError(
                    f"{what} only if they agree in their {noun}, got {of(first)} and {of(one)}."
                )


def same_labels(updates: Sequence[Observation]) -> None:
    """Refuse updates that are not of the same images, with a `ParameterError`."""
    first, *others = updates
    for one in others:
        if one.labels is not None and first.labels is not None and not torch.equal(one.labels, first.labels):
            raise ParameterError(
                "Updates can be joined only if they are of the same images, and these have other labels, "
                f"got {first.labels.flatten().tolist()[:8]} and {one.labels.flatten().tolist()[:8]}."
            )


def finished(found: Reconstruction, name: str) -> Reconstruction:
    """Return what attack `name` found, with NaN and a warning for the victims whose loss was never finite.

    Such an attack has failed, which is no protection, and so nobody is to score what it started from.

    Raises:
        AttackError: If it was finite for no victim.
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


def _check_images(one: Observation) -> None:
    if len(one.input_shape) != 3 or min(one.input_shape) < 1:
        raise ShapeError(f"input_shape must be C, H, W, each at least 1, got {one.input_shape}.")
    if one.batch_size < 1:
        raise ShapeError(f"batch_size must be at least 1, got {one.batch_size}.")
    for what, values in (("mean", one.mean), ("std", one.std)):
        if len(values) != one.input_shape[0]:
            raise ShapeError(f"{what} must have {one.input_shape[0]} values, one per channel, got {values}.")
    check_pixels(one.mean, one.std)


def check_labels(one: Observation) -> None:
    """Refuse images that the model does not take, a loss that it cannot have, labels of no image or class.

    Raises:
        ShapeError: If there are such.
    """
    try:
        _, classes = linear_inputs(one, one.like.new_zeros(one.batch_size, *one.input_shape))
    except RuntimeError as error:
        raise ShapeError(
            f"The model does not run on batches of {one.batch_size} with images {one.input_shape}: {error}"
        ) from error
    rows = one.like.new_zeros(one.batch_size, dtype=torch.long)
    check_loss(one.loss, one.like.new_zeros(one.batch_size, classes), rows)
    if one.labels is None:
        return
    expected = (one.victims, one.batch_size)
    if (got := tuple(one.labels.shape)) != expected or not are_indices(one.labels):
        raise ShapeError(
            f"labels must be {expected} class indices (V x B), got {got} {one.labels.dtype}"
            f"{as_indices(one.labels)}."
        )
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


def _victims(mask: Tensor) -> str:
    numbers = [str(v) for v in mask.nonzero().flatten().tolist()]
    if len(numbers) == 1:
        return f"victim {numbers[0]} of {len(mask)}"
    listed = ", ".join(numbers[:10]) + (", ..." if len(numbers) > 10 else "")
    return f"{len(numbers)} of {len(mask)} victims ({listed})"


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
