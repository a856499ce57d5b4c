"""Quantization: few levels a layer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gleak_lib.defenses.base import Defense
from gleak_lib.errors import ParameterError
from gleak_lib.gradients.factored import by_row
from gleak_lib.typed import typed
from gleak_lib.types import Grads


@typed
@dataclass(frozen=True)
class Quantize(Defense):
    """Round every layer's gradient to k-bit integers and back (001 §II-C2: 8 bits).

    Symmetric and uniform, as int8 is in practice: with n = 2^(bits - 1) - 1 and the step `s = max |g| / n` of
    each parameter tensor of each update, an entry becomes s * round(g / s). So there are at most 2n + 1
    levels, zeros stay zeros, the largest entry stays as it is, and no entry moves by more than s / 2.

    Attributes:
        bits: from 2 to 16.
    """

    bits: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.bits <= 16:
            raise ParameterError(f"bits must be an integer from 2 to 16, got {self.bits}.")

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        return {name: self._rounded(g) for name, g in grads.items()}

    @property
    def value_bits(self) -> int:
        return self.bits

    def _rounded(self, g: Tensor) -> Tensor:
        levels, rows = 2 ** (self.bits - 1) - 1, by_row(g)
        largest = rows.abs().amax(dim=1, keepdim=True)
        step = torch.where(largest > 0, largest, torch.ones_like(largest)) / levels
        return ((rows / step).round().clamp(-levels, levels) * step).reshape(g.shape)
