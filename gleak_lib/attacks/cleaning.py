"""What an attacker who knows the defense makes of shared updates before the inversion."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from gleak_lib.attacks.check import alike
from gleak_lib.defenses import Defense, Layout, SlicePerturbation
from gleak_lib.defenses.spectrum import as_matrix, check_law, from_matrix, without_noise
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.extras import require
from gleak_lib.gradients.factored import by_row
from gleak_lib.grammar import Noun
from gleak_lib.typed import typed
from gleak_lib.types import Grads, Observation

TRUSTED = 1e-12  # of the largest entry: what an entry becomes that is zero and matched
NORMAL_MEDIAN = 0.6745  # of |x|, x from N(0, 1)

Knowledge = Literal["choice", "layout", "variance"]
Statistic = Literal["mean", "median"]


class Cleaning(Noun, ABC):
    """Turns an observation into one that is easier to invert; derive a frozen dataclass."""

    @abstractmethod
    def __call__(self, observation: Observation) -> Observation:
        """Return what the attack then sees."""

    @property
    def estimate(self) -> str | None:
        """The attack's `estimate` that must go with it, None where any does."""
        return None

    @property
    def oracle(self) -> bool:
        """Whether it needs to be told what the clients drew (`observe(..., share_perturbed=True)`)."""
        return False


@typed
@dataclass(frozen=True)
class MuteSlices(Cleaning):
    """Leave out the entries with noise of `SlicePerturbation`: they become zero.

    The attack must not match them, which is `estimate="sparsity"`; zeros of other entries become tiny
    numbers, so that they are matched.

    Attributes:
        knows: `choice`: which slices each client drew, an oracle; `layout`: where the slices lie, those with
            noise are found by their entries (`perturbed_slices`); `variance`: not even that, and all runs of
            `window` entries are judged (`noisy_entries`).
        window: entries.

    Raises:
        ParameterError: If `window` is below 2.
    """

    knows: Knowledge = "layout"
    window: int = 32

    def __post_init__(self) -> None:
        if self.knows not in get_args(Knowledge):
            raise unknown("knowledge", self.knows, get_args(Knowledge))
        if self.window < 2:
            raise ParameterError(f"window must be at least 2, got {self.window}.")

    def __call__(self, observation: Observation) -> Observation:
        """Return the muted observation.

        Raises:
            ParameterError: If the observation's defense is another, or it lacks what is to be known.
            MissingDependencyError: scipy is not installed, where it knows the variance.
        """
        later = tuple(self(one) for one in observation.later)
        given, defense = observation.gradients, slices_of(observation)
        if self.knows == "choice":
            if (noisy := observation.perturbed) is None:
                raise ParameterError(
                    "The observation does not tell what was perturbed: pass share_perturbed=True to observe."
                )
        elif self.knows == "layout":
            layout = defense.layout_of(given)
            chosen = perturbed_slices(given, layout, defense.perturbed_slices, defense.deviation)
            noisy = layout.gradients(layout.entries(chosen), given)
        else:
            noisy = noisy_entries(given, self.window, defense.deviation)
        return dataclasses.replace(observation, gradients=muted(given, noisy), perturbed=None, later=later)

    @property
    def estimate(self) -> str:
        """Zeros are not matched."""
        return "sparsity"

    @property
    def oracle(self) -> bool:
        """It is one where it knows the choice."""
        return self.knows == "choice"


@typed
@dataclass(frozen=True)
class CombineUpdates(Cleaning):
    """Make one update of several that a client sent on the same images under the same weights.

    Attributes:
        by: entry by entry the `mean`, or the `median`, which is the entry itself wherever the noise has left
            it alone in more than half of the updates.
    """

    by: Statistic = "mean"

    def __post_init__(self) -> None:
        if self.by not in get_args(Statistic):
            raise unknown("statistic", self.by, get_args(Statistic))

    def __call__(self, observation: Observation) -> Observation:
        """Return the observation of one update.

        Raises:
            ParameterError: If the updates are of different weights, or not of the same victims.
            GradientError: If a model has changed since it was observed.
        """
        parts = (observation, *observation.later)
        alike(parts)
        _same_weights(parts)
        combine = _mean if self.by == "mean" else _median
        gradients = {
            n: combine(torch.stack([one.gradients[n] for one in parts])) for n in observation.gradients
        }
        return dataclasses.replace(observation, gradients=gradients, later=(), perturbed=None)


