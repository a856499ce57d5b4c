"""One optimisation step for all victims at once, as a pure function; optionally compiled."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gleak_lib.attacks import adam, lbfgs, schedules
from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.compiled import Compiled
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.unknowns import Unknowns, select, take, take_noise
from gleak_lib.pixels import normalize
from gleak_lib.types import Observation

COMPACT_BELOW = 0.9  # stopped victims leave the batch once fewer than this share are active


class Optimizer(NamedTuple):
    """A way to move the unknowns downhill; every tensor of its memory has a row a victim."""

    init: Callable[[Unknowns, Attack], Any]
    """(unknowns, attack) -> memory before the first step."""
    step: Callable[..., tuple[Unknowns, Any, Tensor]]
    """(unknowns, evaluate, memory, lr V, step number, attack) -> (unknowns, memory, loss V before)."""
    whole: bool
    """Whether the whole step is compiled; else only the evaluation is, of which it makes several."""


OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer(adam.init, adam.step, whole=True),
    "lbfgs": Optimizer(lbfgs.init, lbfgs.step, whole=False),
}


class State(NamedTuple):
    """The victims in the batch."""

    unknowns: Unknowns
    memory: Any
    progress: schedules.Progress
    best: Unknowns


class Step:
    """One optimisation step as a pure function of (state, problem, noise, t).

    Args:
        observation: gives the model, the batch size and the pixel range.
        attack: gives distance, prior, optimiser, schedule.
        names: parameters whose gradients are matched.
        compile: trace the step (or, for L-BFGS, one evaluation), first backward pass included, into one
            graph and compile that.
    """

    def __init__(
        self, observation: Observation, attack: Attack, names: Sequence[str], *, compile: bool = False
    ) -> None:
        self.attack, self.compile = attack, compile
        self.objective = Objective(observation, attack, names)
        self.optimizer = OPTIMIZERS[attack.optimizer]
        reference = next(iter(observation.gradients.values()))
        bounds = torch.tensor([0.0, 1.0], dtype=reference.dtype, device=reference.device).view(2, 1, 1, 1)
        bounds = bounds.expand(2, len(observation.mean), 1, 1)
        self.low, self.high = normalize(bounds, observation.mean, observation.std)
        self.run = Compiled(self.eager) if compile and self.optimizer.whole else self.eager
        self.evaluate = Compiled(self.objective.gradient) if compile else self.objective.gradient

    def capacity(self, victims: int) -> int:
        """Active victims below which the batch is compacted; compiled steps are worth fewer sizes."""
        return victims // 2 if self.compile else math.ceil(COMPACT_BELOW * victims)

    def start(self, unknowns: Unknowns) -> State:
        """Return the state before the first step."""
        image = unknowns["image"]
        progress = schedules.start(len(image), self.attack, image)
        return State(unknowns, self.optimizer.init(unknowns, self.attack), progress, unknowns)

    def __call__(
        self, state: State, problem: Problem, noise: tuple[Tensor, ...], t: int
    ) -> tuple[State, Tensor]:
        """Return the state after step number t and the loss (V) before it."""
        image = state.unknowns["image"]
        tick = torch.full((), float(t), dtype=image.dtype, device=image.device)  # filled there, not copied
        return self.run(state, problem, noise, tick)

    def eager(
        self, state: State, problem: Problem, noise: tuple[Tensor, ...], tick: Tensor
    ) -> tuple[State, Tensor]:
        """The step itself."""

        def evaluate(unknowns: Unknowns, live: Tensor | None) -> tuple[Tensor, Unknowns]:
            if self.optimizer.whole:
                return self.objective.gradient(unknowns, problem, noise)
            if live is None or self.compile or live.is_cuda or bool(live.all()):  # a GPU does not wait
                return self.evaluate(unknowns, problem, noise)
            rows = live.nonzero().squeeze(1)
            few = take_noise(noise, rows, len(live))
            loss, grads = self.evaluate(take(unknowns, rows), take(problem, rows), few)
            whole = {n: torch.zeros_like(u).index_copy(0, rows, grads[n]) for n, u in unknowns.items()}
            return loss.new_zeros(len(live)).index_copy(0, rows, loss), whole

        before, lr = state.unknowns, state.progress.lr
        moved, memory, loss = self.optimizer.step(before, evaluate, state.memory, lr, tick, self.attack)
        progress, improved = schedules.advance(state.progress, loss, self.attack)
        if self.attack.box:
            image = torch.maximum(torch.minimum(moved["image"], self.high), self.low)
            moved = {**moved, "image": image}
        finite = {n: torch.where(torch.isfinite(u), u, before[n]) for n, u in moved.items()}
        moved = select(state.progress.active, finite, before)
        kept = before if self.attack.keep == "evaluated" else moved
        return State(moved, memory, progress, select(improved, kept, state.best)), loss
