"""Clipping of the L2 norm."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gleak_lib.defenses.base import Defense
from gleak_lib.errors import ParameterError
from gleak_lib.gradients.factored import by_row, scaled
from gleak_lib.typed import typed
from gleak_lib.types import Grads


@typed
@dataclass(frozen=True)
class Clip(Defense):
    """Scale the gradient down to an L2 norm of at most `bound`: `g / max(1, |g| / bound)` (003: 4).

    Attributes:
        bound: S in 003, B in 004 §5-C; positive.
        per_layer: clip each parameter tensor on its own, else the whole gradient.
    """

    bound: float = 4.0
    per_layer: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.bound < math.inf:
            raise ParameterError(f"The clipping bound must be positive and finite, got {self.bound}.")

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        bound, whole = self.bound, norms(grads)
        return {
            name: scaled(g, bound / (norms({name: g}) if self.per_layer else whole).clamp(min=bound))
            for name, g in grads.items()
        }


def norms(grads: Grads) -> Tensor:
    """Return the L2 norm over all entries, one value a row (update or example)."""
    parts = [torch.linalg.vector_norm(by_row(g), dim=1) for g in grads.values()]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)
