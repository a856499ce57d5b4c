"""What `invert` runs, and the door itself."""

import abc
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from gleak_lib.attacks.check import check, finished
from gleak_lib.attacks.precision import PRECISIONS, Precision
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.errors import unknown
from gleak_lib.typed import typed
from gleak_lib.types import Observation, Reconstruction

Callback = Callable[[int, Tensor, Unknowns, tuple[Tensor, ...]], None]
"""(step, victims, unknowns, noise): what an attack is about to use; see `invert`."""
Own = TypeVar("Own", bound="Inversion")


class Inversion(abc.ABC):
    """An attack: an iterative one (`Attack`) or a closed form. A frozen value, which nothing changes."""

    name: str
    """What tables call it."""

    @property
    @abc.abstractmethod
    def kind(self) -> str:
        """How it finds images, the optimizer's name in small letters, or `closed-form`."""

    @property
    @abc.abstractmethod
    def evaluations(self) -> int:
        """Most gradients of one victim's batch that it computes, which is what it costs."""

    @property
    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """The values that `replace` takes, by name."""

    @abc.abstractmethod
    def matched(self, observation: Observation) -> tuple[str, ...]:
        """Return the names of the parameters whose gradients it looks at, in the model's order."""

    @abc.abstractmethod
    def replace(self: Own, **changes: Any) -> Own:
        """Return a copy with other settings."""

    @abc.abstractmethod
    def run(self, observation: Observation, **options: Any) -> Reconstruction:
        """Do what `invert` does, with its options, for an observation that makes sense."""


@typed
def invert(
    observation: Observation,
    attack: Inversion,
    *,
    generator: torch.Generator | None = None,
    progress: bool = False,
    compile: bool = False,
    precision: Precision = "float32",
    callback: Callback | None = None,
) -> Reconstruction:
    """Reconstruct the images behind observed gradients, for all victims at once (001 Eq. 1).

    All but the first three arguments are for attacks that take steps.

    Args:
        observation: what the server holds, from `observe` or filled in from real updates.
        attack: a preset of `ATTACKS`, a variant of one, or one of your own.
        generator: source of the dummies and of resampled noise; the same state gives the same result on
            one machine with as many threads. None uses torch's global generator.
        progress: show a bar with the victims left, the median loss and steps per second.
        compile: fuse the step with `torch.compile`; worthwhile from some thousand steps on.
        precision: of the dummy gradients: `float32` (or what the gradients have), or on a GPU `tf32`, or
            `bf16`, matrix products in bfloat16. Everything else stays in the gradients' own precision.
        callback: is called before each step with its number (from 1 in each restart), the indices of the
            victims still in the batch, copies of their unknowns, and of the noise that the step uses, N x map
            for each bottleneck (of several draws the first). The result does not depend on it.

    Returns:
        The best iterate by the attack's own loss, never by the truth; see `Reconstruction`.

    Raises:
        GradientError, ShapeError: If parts of the observation do not fit each other, see `check`; in
            `torch.inference_mode`. Under `torch.no_grad` attacks work as ever.
        AttackError: If the loss was never finite for any victim; if for some, they get NaN and a warning.
        UnknownNameError, ParameterError: If a layer mask keeps nothing, or the observation lacks labels or
            noise that the attack needs, or its loss does not take the labels that the attack optimizes.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    check(observation)
    options = {"progress": progress, "compile": compile, "precision": precision, "callback": callback}
    with torch.enable_grad():
        found = attack.run(observation, generator=generator, **options)
    return finished(found, attack.name)
