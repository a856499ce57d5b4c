"""How well an attack did: what only those who know the truth can say, and no attack sees."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from gleak_lib import metrics
from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.check import are_indices, as_indices
from gleak_lib.attacks.choose import gradient_distance
from gleak_lib.attacks.evaluation import loss_at_truth
from gleak_lib.attacks.inversion import Inversion
from gleak_lib.attacks.label_inference import label_accuracy
from gleak_lib.attacks.labels import Known
from gleak_lib.attacks.noise import Optimize
from gleak_lib.defenses import Defense
from gleak_lib.errors import AttackError, ShapeError
from gleak_lib.extras import require
from gleak_lib.metrics import Perceptual
from gleak_lib.typed import typed
from gleak_lib.types import Observation, Reconstruction

if TYPE_CHECKING:
    from pandas import DataFrame


@typed
def evaluate(
    reconstruction: Reconstruction,
    images: Tensor,
    observation: Observation,
    *,
    attack: Inversion | None = None,
    labels: Tensor | None = None,
    noise: Sequence[Tensor] | None = None,
    scaling: Literal["minmax", "none", "both"] = "minmax",
    perceptual: Perceptual | None = None,
) -> "DataFrame":
    """Return every score of an attack, a row per image.

    Columns are those of `metrics.score` (victim, image, mse, psnr, ssim, lpips, success), `true_label` where
    labels are known, and for the image's victim loss and steps; label_accuracy where labels were not granted;
    with the attack, gradient_distance and, for one that takes steps, loss_at_truth; noise_correlation where
    the noise is known and was recovered. The last two are missing where one recorded draw is not what the
    attack could have found: it looks for several, or the clients averaged over draws.

    Args:
        reconstruction: what `invert` returned.
        images: the truth, V x C x H x W or V x B x C x H x W in [0, 1].
        observation: what was attacked.
        attack: how.
        labels: the true ones, V or V x B; None for those that the observation grants, if any.
        noise: the bottlenecks' true noise, N x map each; None for what the observation grants, if any.
        scaling: see `metrics.score`; with "both" there are two rows per image and a column `scaling`.
        perceptual: distance for lpips; None for `metrics.lpips_at_hand()`.

    Raises:
        ShapeError: If truth and reconstruction differ in shape, the truth is not in [0, 1], the observation
            is another one, or labels are not its V x B class indices.
        AttackError: If the attack failed for a victim.
        GradientError: If the attack is given, and the model has changed since it was observed.
        MissingDependencyError: If pandas is not installed, or scipy with several images per victim.
    """
    labels = observation.labels if labels is None else labels
    noise = noise_of(observation) if noise is None else tuple(noise)
    perceptual = metrics.lpips_at_hand() if perceptual is None else perceptual
    victims, batch = observation.victims, observation.batch_size
    if labels is not None and (labels.numel() != victims * batch or not are_indices(labels)):
        raise ShapeError(
            f"labels must be {victims} x {batch} class indices, got {tuple(labels.shape)} {labels.dtype}"
            f"{as_indices(labels)}."
        )
    if len(reconstruction.loss) != victims or reconstruction.labels.numel() != victims * batch:
        raise ShapeError(
            f"The observation is of {victims} x {batch} images (V x B), and the reconstruction of "
            f"{len(reconstruction.loss)} victims with {reconstruction.labels.numel()} images: pass the "
            "observation that was attacked."
        )
    refuse_failed(reconstruction, "the attack" if attack is None else repr(attack.name))
    values = of_victims(reconstruction, images, observation, attack, labels, noise)
    tables = []
    for one in ("minmax", "none") if scaling == "both" else (scaling,):
        table = metrics.score(reconstruction, images, scaling=one, perceptual=perceptual)
        if scaling == "both":
            table.insert(0, "scaling", one)
        if labels is not None:
            table.insert(list(table).index("image") + 1, "true_label", labels.flatten().tolist())
        for name, value in values.items():
            table[name] = value.detach().cpu().repeat_interleave(observation.batch_size).numpy()
        tables.append(table)
    return require("pandas", "metrics").concat(tables, ignore_index=True) if tables[1:] else tables[0]


def of_victims(
    found: Reconstruction,
    images: Tensor,
    observation: Observation,
    attack: Inversion | None,
    labels: Tensor | None,
    noise: Sequence[Tensor],
    received: Observation | None = None,
) -> dict[str, Tensor]:
    """Return by name what `evaluate` says of each victim, V values each.

    Args:
        found, images, observation, attack, labels, noise: as for `evaluate`.
        received: what the gradient distance is measured to, if the observation was cleaned before the attack.
    """
    result = {"loss": found.loss, "steps": found.steps}
    told = attack is None or not isinstance(attack, Attack) or isinstance(attack.labels, Known)
    if labels is not None and (observation.labels is None or (attack is not None and not told)):
        result["label_accuracy"] = label_accuracy(found.labels, labels.reshape(found.labels.shape))
    if attack is not None:
        result["gradient_distance"] = gradient_distance(received or observation, attack, found)
    averaged = isinstance(observation.defense, Defense) and observation.defense.noise_samples > 1
    if noise and (averaged or _looks_for_several(attack)):
        return result
    if isinstance(attack, Attack) and labels is not None and _complete(observation, noise):
        result["loss_at_truth"] = loss_at_truth(observation, attack, images, labels, noise)
    if found.noise is not None and noise:
        result["noise_correlation"] = noise_correlation(found, images, noise)
    return result


def refuse_failed(found: Reconstruction, name: str) -> None:
    """Refuse what holds victims of whom nothing was found.

    Raises:
        AttackError: If there are any.
    """
    if found.failed.any():
        raise AttackError(
            f"{name} failed for {int(found.failed.sum())} of {len(found.failed)} victims: its loss was never "
            "finite there, and a mean over the others would hide it."
        )


def blind(known: Observation) -> Observation:
    """Return what the server holds of an observation that also tells the bottlenecks' noise."""
    return dataclasses.replace(known, noise=None, later=tuple(blind(one) for one in known.later))


def noise_of(known: Observation) -> tuple[Tensor, ...]:
    """Return the noise that an observation tells, update after update, N x map each."""
    return tuple(n for one in (known, *known.later) for n in one.noise or ())


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


def _looks_for_several(attack: Inversion | None) -> bool:
    return isinstance(attack, Attack) and isinstance(attack.noise, Optimize) and attack.noise.samples > 1


def _complete(observation: Observation, noise: Sequence[Tensor]) -> bool:
    """Whether there is noise for every bottleneck of every update."""
    needed = sum(len(getattr(one.model, "noise_shapes", ())) for one in (observation, *observation.later))
    return len(noise) == needed
