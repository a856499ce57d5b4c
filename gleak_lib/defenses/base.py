"""Defences as gradient transformations that compose; each is a pair (init, update), after optax's design."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gleak_lib.types import Grads

State = Any
Init = Callable[[Grads], State]
Update = Callable[[Grads, State, "torch.Generator | None"], tuple[Grads, State]]


@dataclass(frozen=True)
class Defense:
    """A transformation of the gradients that a client applies before it shares them.

    Gradients carry a leading axis of independent updates (V x the parameter's shape) and are transformed
    for each on its own. Calling a defence transforms once, from a fresh state; training loops call `init`
    once and `update` at each step.

    Attributes:
        name: what tables call it, settings included.
        init: grads -> state before the first update.
        update: (grads, state, generator) -> (transformed grads, next state).
    """

    name: str
    init: Init
    update: Update

    def __call__(self, grads: Grads, *, generator: torch.Generator | None = None) -> Grads:
        """Return the gradients as shared after one update from a fresh state."""
        return self.update(grads, self.init(grads), generator)[0]


def stateless(name: str, transform: Callable[[Grads, torch.Generator | None], Grads]) -> Defense:
    """Make a defence that remembers nothing from a function (grads, generator) -> grads."""
    return Defense(name, lambda _grads: None, lambda grads, state, rng: (transform(grads, rng), state))


def chain(*defenses: Defense) -> Defense:
    """Return the defence that applies these in order; an empty chain changes nothing."""

    def init(grads: Grads) -> State:
        return tuple(d.init(grads) for d in defenses)

    def update(grads: Grads, state: State, rng: torch.Generator | None) -> tuple[Grads, State]:
        states = []
        for defense, one in zip(defenses, state, strict=True):
            grads, one = defense.update(grads, one, rng)
            states.append(one)
        return grads, tuple(states)

    return Defense(" + ".join(d.name for d in defenses) or "none", init, update)
