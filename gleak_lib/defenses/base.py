"""Defenses as gradient transformations that compose; each has `init` and `update`, after optax's design."""

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from gleak_lib.datasets.base import ImageDataset
from gleak_lib.errors import GradientError, ParameterError, unknown
from gleak_lib.grammar import Noun
from gleak_lib.types import Grads, Loss

State = Any
Where = Literal["step", "update"]


class Batch(NamedTuple):
    """What the gradients of V updates were computed from: known to the clients, never to the server."""

    model: nn.Module  #: with the weights and in the mode (train or eval) that the clients used
    x: Tensor  #: N x C x H x W, normalized, N = V * B with an update's images next to each other
    labels: Tensor  #: N class indices
    victims: int = 1  #: V, independent updates
    noise: tuple[Tensor, ...] = ()  #: the bottlenecks' noise in those passes, N x map each
    noise_scale: float = 1.0  #: what a draw from N(0, 1) was multiplied with for that (`observe`)
    loss: Loss | None = None  #: of each image; None is the cross-entropy


class Privacy(NamedTuple):
    """What a privacy accountant needs of a mechanism: sigma in units of the sensitivity, and delta."""

    noise_multiplier: float  #: deviation of the noise over the sensitivity
    delta: float  #: of (epsilon, delta)


@dataclass(frozen=True)
class Defense(Noun):
    """A transformation of the gradients that a client applies before it shares them.

    Derive a frozen dataclass from it that defines `transform`, or `init` and `update` where a defense
    remembers something from step to step. Gradients carry a leading axis of independent updates (V x the
    parameter's shape) and are transformed for each on its own. Return new tensors: those that were given must
    not be changed in place. Calling a defense transforms once, from a fresh state; training loops call `init`
    once and `update` at each step.

    Attributes:
        on: what it acts on in federated training: each local `step`'s gradient, or the `update` that a client
            shares after a round, theta_before - theta_after. A gradient that is observed once (`observe`) is
            both.
        batch: what it was bound to (`bind`), else None; no part of the value.
    """

    on: Where = field(default="step", kw_only=True)
    batch: ClassVar[Batch | None] = None

    def __post_init__(self) -> None:
        if self.on not in get_args(Where):
            raise unknown("place of a defense", self.on, get_args(Where))
        if self.on == "update" and self.needs_batch:
            raise ParameterError(
                f"{self} needs the batch that a gradient was computed from, and the update of a round has "
                'none: leave on at "step".'
            )

    def init(self, grads: Grads) -> State:
        """Return the state before the first update; None where nothing is remembered."""
        return None

    def update(self, grads: Grads, state: State, generator: torch.Generator | None) -> tuple[Grads, State]:
        """Return the transformed gradients and the next state.

        Raises:
            GradientError: If the defense was bound to a batch of another number of updates.
        """
        if self.batch is not None and updates(grads) != self.batch.victims:
            raise GradientError(
                f"The defense was bound to a batch of {self.batch.victims} updates, got gradients of "
                f"{updates(grads)}: bind it to the batch that they were computed from."
            )
        return self.transform(grads, generator), state

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        """Return the transformed gradients of a defense that remembers nothing."""
        raise NotImplementedError(f"{type(self).__name__} must define transform, or init and update.")

    def __call__(self, grads: Grads, *, generator: torch.Generator | None = None) -> Grads:
        """Return the gradients as shared after one update from a fresh state.

        Raises:
            GradientError: If there is no gradient, or the tensors are not V x shape with one V, or not
                finite.
            ParameterError: If the defense changed them in place.
        """
        check_rows(grads)
        before, given = _versions(grads), dict(grads)  # whose entries a defense may replace
        shared = self.update(given, self.init(given), generator)[0]
        if _versions(grads) != before:
            raise ParameterError(
                f"{self} changes the gradients that it is given in place, and others hold them as well: "
                "return new tensors, as g * 0.5 is and g.mul_(0.5) is not."
            )
        return shared

    def bind(self, batch: Batch) -> "Defense":
        """Return the defense of the gradients that were computed from `batch`, which is then `self.batch`.

        Raises:
            ParameterError: If the defense cannot protect the model.
        """
        bound = copy.copy(self)
        object.__setattr__(bound, "batch", batch)
        return bound

    def prepare(self, model: nn.Module, dataset: ImageDataset) -> "Defense":
        """Return the defense with what it takes from the model and from public images before a training.

        Experiments call it once for each model with fresh or attacked weights; most defenses take nothing.
        """
        return self

    def perturbed(self, given: Grads, shared: Grads) -> Grads:
        """Return where it added noise to the gradients `given`, V x shape truth values, for evaluations."""
        return {name: shared[name] != g for name, g in given.items()}

    def targets(self, model: nn.Module) -> tuple[str, ...]:
        """Return the parameters of the one layer that it protects; () where it leaves none alone.

        An attacker who knows the defense leaves that layer out (004 Table II).
        """
        return ()

    @property
    def parts(self) -> tuple["Defense", ...]:
        """The defenses of a chain, in order; of any other the defense itself."""
        return (self,)

    @property
    def needs_batch(self) -> bool:
        """Whether it needs more than the gradients, so that it must be bound before it is called."""
        return self.replaces

    @property
    def replaces(self) -> bool:
        """Whether it computes the gradients anew, example by example or with further noise.

        Such a defense, once bound, reads only the names of the gradients it is given; it comes first in a
        chain.
        """
        return False

    @property
    def privacy(self) -> Privacy | None:
        """What an accountant needs of a differentially private mechanism, else None."""
        return None

    @property
    def value_bits(self) -> int | None:
        """Bits of one value as it is sent; None where the values that are not zero stay as they came."""
        return 32

    @property
    def noise_samples(self) -> int:
        """Draws of the bottlenecks' noise over which the shared gradient is averaged."""
        return 1


def updates(grads: Grads) -> int:
    """Return the number of independent updates, V."""
    return next(iter(grads.values())).shape[0]


def _versions(grads: Grads) -> list[int]:
    """Return how often each tensor was changed in place; those made in inference mode do not count it."""
    return [0 if g.is_inference() else g._version for g in grads.values()]


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
