"""One optimisation step for all victims at once, as a pure function; optionally compiled."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gleak_lib import gradients as per_victim
from gleak_lib.attacks import adam, schedules
from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.distances import DISTANCES
from gleak_lib.attacks.priors import total_variation
from gleak_lib.pixels import normalize
from gleak_lib.types import Grads, Observation

COMPACT_BELOW = 0.9  # stopped victims leave the batch once fewer than this share are active


class State(NamedTuple):
    """The victims in the batch: dummies and best iterates are V x B x C x H x W, normalised."""

    x: Tensor
    moments: tuple[Tensor, Tensor]
    progress: schedules.Progress
    best_x: Tensor


class Problem(NamedTuple):
    """What a step needs besides the state, one row a victim."""

    target: Grads
    labels: Tensor  # V x B


class Step:
    """One optimisation step as a pure function of (state, problem, noise, t); optionally compiled.

    Args:
        observation: gives the model, the batch size and the pixel range.
        attack: gives distance, prior, optimiser, schedule.
        names: parameters whose gradients are matched.
        compile: trace the step, first backward pass included, into one graph and compile that.
    """

    def __init__(
        self, observation: Observation, attack: Attack, names: Sequence[str], *, compile: bool = False
    ) -> None:
        self.attack, self.names = attack, tuple(names)
        self.model = per_victim.prepare(observation.model, observation.batch_size * attack.draws)
        reference = next(iter(observation.gradients.values()))
        bounds = torch.tensor([0.0, 1.0], dtype=reference.dtype, device=reference.device).view(2, 1, 1, 1)
        bounds = bounds.expand(2, len(observation.mean), 1, 1)
        self.low, self.high = normalize(bounds, observation.mean, observation.std)
        self.compile = compile
        self.graphs: dict[int, Any] = {}  # compiled steps by number of victims
        self.warned = False

    def capacity(self, victims: int) -> int:
        """Active victims below which the batch is compacted; compiled steps are worth fewer sizes."""
        return victims // 2 if self.compile else math.ceil(COMPACT_BELOW * victims)

    def __call__(
        self, state: State, problem: Problem, noise: tuple[Tensor, ...], t: int
    ) -> tuple[State, Tensor]:
        """Return the state after step number t and the loss (V) before it."""
        tick = torch.tensor(float(t), dtype=state.x.dtype, device=state.x.device)
        if not self.compile:
            return self.eager(state, problem, noise, tick)
        from gleak_lib.attacks.compiled import compiled_step

        return compiled_step(self, state, problem, noise, tick)

    def loss(self, x: Tensor, problem: Problem, noise: tuple[Tensor, ...]) -> Tensor:
        """Reconstruction loss of dummies x, V values: distance of the gradients plus weighted prior."""
        victims, draws = x.shape[0], self.attack.draws
        images, labels = x, problem.labels
        if draws > 1:  # averaging over draws is a batch in which each image stands once a draw
            images = x.repeat(1, draws, 1, 1, 1)
            labels = labels.repeat(1, draws)
        grads, _ = per_victim.per_victim_gradients(
            self.model,
            images.flatten(0, 1),
            labels.flatten(),
            victims=victims,
            noise=noise,
            names=self.names,
            create_graph=True,
        )
        value = DISTANCES[self.attack.distance](grads, problem.target)
        return value + self.attack.tv * total_variation(x) if self.attack.tv else value

    def eager(
        self, state: State, problem: Problem, noise: tuple[Tensor, ...], tick: Tensor
    ) -> tuple[State, Tensor]:
        """The step itself."""
        x = state.x.detach().requires_grad_()
        loss = self.loss(x, problem, noise)
        (grad,) = torch.autograd.grad(loss.sum(), x)
        loss, x = loss.detach(), x.detach()
        progress, improved = schedules.advance(state.progress, loss, self.attack)
        grad = grad.sign() if self.attack.sign else grad
        moved, *moments = adam.step(x, grad, state.moments, state.progress.lr, tick)
        if self.attack.box:
            moved = torch.maximum(torch.minimum(moved, self.high), self.low)
        wide = (-1, 1, 1, 1, 1)
        moved = torch.where(state.progress.active.view(wide) & torch.isfinite(moved), moved, x)
        kept = x if self.attack.keep == "evaluated" else moved
        best_x = torch.where(improved.view(wide), kept, state.best_x)
        return State(moved, (moments[0], moments[1]), progress, best_x), loss
