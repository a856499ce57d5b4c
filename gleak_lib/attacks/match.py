"""What is compared: which gradients, by which distance, and what is known of how they came about."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from gleak_lib import gradients as engine
from gleak_lib.attacks.distances import DISTANCES, Distance, Observed, near_one
from gleak_lib.attacks.estimates import ESTIMATES
from gleak_lib.attacks.part import Part, among, of_victims
from gleak_lib.bottlenecks import sample_noise
from gleak_lib.defenses import Defense
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.global_generator import isolated
from gleak_lib.gradients.factored import FactoredGrads, dense, scaled
from gleak_lib.models.base import before_decoder, parameter_groups
from gleak_lib.typed import typed
from gleak_lib.types import Grads, Observation

BATCHES, DRAWS = 4, 8  # dummies, and draws of the noise for each
LEAST = 1e-6  # deviations below this share of the largest count as that
SEED = 0  # the dummies are no unknowns: all victims, and all who ask, get the same weights


def inverse_deviations(observation: Observation, names: Sequence[str]) -> dict[str, Tensor]:
    """Return what each parameter tensor's gradient is multiplied with, V values each, at most 1.

    The variance is that over draws of eps at fixed dummies from N(0, 1), averaged over these, their classes
    and the tensor's entries. Without bottlenecks it is zero, and all tensors count alike.
    """
    like = observation.like
    model, rows = engine.prepare(observation.model, observation.batch_size), BATCHES * observation.batch_size
    stream = torch.Generator().manual_seed(SEED)
    images = torch.randn(rows, *observation.input_shape, generator=stream).to(like)
    with isolated(like.device), torch.no_grad():
        classes = engine.forward(model, images).logits.shape[1]
    labels = torch.arange(rows, device=like.device) % classes
    first: dict[str, Tensor] = {}  # draws are summed relative to the first: without noise nothing is left
    total: dict[str, Tensor] = {}
    square: dict[str, Tensor] = {}
    for _ in range(DRAWS):
        noise = sample_noise(model, rows, like, stream)
        grads, _ = engine.per_victim_gradients(
            model, images, labels, victims=BATCHES, noise=noise, names=names, loss=observation.loss
        )
        for name, g in grads.items():
            difference = (g - first.setdefault(name, g)).detach().double()
            total[name] = total.get(name, 0) + difference
            square[name] = square.get(name, 0) + difference.square().sum()
    deviation = {
        name: ((square[name] - t.square().sum() / DRAWS).clamp_min(0) / (DRAWS * t.numel())).sqrt()
        for name, t in total.items()
    }
    floor = LEAST * torch.stack(list(deviation.values())).max()
    deviation = {name: d.clamp_min(floor) for name, d in deviation.items()}
    least = torch.stack(list(deviation.values())).min()
    factors = {name: torch.where(d > 0, least / d, 1.0) for name, d in deviation.items()}
    return {name: f.to(like).repeat(observation.victims) for name, f in factors.items()}


WEIGHTINGS = {"variance": inverse_deviations}


MASKS = ("all", "before-decoder")
LAST = "last"


@typed
@dataclass(frozen=True)
class Match(Part):
    """How the dummies' gradients are held against the observed ones (001 Eq. 1).

    Attributes:
        distance: a name in `DISTANCES`, or a function (dummy gradients, observed ones) -> V values, both
            name -> V x the parameter's shape.
        layers: parameter groups whose gradients are matched: `all`, `before-decoder` (001 Eq. 4), or group
            names as `parameter_groups(model)` gives them.
        exclude: group names taken out of `layers`; `last` is the layer that the observation's defense
            targets, as far as it targets one, else the model's last group, its classifier.
        weighting: how much each parameter tensor counts: all entries alike (`none`), divided by the deviation
            that the noise gives them (`variance`), or a function (observation, names) -> name -> V factors.
        estimate: what of the defense is read off the observed gradients and applied to the dummies' (003):
            nothing (`none`), the zeros as a mask (`sparsity`: compression, Soteria), each tensor's norm as a
            bound (`clipping`), that of the whole gradient (`clipping-whole`), or a function (dummy gradients,
            observed ones) -> dummy gradients.
        statistics: what normalizes the dummies where the clients' BatchNorm was in training mode: their `own`
            batch, as it was for the clients, or the model's `running` averages.
    """

    distance: str | Callable[..., Tensor] = "cosine"
    layers: str | tuple[str, ...] = "all"
    exclude: tuple[str, ...] = ()
    weighting: str | Callable[..., dict[str, Tensor]] = "none"
    estimate: str | Callable[..., Grads] = "none"
    statistics: Literal["own", "running"] = "own"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.distance, str) and self.distance not in DISTANCES:
            raise unknown("distance", self.distance, DISTANCES)
        if isinstance(self.layers, str):
            among(MASKS, layers=self.layers)
        if isinstance(self.weighting, str):
            among(("none", *WEIGHTINGS), weighting=self.weighting)
        if isinstance(self.estimate, str):
            among(("none", *ESTIMATES), estimate=self.estimate)

    def names(self, observation: Observation) -> tuple[str, ...]:
        """Return the parameters whose gradients are matched, in the model's order.

        Raises:
            UnknownNameError, ParameterError: as `select`.
        """
        groups, defense = parameter_groups(observation.model), observation.defense
        shared = observation.gradients  # a client that freezes parameters does not send theirs
        groups = {group: tuple(n for n in names if n in shared) for group, names in groups.items()}
        targets = set(defense.targets(observation.model)) if isinstance(defense, Defense) else set()
        if LAST not in self.exclude or not targets:
            return select(self.layers, self.exclude, groups)
        others = tuple(group for group in self.exclude if group != LAST)
        left = {group: tuple(n for n in names if n not in targets) for group, names in groups.items()}
        return select(self.layers, others, left)

    @property
    def measure(self) -> Distance:
        """The distance itself."""
        if isinstance(self.distance, Distance):
            return self.distance
        if isinstance(self.distance, str):
            return DISTANCES[self.distance]
        return Distance(functools.partial(_by_function, self.distance))

    def target(self, observation: Observation, names: Sequence[str]) -> tuple[Grads, dict[str, Tensor]]:
        """Return the observed gradients as they are matched, and what the dummies' are multiplied with."""
        weigh = WEIGHTINGS.get(self.weighting) if isinstance(self.weighting, str) else self.weighting
        factors = weigh(observation, tuple(names)) if weigh else {}
        target = {name: scaled(observation.gradients[name], factors.get(name)) for name in names}
        free = self.measure.scale_free and self.estimate in ("none", "sparsity")
        return near_one(target) if free else target, factors

    def prepared(self, target: Grads) -> Observed:
        """Return the target in the form in which `apart` reads least of it."""
        return self.measure.prepared(target) if self.estimate == "none" else target

    def apart(self, dummy: FactoredGrads, target: Observed, square: Tensor) -> Tensor:
        """Return how far dummy gradients are from the target, whose squared norms (V) are known; V values."""
        estimate = ESTIMATES.get(self.estimate) if isinstance(self.estimate, str) else self.estimate
        if estimate:  # then `prepared` left the target as it is
            dummy = estimate(_written_out(dummy), cast(Grads, target))
        return self.measure(dummy, target, square)


