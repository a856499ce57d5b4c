"""One optimization step for all victims at once, as a pure function; optionally compiled."""

import math
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.parts import Parts
from gleak_lib.attacks.precision import Precision
from gleak_lib.attacks.replay import Compiled, Replayed
from gleak_lib.attacks.schedule import Progress
from gleak_lib.attacks.unknowns import Unknowns, draw_of, join, repeated, select, take, take_noise
from gleak_lib.types import Observation

CHUNK = 256  # victims that a processor steps at a time: what more need no longer fits its cache
COMPACT_BELOW = 0.9  # stopped victims leave the batch once fewer than this share are active


class State(NamedTuple):
    """The victims in the batch."""

    unknowns: Unknowns
    memory: Any
    progress: Progress
    best: Unknowns


class Step:
    """One optimization step as a pure function of (state, problem, noise, t).

    The noise holds all draws of the step, V x draws x samples x B rows, so that which evaluation uses which
    draw does not depend on when a victim ends its iterations.

    Args:
        observation: gives the model, the batch size and the pixel range.
        attack: its parts say what is minimized, and how.
        names: parameters whose gradients are matched.
        compile: the step, or for L-BFGS one evaluation; see `Compiled`.
        replay: the step, or one evaluation where the rest looks at values; see `Replayed`. The states that
            it returns are valid until the next step. None means: on a GPU.
        precision: of the dummy gradients, see `attacks.precision`.
        models: that share the victims, each an equal number of them; by default the observation's alone.
    """

    def __init__(
        self,
        observation: Observation,
        attack: Parts,
        names: Sequence[str],
        *,
        compile: bool = False,
        replay: bool | None = None,
        precision: Precision = "float32",
        models: Sequence[nn.Module] = (),
    ) -> None:
        reference = observation.like
        self.attack, self.compile = attack, compile
        self.replay = reference.is_cuda if replay is None else replay
        self.together = len(models) > 1  # then each model keeps its share of the rows until the end
        self.objective = Objective(observation, attack, names, precision, models)
        self.waits = attack.optimizer.waits(reference.device)
        self.draws = attack.noise.draws(attack.optimizer.evaluations)
        self.project = attack.variables.projection(observation)
        self.run: Any = self.eager
        self.evaluate = self.objective.value if attack.optimizer.gradient_free else self.objective.gradient
        if compile and attack.optimizer.whole:
            self.run = Compiled(self.run)
        elif compile:
            self.evaluate = Compiled(self.evaluate)
        if self.replay and not self.waits:
            self.run = Replayed(self.run, feedback=True)
        elif self.replay:
            self.evaluate = Replayed(self.evaluate, feedback=False)

    def capacity(self, victims: int) -> int:
        """Active victims below which the batch is compacted; steps made for one size are worth fewer."""
        if self.together:
            return 0
        return victims // 2 if self.compile or self.replay else math.ceil(COMPACT_BELOW * victims)

    def start(self, unknowns: Unknowns) -> State:
        """Return the state before the first step."""
        optimizer, schedule = self.attack.optimizer, self.attack.schedule
        progress = schedule.start(optimizer.lr, next(iter(unknowns.values())))
        best = {name: u.clone() for name, u in unknowns.items()}  # a compiled step tells tensors apart
        return State(unknowns, optimizer.init(unknowns, schedule.max_steps), progress, best)

    def __call__(
        self, state: State, problem: Problem, noise: tuple[Tensor, ...], t: int
    ) -> tuple[State, Tensor]:
        """Return the state after step number t and the loss (V) before it."""
        lr = state.progress.lr
        tick = torch.full((), float(t), dtype=lr.dtype, device=lr.device)  # filled there, not copied
        whole = self.together or self.attack.optimizer.gradient_free
        if whole or lr.device.type != "cpu" or len(lr) <= CHUNK:
            return self.run(state, problem, noise, tick)
        parts = []
        for start in range(0, len(lr), CHUNK):
            rows = slice(start, start + CHUNK)
            few = take_noise(noise, rows, len(lr))
            parts.append(self.run(take(state, rows), take(problem, rows), few, tick))
        return join(parts)

    def eager(
        self, state: State, problem: Problem, noise: tuple[Tensor, ...], tick: Tensor
    ) -> tuple[State, Tensor]:
        """The step itself."""
        attack, numbers, before = self.attack, count(), state.unknowns

        def evaluate(unknowns: Unknowns, live: Tensor | None) -> tuple[Tensor, Unknowns]:
            # made for one number of victims
            fixed = self.compile or self.replay or self.together or not self.waits
            victims = len(state.progress.lr)
            own = draw_of(noise, next(numbers), self.draws, victims)
            if (each := len(next(iter(unknowns.values()))) // victims) > 1:
                own = tuple(repeated(n.unflatten(0, (victims, -1)), each).flatten(0, 1) for n in own)
                return self.evaluate(unknowns, repeated(problem, each), own)
            if live is None or fixed or bool(live.all()):
                return self.evaluate(unknowns, problem, own)
            rows = live.nonzero().squeeze(1)
            few = take_noise(own, rows, len(live))
            loss, grads = self.evaluate(take(unknowns, rows), take(problem, rows), few)
            whole = {n: torch.zeros_like(u).index_copy(0, rows, grads[n]) for n, u in unknowns.items()}
            return loss.new_zeros(len(live)).index_copy(0, rows, loss), whole

        optimizer, rates = attack.optimizer, state.progress.lr
        lr = {name: attack.noise.rate(name, rates, optimizer.lr) for name in before}
        moved, memory, loss = optimizer.step(before, evaluate, state.memory, lr, tick)
        progress, improved = attack.schedule.advance(state.progress, loss)
        moved = self.project(moved)
        finite = {n: torch.where(torch.isfinite(u), u, before[n]) for n, u in moved.items()}
        moved = select(state.progress.active, finite, before)
        kept = before if attack.keep == "evaluated" else moved
        return State(moved, memory, progress, select(improved, kept, state.best)), loss