@typed
@dataclass(frozen=True)
class CompensateUpdates(Cleaning):
    """Take the noise out of each client's own update by the server's compensation (004 §5-C's abuse).

    Attributes:
        aspect: Q, see `federated.Compensation`.
        updates: how many each update is the mean of (`CombineUpdates`), at least 1.
    """

    aspect: float = 6.0
    updates: int = 1

    def __post_init__(self) -> None:
        check_law(1.0, self.aspect)
        if self.updates < 1:
            raise ParameterError(f"updates must be at least 1, got {self.updates}.")

    def __call__(self, observation: Observation) -> Observation:
        """Return the observation of compensated updates.

        Raises:
            ParameterError: If the observation's defense is another, or the model too small for the law.
            GradientError: If an update has less noise than the defense adds.
        """
        variance = slices_of(observation).entry_variance / self.updates
        rows = []
        for victim in range(observation.victims):
            update = {name: g[victim] for name, g in observation.gradients.items()}
            rows.append(from_matrix(without_noise(as_matrix(update, self.aspect), variance), update))
        gradients = {name: torch.stack([row[name] for row in rows]) for name in observation.gradients}
        later = tuple(self(one) for one in observation.later)
        return dataclasses.replace(observation, gradients=gradients, later=later, perturbed=None)


def noise_ratio(gradients: Grads, layout: Layout, deviation: float) -> Tensor:
    """Return how much each slice looks like noise of this deviation, V x s values: 1 is exactly so.

    It is the median of |difference of neighbors|, divided by what it is for the noise. Neighbors in a
    gradient are often alike and most of its entries small, while the noise's are all of one size and know
    nothing of each other.
    """
    lengths = torch.tensor(layout.bounds).diff().tolist()
    parts = layout.rows(gradients).split(lengths, 1)
    medians = [(part.diff(dim=1) if part.shape[1] > 1 else part).abs().median(1).values for part in parts]
    return torch.stack(medians, 1) / (NORMAL_MEDIAN * math.sqrt(2) * deviation)


def perturbed_slices(gradients: Grads, layout: Layout, count: int, deviation: float) -> Tensor:
    """Return the `count` slices of each update that look most like noise, V x s truth values.

    A slice whose gradient is itself large and rough is not taken for noise, which is small beside it.
    """
    strange = noise_ratio(gradients, layout, deviation).clamp_min(torch.finfo(torch.float32).tiny).log().abs()
    nearest = strange.topk(count, 1, largest=False).indices
    return torch.zeros_like(strange, dtype=torch.bool).scatter(1, nearest, True)


def noisy_entries(gradients: Grads, window: int, deviation: float) -> Grads:
    """Return which entries lie in a run that looks like noise of this deviation, truth values V x shape.

    Such is every run of `window` entries, wherever it begins, whose `noise_ratio` is between 1/2 and 2.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    sizes = {name: g[0].numel() for name, g in gradients.items()}
    total = sum(sizes.values())
    layout, window = Layout(tuple(sizes), tuple(sizes.values()), (0, total)), min(window, total)
    rows = layout.rows(gradients)
    steps = rows.diff(dim=1).abs().cpu().numpy()
    middles = require("scipy.ndimage", "metrics").median_filter(steps, (1, window - 1))
    whole = middles[:, (window - 1) // 2 :][:, : total - window + 1]  # no run goes beyond an end
    ratio = torch.from_numpy(whole).to(rows) / (NORMAL_MEDIAN * math.sqrt(2) * deviation)
    begins = ((ratio > 0.5) & (ratio < 2)).to(rows)
    held = F.max_pool1d(F.pad(begins, (window - 1, window - 1)), window, 1) > 0
    return layout.gradients(held, gradients)


def muted(gradients: Grads, noisy: Grads) -> Grads:
    """Return the gradients with zeros where `noisy`, and nowhere else: other zeros become tiny."""
    largest = torch.stack([by_row(g).abs().amax(1) for g in gradients.values()]).amax(0)

    def one(g: Tensor, mask: Tensor) -> Tensor:
        tiny = (TRUSTED * largest).view(-1, *[1] * (g.dim() - 1)).expand_as(g)
        return torch.where(g == 0, tiny, g).masked_fill(mask, 0.0)

    return {name: one(g, noisy[name]) for name, g in gradients.items()}


def slices_of(observation: Observation) -> SlicePerturbation:
    """Return the perturbation of slices that the observation's gradients passed.

    Raises:
        ParameterError: If there is none.
    """
    defense = observation.defense
    for part in defense.parts if isinstance(defense, Defense) else ():
        if isinstance(part, SlicePerturbation):
            return part
    raise ParameterError(
        f"The observation's defense must be slices(...), got {defense}: leave the cleaning out."
    )


def _mean(stack: Tensor) -> Tensor:
    return stack.mean(0)


def _median(stack: Tensor) -> Tensor:
    """Return the median of T values, along the first axis; `torch.quantile` refuses large tensors."""
    ordered, half = stack.sort(0).values, len(stack) - 1
    return (ordered[half // 2] + ordered[(half + 1) // 2]) / 2


def _same_weights(parts: Sequence[Observation]) -> None:
    for one in parts:
        one.check_model()
    first, *others = (dict(one.model.named_parameters()) for one in parts)
    for other in others:
        if not all(other[name] is p or torch.equal(other[name], p) for name, p in first.items()):
            raise ParameterError(
                "Updates can be combined into one only if they were computed with the same weights: attack "
                "those of different rounds together, see join."
            )
