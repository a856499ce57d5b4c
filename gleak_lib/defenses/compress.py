"""Gradient compression: the entries of smallest magnitude are set to zero."""

import torch
from torch import Tensor

from gleak_lib.defenses.base import Defense, stateless
from gleak_lib.errors import ParameterError
from gleak_lib.outer import by_row
from gleak_lib.typed import typed
from gleak_lib.types import Grads


@typed
def compression(p: float = 0.9) -> Defense:
    """Set the share p of smallest magnitude of every layer's gradient to zero (001 §VI-C: p 0.9, 0.99).

    Each parameter tensor of each update loses exactly floor(p * its size) entries.

    Raises:
        ParameterError: p outside [0, 1).
    """
    check_share(p)

    def transform(grads: Grads, _generator: torch.Generator | None) -> Grads:
        return {name: _prune(by_row(g), p).reshape(g.shape) for name, g in grads.items()}

    return stateless(f"compression(p={p:g})", transform, bits=None)


@typed
def prune_small(p: float = 0.2) -> Defense:
    """Set the share p of smallest magnitude of the whole gradient to zero, over all layers together (002).

    Each update loses exactly floor(p * the number of all entries) of them; layers with small gradients
    lose more than others, unlike with `compression`. 002 names the defence ("small") and says neither
    share nor scope; it speaks of sparsity above 20 % as a protection, hence the default.

    Raises:
        ParameterError: p outside [0, 1).
    """
    check_share(p)

    def transform(grads: Grads, _generator: torch.Generator | None) -> Grads:
        whole = _prune(torch.cat([by_row(g) for g in grads.values()], dim=1), p)
        parts = whole.split([g[0].numel() for g in grads.values()], dim=1)
        return {name: part.reshape(g.shape) for (name, g), part in zip(grads.items(), parts, strict=True)}

    return stateless(f"prune-small(p={p:g})", transform, bits=None)


def check_share(p: float) -> None:
    """Refuse a pruning ratio outside [0, 1).

    Raises:
        ParameterError: so it is.
    """
    if not 0 <= p < 1:
        raise ParameterError(f"The pruning ratio p must be in [0, 1), got {p}.")


def _prune(rows: Tensor, p: float) -> Tensor:
    """Set floor(p * columns) entries of smallest magnitude of every row to zero, of equal ones the first."""
    count = int(p * rows.shape[1])
    if count == 0:
        return rows.clone()
    size = rows.abs()
    threshold = size.kthvalue(count, dim=1, keepdim=True).values  # several times faster than sorting
    below, equal = size < threshold, size == threshold
    pruned = below | (equal & (equal.cumsum(1) <= count - below.sum(1, keepdim=True)))
    return rows.masked_fill(pruned, 0.0)