def select(
    layers: str | tuple[str, ...], exclude: tuple[str, ...], groups: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the parameter names that a layer mask keeps, in the model's order.

    Args:
        layers, exclude: as in `Match`.
        groups: parameter names by group, from `parameter_groups`.

    Raises:
        UnknownNameError: If the model lacks a group.
        ParameterError: If nothing is left.
    """
    if layers == "all":
        chosen = tuple(groups)
    elif layers == "before-decoder":
        chosen = before_decoder(tuple(groups))
    else:
        chosen = tuple(layers)
    exclude = tuple(list(groups)[-1] if group == LAST else group for group in exclude)
    for group in (*chosen, *exclude):
        if group not in groups:
            raise unknown("parameter group", group, groups)
    names = tuple(n for g, members in groups.items() if g in chosen and g not in exclude for n in members)
    if not names:
        raise ParameterError(f"The layer mask keeps no gradients: choose among {', '.join(groups)}.")
    return names


def _by_function(function: Callable[..., Tensor], dummy: FactoredGrads, observed: Grads, _square) -> Tensor:
    grads = _written_out(dummy)
    value = of_victims(function(grads, observed), len(next(iter(grads.values()))), "A distance")
    if not value.requires_grad and any(g.requires_grad for g in grads.values()):
        raise ParameterError(
            "A distance must be differentiable in the dummy gradients, its first argument, and this one has "
            "no gradient: leave out detach, item, argmax and the like."
        )
    return value


def _written_out(gradients: FactoredGrads) -> Grads:
    return {name: dense(g) for name, g in gradients.items()}
