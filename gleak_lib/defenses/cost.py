"""What an update costs to send."""

import math

import torch
from torch import Tensor

from gleak_lib.defenses.base import Defense
from gleak_lib.gradients.factored import by_row
from gleak_lib.typed import typed
from gleak_lib.types import Grads

INDEX = 32  # bits of the place of an entry that is sent
SCALE = 32  # bits of the step that goes with each quantized tensor


@typed
def bytes_shared(grads: Grads, defense: Defense | None = None) -> Tensor:
    """Return the bytes in which each update is sent, V integers.

    Each parameter tensor of n entries, z of them not zero, goes out in the shorter of two forms: dense,
    n * b bits, or sparse, z * (b + 32) bits: each value with its index. Values have b = 32 bits (float32),
    or those of the defense that quantized them, and then each tensor brings its step in 32 more. Tensors are
    filled up to whole bytes. Names, shapes and further (entropy) coding are left out.

    Args:
        grads: the gradients as shared, after the defense, name -> V x shape.
        defense: what they went through; None means float32.
    """
    bits = (None if defense is None else defense.value_bits) or 32
    overhead = SCALE if bits < 32 else 0
    total = torch.zeros(len(next(iter(grads.values()))), dtype=torch.long)
    for g in grads.values():
        kept = by_row(g).count_nonzero(dim=1).cpu()
        dense = torch.full_like(kept, math.prod(g.shape[1:]) * bits)
        total += -(-(torch.minimum(dense, kept * (bits + INDEX)) + overhead) // 8)
    return total
