"""Clipping of the L2 norm."""

import math

import torch
from torch import Tensor

from gleak_lib.defenses.base import Defense, stateless
from gleak_lib.errors import ParameterError
from gleak_lib.outer import by_row
from gleak_lib.typed import typed
from gleak_lib.types import Grads


@typed
def clip(bound: float = 4.0, per_layer: bool = False) -> Defense:
    """Scale the gradient down to an L2 norm of at most `bound`: g / max(1, |g| / bound) (003: 4).

    Args:
        bound: S in 003, B in 004 §5-C.
        per_layer: clip each parameter tensor on its own, else the whole gradient.

    Raises:
        ParameterError: a bound that is not positive.
    """
    if not 0 < bound < math.inf:
        raise ParameterError(f"The clipping bound must be positive and finite, got {bound}.")

    def transform(grads: Grads, _generator: torch.Generator | None) -> Grads:
        whole = norms(grads)
        return {
            name: g * _rows(bound / (norms({name: g}) if per_layer else whole).clamp(min=bound), g)
            for name, g in grads.items()
        }

    layers = ", per_layer=True" if per_layer else ""
    return stateless(f"clip(bound={bound:g}{layers})", transform)


def norms(grads: Grads) -> Tensor:
    """Return the L2 norm over all entries, one value a row (update or example)."""
    parts = [torch.linalg.vector_norm(by_row(g), dim=1) for g in grads.values()]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


def _rows(factor: Tensor, like: Tensor) -> Tensor:
    return factor.view(-1, *[1] * (like.dim() - 1))
