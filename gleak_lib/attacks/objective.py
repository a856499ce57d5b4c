"""What an attack minimises: distance of the gradients, weighted priors, label term (001 Eq. 1, 000 Eq. 1)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gleak_lib import gradients as per_victim
from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.distances import DISTANCES
from gleak_lib.attacks.priors import label_distance, total_variation
from gleak_lib.attacks.statistics import batch_statistics, statistics_distance, use_running
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.types import Grads, Observation


class Problem(NamedTuple):
    """What the objective needs besides the unknowns, one row a victim."""

    target: Grads
    labels: Tensor  # V x B class indices; unused where labels are optimised
    statistics: dict[str, Tensor] = {}  # noqa: RUF012  layer -> V x 2 x C, the clients' means and variances


class Objective:
    """The loss of V victims' unknowns and its gradient.

    Args:
        observation: gives the model and the batch size.
        attack: gives distance and priors.
        names: parameters whose gradients are matched.
    """

    def __init__(self, observation: Observation, attack: Attack, names: Sequence[str]) -> None:
        self.attack, self.names = attack, tuple(names)
        model = use_running(observation.model) if attack.statistics == "running" else observation.model
        self.model = per_victim.prepare(model, observation.batch_size * attack.draws)

    def loss(self, unknowns: Unknowns, problem: Problem, noise: tuple[Tensor, ...]) -> Tensor:
        """Return the reconstruction loss, V values.

        Args:
            unknowns: what the attack optimises.
            problem: what it is compared with.
            noise: the bottlenecks' noise, N x map each, N = V x draws x B.
        """
        attack, x = self.attack, unknowns["image"]
        victims, draws = x.shape[0], attack.draws
        labels = unknowns["label"].softmax(-1) if "label" in unknowns else problem.labels
        images, labels_ = x, labels
        if draws > 1:  # averaging over draws is a batch in which each image stands once a draw
            images = x.repeat(1, draws, 1, 1, 1)
            labels_ = labels.repeat(1, draws, *[1] * (labels.dim() - 2))
        images, labels_ = images.flatten(0, 1), labels_.flatten(0, 1)
        grads, run = per_victim.per_victim_gradients(
            self.model,
            images,
            labels_,
            victims=victims,
            noise=noise,
            names=self.names,
            create_graph=True,
        )
        value = DISTANCES[attack.distance](
            transformed(grads, problem.target, attack.estimate), problem.target
        )
        if attack.tv:
            value = value + attack.tv * total_variation(x)
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


def transformed(grads: Grads, target: Grads, estimate: str) -> Grads:
    """Apply what the observed gradients tell of the defence to the dummies' gradients (003, T).

    Args:
        grads, target: of the dummies, and observed, V x shape each.
        estimate: as in `Attack`.
    """
    if estimate == "sparsity":
        return {name: g * (target[name] != 0) for name, g in grads.items()}
    if estimate == "clipping":
        return {n: _shortened(g.flatten(1), target[n].flatten(1)).reshape(g.shape) for n, g in grads.items()}
    return grads


def _shortened(rows: Tensor, to: Tensor) -> Tensor:
    """Scale rows that are longer than those of `to` down to their length."""
    bound = torch.linalg.vector_norm(to, dim=1, keepdim=True)
    return rows * (bound / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12)).clamp(max=1)
