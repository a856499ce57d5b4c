"""Quantisation: few levels a layer."""

import torch
from torch import Tensor

from gleak_lib.defenses.base import Defense, stateless
from gleak_lib.errors import ParameterError
from gleak_lib.outer import by_row
from gleak_lib.typed import typed
from gleak_lib.types import Grads


@typed
def quantize(bits: int = 8) -> Defense:
    """Round every layer's gradient to k-bit integers and back (001 §II-C2: 8 bits).

    Symmetric and uniform, as int8 is in practice: with n = 2^(bits - 1) - 1 and the step s = max |g| / n of
    each parameter tensor of each update, an entry becomes s * round(g / s). So there are at most 2n + 1
    levels, zeros stay zeros, the largest entry stays as it is, and no entry moves by more than s / 2.

    Raises:
        ParameterError: bits that are no integer from 2 to 16.
    """
    if not 2 <= bits <= 16:
        raise ParameterError(f"bits must be an integer from 2 to 16, got {bits}.")
    levels = 2 ** (bits - 1) - 1

    def rounded(g: Tensor) -> Tensor:
        rows = by_row(g)
        largest = rows.abs().amax(dim=1, keepdim=True)
        step = torch.where(largest > 0, largest, torch.ones_like(largest)) / levels
        return ((rows / step).round().clamp(-levels, levels) * step).reshape(g.shape)

    def transform(grads: Grads, _generator: torch.Generator | None) -> Grads:
        return {name: rounded(g) for name, g in grads.items()}

    return stateless(f"quantize(bits={bits})", transform, bits=bits)
