"""The client's side: one training step's gradients for each of V victims, and what the server sees."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gleak_lib import gradients as engine
from gleak_lib.attacks.check import are_indices, as_indices, check, check_loss, check_pixels
from gleak_lib.attacks.statistics import batch_statistics
from gleak_lib.bottlenecks import sample_noise
from gleak_lib.defenses import Batch, Defense
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.half_precision import refuse_half
from gleak_lib.pixels import normalize, rescaling, spread
from gleak_lib.typed import typed
from gleak_lib.types import Loss, Observation

CHUNK = 128  # victims whose gradients are computed at once
_CHANNELS = (1, 3)  # of ordinary images


@typed
def observe(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    defense: Defense | None = None,
    generator: torch.Generator | None = None,
    mean: Sequence[float] | float = 0.0,
    std: Sequence[float] | float = 1.0,
    share_labels: bool = True,
    share_noise: bool = False,
    share_statistics: bool = False,
    share_perturbed: bool = False,
    noise_scale: float = 1.0,
    loss: Loss | None = None,
) -> Observation:
    """Compute the gradients that V clients would share, and return only what the server sees (001 §II-A).

    Args:
        model: the network with the server's weights, in the mode (train or eval) that clients use. They
            share the gradients of the parameters that it trains (`requires_grad`), and no others. The
            observation holds it, not a copy, and is of no use once it has changed: pass
            copy.deepcopy(model) if you train it on.
        images: V x C x H x W, one image per victim, or V x B x C x H x W; pixels in [0, 1].
        labels: V or V x B class indices.
        defense: a gradient transformation (see `gleak_lib.defenses`) that every client applies, bound to
            its own batch. The server knows which one it is, and not what it was bound to. A single gradient
            is both a local step's and what is shared: defenses of either (`Defense.on`) apply.
        generator: source of the bottlenecks' and the defense's noise; None uses torch's global one.
        mean, std: pixel statistics, one value or one per channel; the model sees (pixel - mean) / std.
        share_labels: whether the server knows the labels (001 §V-B grants them).
        share_noise: whether it is told the bottlenecks' noise: for oracle experiments only.
        share_statistics: whether it learns the batch statistics of BatchNorm in training mode, as it does
            where clients send their running averages back.
        share_perturbed: whether it is told which entries the defense added noise to: for oracle experiments
            only.
        noise_scale: what the bottlenecks' noise is multiplied with, at least 0; 0 is a client without noise.
        loss: of each image (reduction="none"), whose mean over the batch clients differentiate; None is the
            cross-entropy. Attacks that optimize labels need one that takes N x K probabilities, too.

    Raises:
        ShapeError: images or labels with wrong shapes or ranges, a model that returns other than N x K.
        ParameterError: statistics shared of a model that takes none, or one that the defense cannot protect;
            a noise_scale that is negative or not finite; a model in half precision, one that trains nothing,
            or whose gradients are not to be had (`gradients.path`).
        GradientError: gradients that are NaN or infinite; `torch.inference_mode` is on.
    """
    check_scale(noise_scale)
    refuse_half(model)
    batched = images.dim() == 5
    if images.dim() not in (4, 5):
        raise ShapeError(f"images must be V x C x H x W or V x B x C x H x W, got {tuple(images.shape)}.")
    pixels = images if batched else images.unsqueeze(1)
    victims, batch_size, channels = pixels.shape[:3]
    if channels not in _CHANNELS and pixels.shape[-1] in _CHANNELS:
        raise ShapeError(
            f"images must be ... x C x H x W, got {tuple(images.shape)}: permute their channels."
        )
    if victims == 0 or batch_size == 0:
        raise ShapeError("There is no image to observe.")
    if pixels.is_complex():
        raise ShapeError(f"images must be real, got {images.dtype}.")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):
        raise ShapeError(
            f"images must be pixels in [0, 1], got [{low:.3g}, {high:.3g}]: "
            f"{rescaling(low, high, 'pass them before normalization, with mean= and std=')}."
        )
    classes = labels.reshape(-1)
    if classes.shape[0] != victims * batch_size or not are_indices(labels):
        raise ShapeError(
            f"labels must be {victims} x {batch_size} class indices, got {tuple(labels.shape)} "
            f"{labels.dtype}{as_indices(labels)}."
        )
    mean_, std_ = spread(mean, channels, "mean"), spread(std, channels, "std")
    check_pixels(mean_, std_)

    shared = engine.prepare(model, batch_size)
    names = engine.wanted(shared)
    reference = next(model.parameters())
    x = normalize(pixels.to(reference), mean_, std_).flatten(0, 1)
    classes = classes.to(reference.device, torch.long, copy=True)  # the caller's may be of inference_mode
    engine.path(shared, x, names)
    with torch.no_grad():
        logits = engine.forward(shared, x[:batch_size]).logits
        shape = tuple(logits.shape)
    classes_out = shape[-1] if shape else 0
    if len(shape) != 2 or classes_out < 2:
        raise ShapeError(
            f"The model must return N x K logits, K at least 2, and returns {shape} for {batch_size} images."
            + (" A single logit z is the two logits (0, z)." if shape == (batch_size, 1) else "")
        )
    if int(classes.min()) < 0 or int(classes.max()) >= classes_out:
        raise ShapeError(
            f"labels must be in [0, {classes_out - 1}] for this model's {classes_out} logits, "
            f"got [{int(classes.min())}, {int(classes.max())}]."
        )
    check_loss(loss, logits, classes[:batch_size])
    noise = tuple(noise_scale * n for n in sample_noise(model, x.shape[0], reference, generator))
    parts, batches = [], []
    for start in range(0, victims, CHUNK):
        rows = slice(start * batch_size, (start + CHUNK) * batch_size)
        grads, _ = engine.per_victim_gradients(
            shared,
            x[rows],
            classes[rows],
            victims=min(CHUNK, victims - start),
            noise=[n[rows] for n in noise],
            names=names,
            loss=loss,
        )
        parts.append({name: g.detach() for name, g in grads.items()})
        if share_statistics:
            with torch.no_grad():
                batches.append(batch_statistics(shared, x[rows], [n[rows] for n in noise]))
    gradients = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
    if share_statistics and not batches[0]:
        raise ParameterError("share_statistics needs a model with BatchNorm in training mode: call train().")
    raw = gradients
    if defense is not None:
        batch = Batch(model, x, classes, victims, noise, noise_scale, loss)
        with torch.enable_grad():
            gradients = defense.bind(batch)(raw, generator=generator)
    seen = Observation(
        model=model,
        gradients=gradients,
        input_shape=(channels, pixels.shape[3], pixels.shape[4]),
        batch_size=batch_size,
        mean=mean_,
        std=std_,
        labels=classes.reshape(victims, batch_size) if share_labels else None,
        batched=batched,
        defense=defense,
        noise=noise if share_noise else None,
        statistics={name: torch.cat([b[name] for b in batches]) for name in batches[0]} if batches else None,
        perturbed=defense.perturbed(raw, gradients) if share_perturbed and defense is not None else None,
        loss=loss,
    )
    check(seen)
    return seen


def check_scale(noise_scale: float) -> None:
    """Refuse a scale of the noise that is negative or not finite.

    Raises:
        ParameterError: If it is.
    """
    if not 0 <= noise_scale < math.inf:
        raise ParameterError(f"noise_scale must be finite and not negative, got {noise_scale}.")
