"""The loss of an attack at the truth: for evaluation only, no attack calls it.

An optimiser that stops above the loss of the true images and noise has failed, which is not privacy; one
that stops below it has found something else that explains the gradients as well.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.classifier import classifier
from gleak_lib.attacks.masks import matched
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.precision import arithmetic
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.pixels import normalize
from gleak_lib.typed import typed
from gleak_lib.types import Observation

CERTAIN = 100.0  # logit of a label that the attack would have to find


@typed
def loss_at(
    observation: Observation,
    attack: Attack,
    images: Tensor,
    labels: Tensor,
    noise: Sequence[Tensor] = (),
) -> Tensor:
    """Return the loss that an attack gives to these images, labels and noise, V values.

    It is what the attack minimises, priors included. An attack that averages over draws is given the one
    draw that the clients used, or as many as it has: those it found, or those over which the clients
    averaged (`defenses.average_noise`), if anybody has recorded them.

    Args:
        observation: what the server holds.
        attack: one that takes steps.
        images: V x C x H x W or V x B x C x H x W in [0, 1].
        labels: V or V x B class indices.
        noise: the bottlenecks' noise, N x map each, as `observe(share_noise=True)` gives it, or with N = V x
            draws x B as in `Reconstruction.noise`; of several updates one after the other.

    Raises:
        ParameterError: a closed form, which minimises nothing.
        ShapeError: images or noise that do not fit, or NaN among the pixels.
    """
    if attack.optimizer == "closed-form":
        raise ParameterError(f"{attack.name!r} is a closed form: it has no loss to evaluate.")
    victims, batch = observation.victims, observation.batch_size
    like = next(iter(observation.gradients.values()))
    shape = (victims, batch, *observation.input_shape)
    if images.numel() != math.prod(shape) or images.shape[0] != victims:
        raise ShapeError(f"images must be {shape} (V x B x C x H x W), got {tuple(images.shape)}.")
    if images.is_complex() or not images.isfinite().all():
        raise ShapeError("images must be finite and real, got NaN, infinite or complex pixels.")
    rows, given_rows = victims * batch, [len(n) for n in noise]
    if set(given_rows) != {rows * attack.draws}:
        attack = attack.replace(draws=1)  # the mean of equal gradients
    names = matched(observation, attack)
    objective = Objective(observation, attack, names)
    count = objective.count + sum(one.count for one in objective.later)
    if given_rows != [rows * attack.draws] * count:
        raise ShapeError(f"noise must be {count} tensors with {rows} rows, got {given_rows}.")
    labels = labels.to(like.device, torch.long).reshape(victims, batch)
    unknowns = {"image": normalize(images.to(like), observation.mean, observation.std).reshape(shape)}
    if attack.labels == "optimize":
        classes = classifier(observation)[1]
        unknowns["label"] = CERTAIN * torch.nn.functional.one_hot(labels, classes).to(like)
    given = tuple(n.to(like) for n in noise)
    with arithmetic("float32"):
        if attack.noise == "optimize":
            unknowns = objective.with_noise(unknowns, given)
        problem = Problem.of(observation, labels, names, attack)
        return objective.loss(unknowns, problem, given).detach()
