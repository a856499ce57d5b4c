"""What only those who know the truth can say of an attack: the evaluation's side, which no attack sees."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gleak_lib import attacks, metrics
from gleak_lib.attacks import Attack, Inversion, Optimize
from gleak_lib.defenses import Defense
from gleak_lib.types import Observation, Reconstruction


def blind(known: Observation) -> Observation:
    """Return what the server holds of an observation that also tells the bottlenecks' noise."""
    return dataclasses.replace(known, noise=None, later=tuple(blind(one) for one in known.later))


def noise_of(known: Observation) -> tuple[Tensor, ...]:
    """Return the noise that an observation tells, update after update, N x map each."""
    return tuple(n for one in (known, *known.later) for n in one.noise or ())


def figures(
    observation: Observation,
    attack: Inversion,
    found: Reconstruction,
    images: Tensor,
    labels: Tensor,
    noise: Sequence[Tensor],
) -> dict[str, Any]:
    """Return one value a victim each: `loss_at_truth`, and `noise_correlation` where noise was recovered.

    The first is missing for closed forms, which minimize nothing. Both are missing where the true noise is
    not known in full, or is not of the form that the attack looks for, see `comparable`.

    Args:
        observation: what was attacked.
        attack: how.
        found: what `invert` returned.
        images, labels, noise: the truth; the noise as `noise_of` gives it.
    """
    result: dict[str, Any] = {}
    if not comparable(observation, attack, noise):
        return result
    if isinstance(attack, Attack):
        result["loss_at_truth"] = attacks.loss_at_truth(observation, attack, images, labels, noise).tolist()
    if found.noise is not None:
        result["noise_correlation"] = noise_correlation(found, images, noise).tolist()
    return result


def comparable(observation: Observation, attack: Inversion, noise: Sequence[Tensor]) -> bool:
    """Return whether the one recorded draw of the noise is the truth that an attack could have found.

    It is not where the clients averaged their gradients over draws that nobody recorded
    (`defenses.AverageNoise`), nor where the attack looks for several draws. Without bottlenecks there is
    nothing to record.

    Args:
        observation: what was attacked.
        attack: how.
        noise: as `noise_of` gives it.
    """
    averaged = isinstance(observation.defense, Defense) and observation.defense.noise_samples > 1
    return not noise or not (averaged or _looks_for_several(attack))


def _looks_for_several(attack: Inversion) -> bool:
    return isinstance(attack, Attack) and isinstance(attack.noise, Optimize) and attack.noise.samples > 1


def noise_correlation(found: Reconstruction, images: Tensor, noise: Sequence[Tensor]) -> Tensor:
    """Return Pearson's correlation of recovered and true noise, all bottlenecks together, V values.

    In batches the noise goes with the images, whose order an attack cannot know (see `metrics.assign`).

    Args:
        found: with recovered noise.
        images: the true ones.
        noise: the true one, N x map for each bottleneck.
    """
    assert found.noise is not None
    victims = len(images)
    pair = [
        torch.cat([n.detach().cpu().double().reshape(victims, -1, n[0].numel()) for n in those], 2)
        for those in (found.noise, noise)
    ]  # V x B x entries each
    if images.dim() == 5:
        order = metrics.matching(found.images.detach().cpu(), images.detach().cpu())
        pair[0] = pair[0].take_along_dim(order[..., None], 1)
    one, other = (p.flatten(1) - p.flatten(1).mean(1, keepdim=True) for p in pair)
    return torch.cosine_similarity(one, other)
