"""Additive noise."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gleak_lib.defenses.base import Defense
from gleak_lib.errors import ParameterError
from gleak_lib.typed import typed
from gleak_lib.types import Grads


@typed
@dataclass(frozen=True)
class Gaussian(Defense):
    """Add independent N(0, std^2) noise to every gradient entry (003: std 0.1; 004: variance 1e-2).

    Attributes:
        std: standard deviation, positive.
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.std < math.inf:
            raise ParameterError(
                f"The noise's standard deviation must be positive and finite, got {self.std}."
            )

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        return {name: g + self.std * normal(g, generator) for name, g in grads.items()}


@typed
@dataclass(frozen=True)
class Laplace(Defense):
    """Add independent Laplace(0, scale) noise to every gradient entry (002; 004: variance 1e-2).

    Its variance is 2 scale^2, so 004's variance of 1e-2 is a scale of 0.0707, the default. The noise is
    drawn as the difference of two exponentials, which is never infinite.

    Attributes:
        scale: positive.
    """

    scale: float = math.sqrt(1e-2 / 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale < math.inf:
            raise ParameterError(f"The noise's scale must be positive and finite, got {self.scale}.")

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:

        def exponential(like: Tensor) -> Tensor:
            source = like.device if generator is None else generator.device
            drawn = torch.empty(like.shape, dtype=like.dtype, device=source).exponential_(generator=generator)
            return drawn.to(like.device)

        return {name: g + self.scale * (exponential(g) - exponential(g)) for name, g in grads.items()}


def normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw N(0, 1) entries, shaped as `like`, on the generator's device, and move them to that of `like`."""
    source = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=source, dtype=like.dtype).to(like.device)
