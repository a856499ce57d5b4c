"""Gradient compression: the entries of smallest magnitude are set to zero."""

import torch
from torch import Tensor

from gleak_lib.defenses.base import Defense, stateless
from gleak_lib.errors import ParameterError
from gleak_lib.types import Grads


def compression(p: float = 0.9) -> Defense:
    """Set the share p of smallest magnitude of every layer's gradient to zero (001 §VI-C: p 0.9, 0.99).

    Each parameter tensor of each update loses exactly floor(p * its size) entries.

    Raises:
        ParameterError: p outside [0, 1).
    """
    if not 0 <= p < 1:
        raise ParameterError(f"The pruning ratio p must be in [0, 1), got {p}.")

    def prune(g: Tensor) -> Tensor:
        flat = g.flatten(1)
        count = int(p * flat.shape[1])
        smallest = flat.abs().argsort(dim=1)[:, :count]
        return flat.scatter(1, smallest, 0.0).reshape(g.shape)

    def transform(grads: Grads, _generator: torch.Generator | None) -> Grads:
        return {name: prune(g) for name, g in grads.items()}

    return stateless(f"compression(p={p:g})", transform)
