"""The loss of an attack at the truth: for evaluation only, no attack calls it.

An optimizer that stops above the loss of the true images and noise has failed, which is not privacy; one
that stops below it has found something else that explains the gradients as well.
"""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.check import check_labels
from gleak_lib.attacks.inversion import Inversion
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.precision import arithmetic
from gleak_lib.attacks.variables import Pixels
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.pixels import normalize
from gleak_lib.typed import typed
from gleak_lib.types import Observation


@typed
def loss_at_truth(
    observation: Observation,
    attack: Inversion,
    images: Tensor,
    labels: Tensor,
    noise: Sequence[Tensor] = (),
) -> Tensor:
    """Return the loss that an attack gives to these images, labels and noise, V values.

    It is what the attack minimizes, priors included. An attack that averages over draws is given the one
    draw that the clients used, or as many as it has: those it found, or those over which the clients
    averaged (`defenses.average_noise`), if anybody has recorded them.

    Args:
        observation: what the server holds.
        attack: one that takes steps.
        images: V x C x H x W or V x B x C x H x W in [0, 1].
        labels: V or V x B class indices.
        noise: the bottlenecks' noise, N x map each, as `observe(share_noise=True)` gives it, or with N = V x
            samples x B as in `Reconstruction.noise`; of several updates one after the other.

    Raises:
        ParameterError: If it is a closed form, which minimizes nothing, or optimizes labels that the loss
            does not take.
        ShapeError: If images, labels or noise do not fit, or a pixel is NaN.
        GradientError: If the model has changed since it was observed.
    """
    if not isinstance(attack, Attack):
        raise ParameterError(f"{attack.name!r} is a closed form: it has no loss to evaluate.")
    victims, batch = observation.victims, observation.batch_size
    like = observation.like
    shape = (victims, batch, *observation.input_shape)
    if images.numel() != math.prod(shape) or images.shape[0] != victims:
        raise ShapeError(f"images must be {shape} (V x B x C x H x W), got {tuple(images.shape)}.")
    if images.is_complex() or not images.isfinite().all():
        raise ShapeError("images must be finite and real, got NaN, infinite or complex pixels.")
    attack = attack.replace(variables=Pixels())
    rows, given_rows = victims * batch, [len(n) for n in noise]
    if set(given_rows) != {rows * attack.noise.samples}:
        attack = attack.replace(noise_samples=1)  # the mean of equal gradients
    names = attack.matched(observation)
    objective = Objective(observation, attack, names)
    count = sum(count for _, count in objective.models)
    if given_rows != [rows * attack.noise.samples] * count:
        raise ShapeError(f"noise must be {count} tensors with {rows} rows, got {given_rows}.")
    labels = labels.to(like.device).reshape(victims, batch)
    check_labels(dataclasses.replace(observation, labels=labels))
    labels = labels.to(torch.long, copy=True)  # the caller's may be of inference_mode
    unknowns = {"image": normalize(images.to(like), observation.mean, observation.std).reshape(shape)}
    unknowns |= attack.labels.unknowns_of(labels, observation)
    given = tuple(n.to(like) for n in noise)
    with arithmetic("float32"), torch.enable_grad():
        unknowns = objective.with_noise(unknowns, labels, lambda: given)
        problem = Problem.of(observation, labels, names, attack.match)
        return objective.loss(unknowns, problem, given).detach()
