"""What an attack minimizes: distance of the gradients, priors, noise prior (001 Eq. 1, 000 Eq. 1)."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from gleak_lib import gradients as per_victim
from gleak_lib.attacks.distances import Observed, squared_norm
from gleak_lib.attacks.match import Match
from gleak_lib.attacks.noise import copies
from gleak_lib.attacks.part import of_victims
from gleak_lib.attacks.parts import Parts
from gleak_lib.attacks.precision import Precision, mixed
from gleak_lib.attacks.priors import Forward, Term
from gleak_lib.attacks.statistics import use_running
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.gradients.factored import scaled
from gleak_lib.types import Grads, Observation, VariationalModel


class Problem(NamedTuple):
    """What the objective needs besides the unknowns, one row per victim."""

    target: Observed
    square: Tensor  # V, squared norm of the target
    labels: Tensor  # V x B class indices; unused where labels are optimized
    statistics: dict[str, Tensor]  # layer -> V x 2 x C, the clients' means and variances
    factors: dict[str, Tensor]  # parameter -> V, what its gradients are multiplied with, the target's already
    later: "tuple[Problem, ...]"  # the same of the victims' further updates

    @classmethod
    def of(
        cls,
        observation: Observation,
        labels: Tensor,
        names: Sequence[str] | None = None,
        match: Match | None = None,
    ) -> "Problem":
        """Return what an observation says of the gradients `names` (all), compared as in `match`."""
        names = tuple(observation.gradients) if names is None else tuple(names)
        target, factors = (match or Match("l2")).target(observation, names)
        later = tuple(cls.of(one, labels, names, match) for one in observation.later)
        return cls(target, squared_norm(target), labels, observation.statistics or {}, factors, later)

    def prepared(self, match: Match) -> "Problem":
        """Return the same in the form in which steps read least of it, once all victims are in it."""
        later = tuple(one.prepared(match) for one in self.later)
        return self._replace(target=match.prepared(cast(Grads, self.target)), later=later)


class Objective:
    """The loss of V victims' unknowns and its gradient; the dummies' are of `names`, in `precision`.

    Several `models` have an equal share of the victims each, in their order.
    """

    def __init__(
        self,
        observation: Observation,
        attack: Parts,
        names: Sequence[str],
        precision: Precision = "float32",
        models: Sequence[nn.Module] = (),
    ) -> None:
        self.observation, self.attack, self.names = observation, attack, tuple(names)
        self.precision: Precision = precision
        observation.check_model()
        attack.labels.check(observation)
        rows = observation.batch_size * attack.noise.samples
        running = attack.match.statistics == "running"
        prepared = [
            per_victim.prepare(use_running(model) if running else model, rows)
            for model in models or [observation.model]
        ]
        like = observation.like.new_empty(0, *observation.input_shape)
        self.model = prepared[0] if len(prepared) == 1 else per_victim.stack(prepared, like, self.names)
        per_victim.path(self.model, like, self.names)  # tried here, so that no step has to
        model = self.model
        self.count = len(model.noise_shapes) if isinstance(model, VariationalModel) else 0  # bottlenecks
        self.terms = [prior for prior in attack.priors if isinstance(prior, Term)]
        self.priors = [prior for prior in attack.priors if not isinstance(prior, Term)]
        self.later = tuple(Objective(one, attack, names, precision) for one in observation.later)
        self.models = tuple((one.model, one.count) for one in (self, *self.later))

    def loss(self, unknowns: Unknowns, problem: Problem, noise: tuple[Tensor, ...]) -> Tensor:
        """Return the reconstruction loss, V values; of several updates the mean of their distances counts.

        The noise, N x map each, N = V x samples x B, update after update, is not used if it is an unknown.
        """
        attack = self.attack
        labels = attack.labels.used(unknowns, problem.labels)
        x = self.images(unknowns, labels)
        noise = attack.noise.used(self.models, x, unknowns, noise)
        value = self._mismatch(x, labels, problem, noise[: self.count])
        rest = noise[self.count :]
        for other, theirs in zip(self.later, problem.later, strict=True):
            value = value + other._mismatch(x, labels, theirs, rest[: other.count])
            rest = rest[other.count :]
        if self.later:
            value = value / (1 + len(self.later))
        for prior in self.priors:
            value = value + of_victims(prior(x), len(x), "A prior")
        for penalty in (attack.noise.penalty(noise, len(x)), attack.variables.penalty(unknowns)):
            value = value if penalty is None else value + penalty
        return value

    def images(self, unknowns: Unknowns, labels: Tensor) -> Tensor:
        """Return the images that unknowns stand for, V x B x C x H x W, normalized.

        Labels are V x B class indices or V x B x K probabilities, of which the likeliest count.
        """
        seen = copy.copy(self.observation)  # `replace` would check its types in every step
        object.__setattr__(seen, "labels", labels if labels.dim() == 2 else labels.argmax(2))
        return self.attack.variables.images(unknowns, seen)

    def noise(self, unknowns: Unknowns, labels: Tensor, drawn: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the noise that the loss uses, N x map each: that of the unknowns, else what was drawn."""
        return self.attack.noise.used(self.models, self.images(unknowns, labels), unknowns, drawn)

    def with_noise(
        self, unknowns: Unknowns, labels: Tensor, draw: Callable[[], tuple[Tensor, ...]]
    ) -> Unknowns:
        """Return the unknowns with those of the noise, where it has any, which start as it is drawn."""
        return {**unknowns, **self.attack.noise.start(self.models, self.images(unknowns, labels), draw)}

    def value(
        self, unknowns: Unknowns, problem: Problem, noise: tuple[Tensor, ...]
    ) -> tuple[Tensor, Unknowns]:
        """Return the loss, V values, and no gradient."""
        return self.loss(unknowns, problem, noise).detach(), {}

    def gradient(
        self, unknowns: Unknowns, problem: Problem, noise: tuple[Tensor, ...]
    ) -> tuple[Tensor, Unknowns]:
        """Return the loss, V values, and its gradient."""
        x = {name: u.detach().requires_grad_() for name, u in unknowns.items()}
        loss = self.loss(x, problem, noise)
        grads = torch.autograd.grad(loss.sum(), list(x.values()))
        return loss.detach(), dict(zip(x, grads, strict=True))

    def _mismatch(self, x: Tensor, labels: Tensor, problem: Problem, noise: tuple[Tensor, ...]) -> Tensor:
        """Return how far the dummies are from one update, V values: gradients, labels, statistics."""
        attack, victims = self.attack, x.shape[0]
        images, labels = (copies(t, attack.noise.samples).flatten(0, 1) for t in (x, labels))
        with mixed(self.precision, x.device):
            grads, run = per_victim.factored_gradients(
                self.model,
                images,
                labels,
                victims=victims,
                noise=noise,
                names=self.names,
                create_graph=x.requires_grad,
                loss=self.observation.loss,
            )
        grads = {name: scaled(g.to(x.dtype), problem.factors.get(name)) for name, g in grads.items()}
        value = attack.match.apart(grads, problem.target, problem.square)
        for term in self.terms:
            seen = Forward(self.model, images, labels, noise, run, problem.statistics, victims)
            value = value + term(seen)
        return value
