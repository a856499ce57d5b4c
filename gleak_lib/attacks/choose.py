"""Which of several reconstructions an attacker should believe, without the truth."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.masks import matched
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.observe import sample_noise
from gleak_lib.attacks.precision import arithmetic
from gleak_lib.errors import ParameterError
from gleak_lib.pixels import normalize
from gleak_lib.types import Observation, Reconstruction

DRAWS = 8  # of the noise where an attack has not recovered it
SEED = 0  # of these draws, the same for all attacks


def gradient_distance(observation: Observation, attack: Attack, found: Reconstruction) -> Tensor:
    """Return the cosine distance between the whole observed gradient and the reconstruction's, V values.

    Losses of attacks that match other layers, or weigh other priors, cannot be compared; this can, and an
    attacker can compute it. The noise is what the attack recovered, else the dummy gradient is averaged over
    eight draws. What the defence did to the observed gradient lengthens all distances alike.

    Args:
        observation: what was attacked; of several updates the mean distance counts.
        attack: how.
        found: what `invert` returned.
    """
    plain = Attack(
        "gradient distance",
        tv=0.0,
        noise="given",
        draws=attack.draws if found.noise is not None else DRAWS,
    )
    names = matched(observation, plain)
    objective = Objective(observation, plain, names)
    like = next(iter(observation.gradients.values()))
    victims, size = observation.victims, observation.batch_size
    images = found.images.to(like).reshape(victims, size, *observation.input_shape)
    labels = found.labels.to(like.device, torch.long).reshape(victims, size)
    noise = found.noise
    if noise is None:
        stream = torch.Generator(like.device).manual_seed(SEED)
        rows = victims * size * DRAWS
        updates = (observation, *observation.later)
        noise = tuple(n for one in updates for n in sample_noise(one.model, rows, like, stream))
    with arithmetic("float32"), torch.enable_grad():
        unknowns = {"image": normalize(images, observation.mean, observation.std)}
        problem = Problem.of(observation, labels, names)
        return objective.loss(unknowns, problem, tuple(n.to(like) for n in noise)).detach()


def best(distances: Sequence[Tensor]) -> Tensor:
    """Return for each victim the number of the attack that explains its gradient best, V indices.

    Args:
        distances: of each attack, V values as `gradient_distance` gives them.

    Raises:
        ParameterError: no attack.
    """
    if not distances:
        raise ParameterError("There is no attack to choose from.")
    return torch.stack([d.detach().cpu().double() for d in distances]).nan_to_num(torch.inf).argmin(0)
