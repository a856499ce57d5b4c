"""One optimisation step for all victims at once, as a pure function; optionally compiled."""

import math
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gleak_lib.attacks import adam, lbfgs, schedules
from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.compiled import Compiled
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.precision import Precision
from gleak_lib.attacks.replay import Replayed
from gleak_lib.attacks.unknowns import Unknowns, draw_of, join, select, take, take_noise
from gleak_lib.pixels import normalize
from gleak_lib.types import Observation

CHUNK = 256  # victims that a processor steps at a time: what more need no longer fits its cache
COMPACT_BELOW = 0.9  # stopped victims leave the batch once fewer than this share are active


class Optimizer(NamedTuple):
    """A way to move the unknowns downhill; every tensor of its memory has a row a victim."""

    init: Callable[[Unknowns, Attack], Any]
    """(unknowns, attack) -> memory before the first step."""
    step: Callable[..., tuple[Unknowns, Any, Tensor]]
    """(unknowns, evaluate, memory, lr V, step number, attack) -> (unknowns, memory, loss V before)."""
    one: bool
    """Whether a step makes one evaluation and is compiled as a whole; else the evaluation alone is."""
    waits: Callable[[Attack, torch.device], bool]
    """(attack, device) -> whether a step looks at values on the host, and so is not recorded as a whole."""


OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer(adam.init, adam.step, True, lambda _attack, _device: False),
    "lbfgs": Optimizer(lbfgs.init, lbfgs.step, False, lbfgs.waits),
}


class State(NamedTuple):
    """The victims in the batch."""

    unknowns: Unknowns
    memory: Any
    progress: schedules.Progress
    best: Unknowns


class Step:
    """One optimisation step as a pure function of (state, problem, noise, t).

    The noise holds all draws of the step, V x `attack.noise_draws` x draws x B rows, so that which evaluation
    uses which draw does not depend on when a victim ends its iterations.

    Args:
        observation: gives the model, the batch size and the pixel range.
        attack: gives distance, prior, optimiser, schedule.
        names: parameters whose gradients are matched.
        compile: trace the step (or, for L-BFGS, one evaluation), first backward pass included, into one
            graph and compile that.
        replay: keep the step (or one evaluation, where the rest looks at values) on static buffers, on a
            GPU as a CUDA graph; the states that it returns are valid until the next step. None means: on
            a GPU.
        precision: of the dummy gradients, see `attacks.precision`.
    """

    def __init__(
        self,
        observation: Observation,
        attack: Attack,
        names: Sequence[str],
        *,
        compile: bool = False,
        replay: bool | None = None,
        precision: Precision = "float32",
    ) -> None:
        reference = next(iter(observation.gradients.values()))
        self.attack, self.compile = attack, compile
        self.replay = reference.is_cuda if replay is None else replay
        self.objective = Objective(observation, attack, names, precision)
        self.optimizer = OPTIMIZERS[attack.optimizer]
        self.waits = self.optimizer.waits(attack, reference.device)
        bounds = torch.tensor([0.0, 1.0], dtype=reference.dtype, device=reference.device).view(2, 1, 1, 1)
        bounds = bounds.expand(2, len(observation.mean), 1, 1)
        self.low, self.high = normalize(bounds, observation.mean, observation.std)
        self.run, self.evaluate = self.eager, self.objective.gradient
        if compile and self.optimizer.one:
            self.run = Compiled(self.run)
        elif compile:
            self.evaluate = Compiled(self.evaluate)
        if self.replay and not self.waits:
            self.run = Replayed(self.run, feedback=True)
        elif self.replay:
            self.evaluate = Replayed(self.evaluate, feedback=False)

    def capacity(self, victims: int) -> int:
        """Active victims below which the batch is compacted; steps made for one size are worth fewer."""
        return victims // 2 if self.compile or self.replay else math.ceil(COMPACT_BELOW * victims)

    def start(self, unknowns: Unknowns) -> State:
        """Return the state before the first step."""
        image = unknowns["image"]
        progress = schedules.start(len(image), self.attack, image)
        best = {name: u.clone() for name, u in unknowns.items()}  # a compiled step tells tensors apart
        return State(unknowns, self.optimizer.init(unknowns, self.attack), progress, best)

    def __call__(
        self, state: State, problem: Problem, noise: tuple[Tensor, ...], t: int
    ) -> tuple[State, Tensor]:
        """Return the state after step number t and the loss (V) before it."""
        image = state.unknowns["image"]
        tick = torch.full((), float(t), dtype=image.dtype, device=image.device)  # filled there, not copied
        if image.device.type != "cpu" or len(image) <= CHUNK:
            return self.run(state, problem, noise, tick)
        parts = []
        for start in range(0, len(image), CHUNK):
            rows = slice(start, start + CHUNK)
            few = take_noise(noise, rows, len(image))
            parts.append(self.run(take(state, rows), take(problem, rows), few, tick))
        return join(parts)

    def eager(
        self, state: State, problem: Problem, noise: tuple[Tensor, ...], tick: Tensor
    ) -> tuple[State, Tensor]:
        """The step itself."""
        numbers, draws = count(), self.attack.noise_draws

        def evaluate(unknowns: Unknowns, live: Tensor | None) -> tuple[Tensor, Unknowns]:
            fixed = self.compile or self.replay or not self.waits  # made for one number of victims
            own = draw_of(noise, next(numbers), draws, len(unknowns["image"]))
            if live is None or fixed or bool(live.all()):
                return self.evaluate(unknowns, problem, own)
            rows = live.nonzero().squeeze(1)
            few = take_noise(own, rows, len(live))
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
