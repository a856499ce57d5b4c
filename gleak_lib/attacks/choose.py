"""Which of several reconstructions an attacker should believe, without the truth."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.inversion import Inversion
from gleak_lib.attacks.noise import Given
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.precision import arithmetic
from gleak_lib.attacks.unknowns import take, take_noise
from gleak_lib.bottlenecks import sample_noise
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.pixels import normalize
from gleak_lib.typed import typed
from gleak_lib.types import Observation, Reconstruction, VariationalModel

DRAWS = 8  # of the noise where an attack knows none
SEED = 0  # of these draws, the same for all attacks
ROWS = 128  # images, each draw counted, whose gradients are computed at once


@typed
def gradient_distance(observation: Observation, attack: Inversion, found: Reconstruction) -> Tensor:
    """Return the cosine distance between the whole observed gradient and the reconstruction's, V values.

    Unlike losses it compares attacks with other layers or priors. The noise is what the attack has recovered
    or was given, else the dummy gradient is averaged over eight draws, the same for all attacks.

    Args:
        observation: what was attacked; of several updates the mean distance counts.
        attack: how; only its treatment of the noise matters.
        found: what `invert` returned. Soft labels count as the likeliest one; where there are none (-1), the
            distance is NaN.

    Raises:
        ParameterError: If the attack was given a noise that this observation does not grant.
        GradientError: If the model has changed since it was observed.
    """
    noise, draws = _noise(observation, attack, found)
    plain = Attack("gradient distance", priors=(), noise=Given(samples=draws))
    names = plain.matched(observation)
    objective = Objective(observation, plain, names)
    like = observation.like
    victims, size = observation.victims, observation.batch_size
    images = found.images.to(like).reshape(victims, size, *observation.input_shape)
    labels = found.labels.to(like.device, torch.long).reshape(victims, size)
    unknowns = {"image": normalize(images, observation.mean, observation.std)}
    problem = Problem.of(observation, labels.clamp_min(0), names, plain.match)
    step = max(1, ROWS // (draws * size))
    parts = []
    with arithmetic("float32"), torch.enable_grad():
        for rows in (slice(start, start + step) for start in range(0, victims, step)):
            draw = take_noise(noise, rows, victims)
            parts.append(objective.loss(take(unknowns, rows), take(problem, rows), draw).detach())
    return torch.cat(parts).where((labels >= 0).all(1), torch.nan)


def _noise(
    observation: Observation, attack: Inversion, found: Reconstruction
) -> tuple[tuple[Tensor, ...], int]:
    """Return the noise to compute with, N x map each, update after update, and how many draws it is."""
    updates = (observation, *observation.later)
    like = observation.like
    rows = observation.victims * observation.batch_size
    if not any(one.model.noise_shapes for one in updates if isinstance(one.model, VariationalModel)):
        return (), 1
    if found.noise is not None:
        return tuple(n.to(like) for n in found.noise), len(found.noise[0]) // rows
    if isinstance(attack, Attack) and isinstance(attack.noise, Given):
        if any(one.noise is None for one in updates):
            raise ParameterError(
                f"{attack.name!r} was given the noise, and this observation grants none: pass the one it "
                "attacked (share_noise=True)."
            )
        return tuple(n for one in updates for n in one.noise or ()), 1
    stream = torch.Generator().manual_seed(SEED)  # on the host, so that every device has the same draws
    return tuple(n for one in updates for n in sample_noise(one.model, rows * DRAWS, like, stream)), DRAWS


@typed
def best(distances: Sequence[Tensor]) -> Tensor:
    """Return for each victim the number of the attack that explains its gradient best, V indices.

    The first of equal ones; NaN counts as farthest.

    Args:
        distances: of each attack, V values as `gradient_distance` gives them.

    Raises:
        ParameterError: If there is no attack.
        ShapeError: If the attacks are on other numbers of victims.
    """
    if not distances:
        raise ParameterError("There is no attack to choose from.")
    victims = [len(d) for d in distances]
    if len(set(victims)) > 1:
        raise ShapeError(f"The attacks must be on the same victims, got {victims} of them.")
    return torch.stack([d.detach().cpu().double() for d in distances]).nan_to_num(torch.inf).argmin(0)
