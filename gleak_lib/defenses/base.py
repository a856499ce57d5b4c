"""Defences as gradient transformations that compose; each is a pair (init, update), after optax's design."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gleak_lib.errors import GradientError, ParameterError
from gleak_lib.typed import typed
from gleak_lib.types import Grads

State = Any
Init = Callable[[Grads], State]
Update = Callable[[Grads, State, "torch.Generator | None"], tuple[Grads, State]]


class Batch(NamedTuple):
    """What the gradients of V updates were computed from: known to the clients, never to the server.

    Attributes:
        model: the network with the weights and in the mode (train or eval) that the clients used.
        x: N x C x H x W, normalised, N = V * B with an update's images next to each other.
        labels: N class indices.
        victims: V, independent updates.
        noise: the bottlenecks' noise in those passes, N x map each.
        noise_scale: what a draw from N(0, 1) was multiplied with for that (`observe`).
    """

    model: nn.Module
    x: Tensor
    labels: Tensor
    victims: int = 1
    noise: tuple[Tensor, ...] = ()
    noise_scale: float = 1.0


class Privacy(NamedTuple):
    """What a privacy accountant needs of a mechanism: sigma in units of the sensitivity, and delta."""

    noise_multiplier: float
    delta: float


@dataclass(frozen=True)
class Defense:
    """A transformation of the gradients that a client applies before it shares them.

    Gradients carry a leading axis of independent updates (V x the parameter's shape) and are transformed
    for each on its own. Calling a defence transforms once, from a fresh state; training loops call `init`
    once and `update` at each step. What has a batch at hand calls `defense.bound(batch)(grads)`, which is
    the same for defences that need the gradients alone.

    Attributes:
        name: what tables call it, settings included.
        init: grads -> state before the first update.
        update: (grads, state, generator) -> (transformed grads, next state).
        bind: batch -> the defence of the gradients of that batch, for those that need more than them.
        replaces: whether the bound defence computes the gradients anew, example by example or with further
            noise, and reads only the names of those it is given. Such a defence comes first in a chain.
        privacy: of a differentially private mechanism, else None.
        targets: model -> names of the parameters of the one layer that it protects, for defences that
            leave the others alone; an attacker who knows the defence leaves that layer out (004 Table II).
        bits: bits of one value as it is sent; None where the values that are not zero stay as they came.
        draws: of the bottlenecks' noise over which the shared gradient is averaged.
    """

    name: str
    init: Init
    update: Update
    bind: "Callable[[Batch], Defense] | None" = None
    replaces: bool = False
    privacy: Privacy | None = None
    targets: Callable[[nn.Module], tuple[str, ...]] | None = None
    bits: int | None = 32
    draws: int = 1

    def __call__(self, grads: Grads, *, generator: torch.Generator | None = None) -> Grads:
        """Return the gradients as shared after one update from a fresh state.

        Raises:
            GradientError: If there is no gradient, or the tensors are not V x shape with one V, or not
                finite.
        """
        check_rows(grads)
        return self.update(grads, self.init(grads), generator)[0]

    def bound(self, batch: Batch) -> "Defense":
        """Return the defence of the gradients that were computed from `batch`.

        Raises:
            ParameterError: a model that the defence cannot protect.
        """
        return self if self.bind is None else self.bind(batch)


def stateless(
    name: str, transform: Callable[[Grads, torch.Generator | None], Grads], **options: Any
) -> Defense:
    """Make a defence that remembers nothing from a function (grads, generator) -> grads.

    Args:
        name: what tables call it, settings included.
        transform: the function.
        options: further attributes of `Defense`.
    """
    return Defense(
        name, lambda _grads: None, lambda grads, state, rng: (transform(grads, rng), state), **options
    )


@typed
def chain(*defenses: Defense) -> Defense:
    """Return the defence that applies these in order; an empty chain changes nothing.

    Raises:
        ParameterError: a defence that computes the gradients anew (`replaces`) stands behind another.
    """
    for defense in defenses[1:]:
        if defense.replaces:
            raise ParameterError(
                f"{defense.name} computes the gradients anew from the batch, so that {defenses[0].name} "
                "before it would have no effect: put it first in the chain."
            )

    def init(grads: Grads) -> State:
        return tuple(d.init(grads) for d in defenses)

    def update(grads: Grads, state: State, rng: torch.Generator | None) -> tuple[Grads, State]:
        states = []
        for defense, one in zip(defenses, state, strict=True):
            grads, one = defense.update(grads, one, rng)
            states.append(one)
        return grads, tuple(states)

    def targets(model: nn.Module) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for d in defenses if d.targets for name in d.targets(model)))

    return Defense(
        " + ".join(d.name for d in defenses) or "none",
        init,
        update,
        bind=(lambda batch: chain(*(d.bound(batch) for d in defenses)))
        if any(d.bind for d in defenses)
        else None,
        replaces=bool(defenses) and defenses[0].replaces,
        privacy=defenses[0].privacy if defenses else None,
        targets=targets if any(d.targets for d in defenses) else None,
        bits=next((d.bits for d in reversed(defenses) if d.bits is not None), None),
        draws=defenses[0].draws if defenses else 1,
    )


def updates(grads: Grads) -> int:
    """Return the number of independent updates, V."""
    return next(iter(grads.values())).shape[0]


def check_rows(grads: Grads) -> None:
    """Refuse what no defense can transform.

    Raises:
        GradientError: If there is no gradient, or the tensors are not V x shape with one V, or not finite.
    """
    victims = {g.shape[0] if g.dim() else 0 for g in grads.values()}
    if len(victims) != 1 or 0 in victims:
        shapes = {name: tuple(g.shape) for name, g in grads.items()}
        raise GradientError(f"Gradients must be V x the parameter's shape, with one V for all, got {shapes}.")
    if bad := [name for name, g in grads.items() if not g.isfinite().all()]:
        raise GradientError(f"The gradient of {bad[0]} has NaN or infinite entries.")


def check_fits(batch: Batch, grads: Grads) -> None:
    """Refuse gradients of another number of updates than a defence was bound to.

    Raises:
        GradientError: so it is.
    """
    if updates(grads) != batch.victims:
        raise GradientError(
            f"The defence was bound to a batch of {batch.victims} updates, got gradients of "
            f"{updates(grads)}: bind it to the batch that they were computed from."
        )
