"""Additive noise."""

import torch
from torch import Tensor

from gleak_lib.defenses.base import Defense, stateless
from gleak_lib.errors import ParameterError
from gleak_lib.types import Grads


def gaussian(std: float = 0.1) -> Defense:
    """Add independent N(0, std^2) noise to every gradient entry (003: std 0.1; 004: variance 1e-2).

    Raises:
        ParameterError: a standard deviation that is not positive.
    """
    if not std > 0:
        raise ParameterError(f"The noise's standard deviation must be positive, got {std}.")

    def transform(grads: Grads, generator: torch.Generator | None) -> Grads:
        source = None if generator is None else generator.device

        def noise(like: Tensor) -> Tensor:
            drawn = torch.randn(like.shape, generator=generator, device=source, dtype=like.dtype)
            return drawn.to(like.device)

        return {name: g + std * noise(g) for name, g in grads.items()}

    return stateless(f"gaussian(std={std:g})", transform)
