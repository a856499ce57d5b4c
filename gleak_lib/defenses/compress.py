"""Gradient compression: the entries of smallest magnitude are set to zero."""

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
class Compression(Defense):
    """Set the share p of smallest magnitude of every layer's gradient to zero (001 §VI-C: p 0.9, 0.99).

    Each parameter tensor of each update loses exactly floor(p * its size) entries.

    Attributes:
        p: in [0, 1).
    """

    p: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self.p)

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        return {name: _prune(by_row(g), self.p).reshape(g.shape) for name, g in grads.items()}

    @property
    def value_bits(self) -> None:
        """What is not pruned stays as it came."""


@typed
@dataclass(frozen=True)
class PruneSmall(Compression):
    """Set the share p of smallest magnitude of the whole gradient to zero, over all layers together (002).

    Each update loses exactly floor(p * the number of all entries) of them; layers with small gradients
    lose more than others, unlike with `Compression`. 002 names the defense ("small") and says neither
    share nor scope; it speaks of sparsity above 20 % as a protection, hence the default.

    Attributes:
        p: in [0, 1).
    """

    p: float = 0.2

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        whole = _prune(torch.cat([by_row(g) for g in grads.values()], dim=1), self.p)
        parts = whole.split([g[0].numel() for g in grads.values()], dim=1)
        return {name: part.reshape(g.shape) for (name, g), part in zip(grads.items(), parts, strict=True)}


def check_share(p: float) -> None:
    """Refuse a pruning ratio outside [0, 1).

    Raises:
        ParameterError: If `p` is outside [0, 1).
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
