"""What an attack minimises: distance of the gradients, weighted priors, label term (001 Eq. 1, 000 Eq. 1)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gleak_lib import gradients as per_victim
from gleak_lib.attacks import noise as noises
from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.distances import DISTANCES, SCALE_FREE, near_one, squared_norm
from gleak_lib.attacks.precision import Precision, mixed
from gleak_lib.attacks.priors import label_distance, total_variation
from gleak_lib.attacks.statistics import batch_statistics, statistics_distance, use_running
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.attacks.weighting import inverse_deviations
from gleak_lib.outer import FactoredGrads, Outer, by_row, dense
from gleak_lib.types import Grads, Observation, VariationalModel


class Problem(NamedTuple):
    """What the objective needs besides the unknowns, one row a victim."""

    target: Grads
    square: Tensor  # V, squared norm of the target
    labels: Tensor  # V x B class indices; unused where labels are optimised
    statistics: dict[str, Tensor]  # layer -> V x 2 x C, the clients' means and variances
    factors: dict[str, Tensor]  # parameter -> V, what its gradients are multiplied with, the target's already
    later: "tuple[Problem, ...]"  # the same of the victims' further updates

    @classmethod
    def of(
        cls,
        observation: Observation,
        labels: Tensor | None,
        names: Sequence[str] | None = None,
        attack: Attack | None = None,
    ) -> "Problem":
        """Return what an observation says of the gradients `names`, all by default.

        Args:
            observation: of V victims.
            labels: V x B.
            names: parameters.
            attack: whose `weighting` counts, and whose distance may leave the gradients' scale free.
        """
        assert labels is not None
        gradients = observation.gradients
        target = {name: gradients[name] for name in (gradients if names is None else names)}
        weighted = attack is not None and attack.weighting != "none"
        factors = inverse_deviations(observation, tuple(target)) if weighted else {}
        target = {name: _times(g, factors.get(name)) for name, g in target.items()}
        if attack is not None and attack.distance in SCALE_FREE and attack.estimate != "clipping":
            target = near_one(target)
        later = tuple(cls.of(one, labels, names, attack) for one in observation.later)
        return cls(target, squared_norm(target), labels, observation.statistics or {}, factors, later)


class Objective:
    """The loss of V victims' unknowns and its gradient.

    Args:
        observation: gives the model and the batch size, and those of further updates.
        attack: gives distance and priors.
        names: parameters whose gradients are matched.
        precision: in which the dummy gradients are computed; all else stays as it is.
    """

    def __init__(
        self,
        observation: Observation,
        attack: Attack,
        names: Sequence[str],
        precision: Precision = "float32",
    ) -> None:
        self.attack, self.names = attack, tuple(names)
        self.precision: Precision = precision
        model = use_running(observation.model) if attack.statistics == "running" else observation.model
        self.model = per_victim.prepare(model, observation.batch_size * attack.draws)
        like = next(iter(observation.gradients.values())).new_empty(0, *observation.input_shape)
        per_victim.path(self.model, like, self.names)  # tried here, so that no step has to
        self.count = len(model.noise_shapes) if isinstance(model, VariationalModel) else 0  # bottlenecks
        self.later = tuple(Objective(one, attack, names, precision) for one in observation.later)

    def loss(self, unknowns: Unknowns, problem: Problem, noise: tuple[Tensor, ...]) -> Tensor:
        """Return the reconstruction loss, V values; of several updates the mean of their distances counts.

        Args:
            unknowns: what the attack optimises.
            problem: what it is compared with.
            noise: the bottlenecks' noise, N x map each, N = V x draws x B, update after update; not used
                where the noise is among the unknowns.
        """
        attack, x = self.attack, unknowns["image"]
        labels = unknowns["label"].softmax(-1) if "label" in unknowns else problem.labels
        noise = self.noise(unknowns, noise)
        value = self._mismatch(x, labels, problem, noise[: self.count])
        rest = noise[self.count :]
        for other, theirs in zip(self.later, problem.later, strict=True):
            value = value + other._mismatch(x, labels, theirs, rest[: other.count])
            rest = rest[other.count :]
        if self.later:
            value = value / (1 + len(self.later))
        if attack.tv:
            value = value + attack.tv * total_variation(x)
        if attack.noise == "optimize" and attack.noise_weight and noise:
            value = value + attack.noise_weight * noises.prior(noise, attack.noise_prior, len(x))
        return value

    def noise(self, unknowns: Unknowns, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the noise that the loss uses, N x map each: that of the unknowns, else what is given."""
        own = noises.from_unknowns(unknowns)
        if not own or self.attack.noise_form == "eps":
            return own or given
        return self._by_update(noises.to_noise, unknowns["image"], own)

    def with_noise(self, unknowns: Unknowns, noise: tuple[Tensor, ...]) -> Unknowns:
        """Return the unknowns and, among them, this noise in the attack's own form."""
        x = unknowns["image"]
        if self.attack.noise_form == "z":
            with torch.no_grad():
                noise = self._by_update(noises.to_samples, x, noise)
        return {**unknowns, **noises.as_unknowns(noise, len(x))}

    def _by_update(
        self, convert: Callable[..., tuple[Tensor, ...]], x: Tensor, values: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = ()
        images = self._for_draws(x).flatten(0, 1)
        for one in (self, *self.later):
            start = len(found)
            found += convert(one.model, images, values[start : start + one.count])
        return found

    def _for_draws(self, t: Tensor) -> Tensor:
        """Return V x (draws * B) x ...: the mean over draws is that of a batch of repeated images."""
        draws = self.attack.draws
        return t.repeat(1, draws, *[1] * (t.dim() - 2)) if draws > 1 else t

    def _mismatch(self, x: Tensor, labels: Tensor, problem: Problem, noise: tuple[Tensor, ...]) -> Tensor:
        """Return how far the dummies are from one update, V values: gradients, labels, statistics."""
        attack, victims = self.attack, x.shape[0]
        images, labels_ = (self._for_draws(t).flatten(0, 1) for t in (x, labels))
        with mixed(self.precision, x.device):
            grads, run = per_victim.factored_gradients(
                self.model,
                images,
                labels_,
                victims=victims,
                noise=noise,
                names=self.names,
                create_graph=True,
            )
        grads = {name: _times(g.to(x.dtype), problem.factors.get(name)) for name, g in grads.items()}
        grads = transformed(grads, problem.target, attack.estimate)
        value = DISTANCES[attack.distance](grads, problem.target, problem.square)
        if attack.label_weight:
            logits = run.logits
            if not logits.requires_grad:  # vmap's forward pass keeps no graph
                logits = per_victim.forward(self.model, images, noise).logits
            term = label_distance(logits, labels_, attack.label_term)
            value = value + attack.label_weight * term.reshape(victims, -1).mean(1)
        if attack.statistics_weight:
            own = batch_statistics(self.model, images, noise)
            value = value + attack.statistics_weight * statistics_distance(own, problem.statistics)
        return value

    def gradient(
        self, unknowns: Unknowns, problem: Problem, noise: tuple[Tensor, ...]
    ) -> tuple[Tensor, Unknowns]:
        """Return the loss, V values, and its gradient, or the sign of that where the attack asks for it."""
        x = {name: u.detach().requires_grad_() for name, u in unknowns.items()}
        loss = self.loss(x, problem, noise)
        grads = torch.autograd.grad(loss.sum(), list(x.values()))
        if self.attack.sign:
            grads = [g.sign() for g in grads]
        return loss.detach(), dict(zip(x, grads, strict=True))


def transformed(grads: FactoredGrads, target: Grads, estimate: str) -> FactoredGrads:
    """Apply what the observed gradients tell of the defence to the dummies' gradients (003, T).

    Args:
        grads, target: of the dummies, and observed, V x shape each.
        estimate: as in `Attack`.
    """
    if estimate == "none":
        return grads
    whole = {name: dense(g) for name, g in grads.items()}
    if estimate == "sparsity":
        return {name: g * (target[name] != 0) for name, g in whole.items()}
    return {n: _shortened(by_row(g), by_row(target[n])).reshape(g.shape) for n, g in whole.items()}


def _times(gradient: Any, factors: Tensor | None) -> Any:
    """Multiply a gradient V x ..., maybe in factors, by one number a victim."""
    if factors is None:
        return gradient
    if isinstance(gradient, Outer):
        return gradient._replace(left=gradient.left * factors[:, None, None])
    return gradient * factors.view(-1, *[1] * (gradient.dim() - 1))


def _shortened(rows: Tensor, to: Tensor) -> Tensor:
    """Scale rows that are longer than those of `to` down to their length."""
    bound = torch.linalg.vector_norm(to, dim=1, keepdim=True)
    return rows * (bound / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12)).clamp(max=1)
