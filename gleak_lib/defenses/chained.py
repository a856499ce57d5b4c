"""Several defenses as one, applied in order; and the one that changes nothing."""

from dataclasses import dataclass, field

import torch
from torch import nn

from gleak_lib.datasets.base import ImageDataset
from gleak_lib.defenses.base import Batch, Defense, Privacy, State, Where
from gleak_lib.errors import ParameterError
from gleak_lib.typed import typed
from gleak_lib.types import Grads


@dataclass(frozen=True)
class Chain(Defense):
    """Defenses that are applied in this order; made by `chain`. The empty one changes nothing, and is false.

    Each part says itself where it acts.
    """

    on: Where = field(default="step", init=False, repr=False, compare=False)
    defenses: tuple[Defense, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for defense in self.defenses[1:]:
            if defense.replaces:
                raise ParameterError(
                    f"{defense} computes the gradients anew from the batch, so that {self.defenses[0]} "
                    "before it would have no effect: put it first in the chain."
                )

    def __str__(self) -> str:
        return " + ".join(map(str, self.defenses)) or "none"

    def __bool__(self) -> bool:
        return bool(self.defenses)

    def init(self, grads: Grads) -> State:
        return tuple(d.init(grads) for d in self.defenses)

    def update(self, grads: Grads, state: State, generator: torch.Generator | None) -> tuple[Grads, State]:
        states = []
        for defense, one in zip(self.defenses, state, strict=True):
            grads, one = defense.update(grads, one, generator)
            states.append(one)
        return grads, tuple(states)

    def bind(self, batch: Batch) -> Defense:
        return Chain(tuple(d.bind(batch) for d in self.defenses))

    def prepare(self, model: nn.Module, dataset: ImageDataset) -> Defense:
        return Chain(tuple(d.prepare(model, dataset) for d in self.defenses))

    def targets(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for d in self.defenses for name in d.targets(model)))

    @property
    def parts(self) -> tuple[Defense, ...]:
        return self.defenses

    @property
    def needs_batch(self) -> bool:
        return any(d.needs_batch for d in self.defenses)

    @property
    def replaces(self) -> bool:
        """Whether the first part computes the gradients anew."""
        return bool(self.defenses) and self.defenses[0].replaces

    @property
    def privacy(self) -> Privacy | None:
        """Of the first part; what comes after it costs no more."""
        return self.defenses[0].privacy if self.defenses else None

    @property
    def value_bits(self) -> int | None:
        """Of the last part that changes values."""
        return next((b for d in reversed(self.defenses) if (b := d.value_bits) is not None), None)

    @property
    def noise_samples(self) -> int:
        """Of the first part."""
        return self.defenses[0].noise_samples if self.defenses else 1


NO_DEFENSE: Defense = Chain()


@typed
def chain(*defenses: Defense | None) -> Defense:
    """Return the defense that applies these in order; None and an empty chain change nothing.

    Chains in it are flattened, and a single defense is returned as it is, so that equal chains are equal.

    Raises:
        ParameterError: If a defense that computes the gradients anew (`replaces`) stands behind another.
    """
    parts = tuple(part for defense in defenses if defense is not None for part in defense.parts)
    return parts[0] if len(parts) == 1 else Chain(parts)
