"""Terms of the loss besides the gradients' distance, Omega in 001 Eq. 1.

A prior is anything that maps images (V x B x C x H x W, normalized) to V values: a function, or a `Part` with
a weight. A `Term` is shown one update's forward pass instead.
"""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gleak_lib import gradients
from gleak_lib.attacks.match import Match
from gleak_lib.attacks.part import NotNegative, Part
from gleak_lib.attacks.statistics import Statistics, batch_statistics, statistics_distance
from gleak_lib.errors import ParameterError
from gleak_lib.typed import typed
from gleak_lib.types import ForwardPass, Observation


class Forward(NamedTuple):
    """What one update's forward pass tells of the dummies; N = V x samples x B."""

    model: nn.Module
    images: Tensor  # N x C x H x W
    labels: Tensor  # N class indices or N x K probabilities
    noise: tuple[Tensor, ...]  # N x map each
    run: ForwardPass
    statistics: Statistics  # the clients'
    victims: int

    def logits(self) -> Tensor:
        """Return them with a graph, N x K; `vmap`'s forward pass keeps none."""
        logits = self.run.logits
        return logits if logits.requires_grad else gradients.forward(*self[:2], self.noise).logits


class Term(Part, abc.ABC):
    """A prior on what the model makes of the images; of several updates the mean counts."""

    def check(self, observation: Observation, match: Match) -> None:
        """Refuse an observation that lacks what it needs."""

    @abc.abstractmethod
    def __call__(self, seen: Forward) -> Tensor:
        """Return V values."""


@typed
@dataclass(frozen=True)
class TotalVariation(Part):
    """Neighboring pixels are alike: `weight` (lambda in 001 Eq. 1) times `total_variation`."""

    leaves: ClassVar = {"weight": "tv"}
    weight: NotNegative = 0.01

    def __call__(self, images: Tensor) -> Tensor:
        return self.weight * total_variation(images)


@typed
@dataclass(frozen=True)
class LabelDistance(Term):
    """Logits are near the labels: `weight` (alpha in 000 Eq. 1) times the batch's mean `label_distance`, of
    another size in each `form`: `one-hot` or `paper-code`.
    """

    leaves: ClassVar = {"weight": "label_weight", "form": "label_form"}
    weight: NotNegative
    form: Literal["one-hot", "paper-code"] = "one-hot"

    def __call__(self, seen: Forward) -> Tensor:
        term = label_distance(seen.logits(), seen.labels, self.form)
        return self.weight * term.reshape(seen.victims, -1).mean(1)


@typed
@dataclass(frozen=True)
class BatchStatistics(Term):
    """The dummies' batch statistics are near the clients', where the observation grants these: `weight` times
    `statistics_distance` (Yin et al. 2021, Eq. 5).
    """

    leaves: ClassVar = {"weight": "statistics_weight"}
    weight: NotNegative

    def check(self, observation: Observation, match: Match) -> None:
        if observation.statistics is None or match.statistics == "running":
            raise ParameterError(
                "statistics_weight needs an observation that grants the clients' batch statistics "
                "(share_statistics=True) and statistics='own'."
            )

    def __call__(self, seen: Forward) -> Tensor:
        own = batch_statistics(seen.model, seen.images, seen.noise)
        return self.weight * statistics_distance(own, seen.statistics)


OPTIONAL: tuple[Any, ...] = (TotalVariation, LabelDistance, BatchStatistics)
"""Those that `Attack.replace` adds by their settings' names."""


def total_variation(images: Tensor) -> Tensor:
    """Anisotropic total variation, V values: the mean absolute difference of neighbors, down plus across.

    Args:
        images: V x ... x H x W, normalized as the model sees them; the mean is over all of a victim's images.
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(1)
    across = (images[..., :, 1:] - images[..., :, :-1]).abs().flatten(1).mean(1)
    return down + across


def label_distance(logits: Tensor, labels: Tensor, form: str = "one-hot") -> Tensor:
    """How far what the model says of the dummies is from their labels, N values: CPL's label term.

    Args:
        logits: N x K.
        labels: N class indices or N x K probabilities.
        form: `one-hot`, the *squared* distance to the one-hot labels or probabilities (000 Eq. 1), or
            `paper-code`, what the CVB paper's code computes: the distance, not squared, to the class *index*,
            broadcast over the logits. The two have other sizes. Where all logits equal the index, the
            latter's gradient is taken to be zero, as torch takes it.
    """
    if form == "paper-code":
        index = labels if labels.dim() == 1 else labels.argmax(1)
        return torch.linalg.vector_norm(logits - index.to(logits.dtype)[:, None], dim=1)
    if labels.dim() == 1:  # as `one_hot` does, which looks at values and so cannot be traced
        labels = (labels[:, None] == torch.arange(logits.shape[1], device=labels.device)).to(logits.dtype)
    return (logits - labels).square().sum(1)
