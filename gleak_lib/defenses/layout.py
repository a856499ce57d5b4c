"""Slices of a gradient: blocks of equal size, grouped in order so that slices weigh alike (004 §4-B)."""

import functools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gleak_lib.defenses.risk import LeakageRisk, by_layer
from gleak_lib.errors import GradientError, ParameterError
from gleak_lib.gradients.factored import by_row
from gleak_lib.typed import typed
from gleak_lib.types import Grads

BLOCK = 8  # entries of a block where the layers' sizes have no larger common divisor


@typed
@dataclass(frozen=True)
class Layout:
    """Which entries of a gradient belong to which slice.

    Written one after the other, layer by layer, the gradient's entries are a row; slice i is its part from
    `bounds[i]` to `bounds[i + 1]`.

    Attributes:
        names: parameters in the row's order.
        sizes: their numbers of entries.
        bounds: s + 1 places, from 0 to the number of all entries.

    Raises:
        ParameterError: If bounds do not rise from 0 to the number of entries, or names and sizes do not pair.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    bounds: tuple[int, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.bounds, self.bounds[1:], strict=False))
        ends = (self.bounds[0], self.bounds[-1]) if len(self.bounds) > 1 else None
        if len(self.names) != len(self.sizes) or ends != (0, sum(self.sizes)) or not rising:
            raise ParameterError(
                f"A layout needs one size per name and bounds that rise from 0 to the {sum(self.sizes)} "
                f"entries, got {len(self.names)} names, {len(self.sizes)} sizes, {len(self.bounds)} bounds."
            )

    @property
    def slices(self) -> int:
        """Number of slices, s."""
        return len(self.bounds) - 1

    def rows(self, grads: Grads) -> Tensor:
        """Return V x all entries, a copy.

        Raises:
            GradientError: If the gradients are not of these parameters.
        """
        found = {name: g[0].numel() for name, g in grads.items()}
        if found != dict(zip(self.names, self.sizes, strict=True)):
            raise GradientError(
                f"The slices are of {sum(self.sizes)} entries of {len(self.names)} parameters, got gradients "
                f"of {sum(found.values())} entries of {len(found)}: was the layout made for another model?"
            )
        return torch.cat([by_row(grads[name]) for name in self.names], 1)

    def gradients(self, rows: Tensor, like: Grads) -> Grads:
        """Return V x all entries as gradients, ordered and shaped as `like`; the inverse of `rows`."""
        parts = dict(zip(self.names, rows.split(self.sizes, 1), strict=True))
        return {name: parts[name].reshape(len(rows), *g.shape[1:]) for name, g in like.items()}

    def entries(self, chosen: Tensor) -> Tensor:
        """Return V x all entries, True in the chosen slices, which are given as V x s truth values."""
        lengths = torch.tensor(self.bounds, device=chosen.device).diff()
        return chosen.repeat_interleave(lengths, dim=1)


@typed
def slice_layout(
    sizes: Mapping[str, int], slices: int, *, risk: LeakageRisk | None = None, block: int | None = None
) -> Layout:
    """Cut a gradient into s slices of equal weight, as far as its blocks allow (004 §4-B).

    Every layer is cut into blocks; a block weighs its number of entries times its layer's risk. Slices are
    runs of blocks, cut where the summed weight comes nearest to equal shares: risky layers lie in many short
    slices. A slice's weight is off by one block's at most, unless single blocks weigh more than a share.

    Args:
        sizes: entries of each parameter, in the model's order.
        slices: s.
        risk: of the layers of these parameters; None weighs all entries alike, 004's baseline by size.
        block: entries of a block, a layer's last one may be shorter. None takes the greatest common divisor
            of the layers' sizes, or 8, with a warning, where that is less than 8.

    Raises:
        ParameterError: If there are more slices than blocks, a number is below 1, or the risk is of other
            layers, zero throughout, negative or not finite.
    """
    layers = by_layer(sizes)
    totals = [sum(sizes[name] for name in members) for members in layers.values()]
    if slices < 1 or (block is not None and block < 1):
        raise ParameterError(f"slices and block must be at least 1, got slices={slices}, block={block}.")
    block = _common(totals) if block is None else block
    lengths = [torch.tensor([block] * (n // block) + [n % block] * (n % block > 0)) for n in totals]
    worth = [1.0] * len(layers) if risk is None else _risks(risk, layers, totals)
    weights = torch.cat([each.double() * value for each, value in zip(lengths, worth, strict=True)])
    blocks = len(weights)
    if slices > blocks:
        raise ParameterError(
            f"{slices} slices need as many blocks, and there are {blocks} of {block} entries: lower slices, "
            "or set a smaller block."
        )
    ends, places = weights.cumsum(0), torch.cat(lengths).cumsum(0).tolist()
    shares = ends[-1] * torch.arange(1, slices, dtype=torch.float64) / slices
    cuts, last = [], 0
    for number, share in enumerate(shares.tolist(), start=1):
        after = int(torch.searchsorted(ends, share))  # blocks that end before the share does
        near = after + (ends[after] - share < share - (ends[after - 1] if after else 0)).item()
        last = min(max(near, last + 1), blocks - (slices - number))
        cuts.append(places[last - 1])
    names = tuple(name for members in layers.values() for name in members)
    return Layout(names, tuple(sizes[name] for name in names), (0, *cuts, places[-1]))


@functools.lru_cache(maxsize=32)
def layout_by_size(sizes: tuple[tuple[str, int], ...], slices: int, block: int | None) -> Layout:
    """Return `slice_layout` without risk, made once for each model."""
    return slice_layout(dict(sizes), slices, block=block)


def _common(totals: Sequence[int]) -> int:
    """Return the greatest common divisor, or `BLOCK` where that is smaller."""
    common = math.gcd(*totals)
    if common >= BLOCK:
        return common
    shown = ", ".join(map(str, totals[:8])) + (", ..." if len(totals) > 8 else "")
    warnings.warn(
        f"The layers' sizes ({shown}) have the greatest common divisor {common}: blocks have {BLOCK} entries "
        f"instead, a layer's last one fewer. block={BLOCK} says the same without this warning.",
        stacklevel=4,
    )
    return BLOCK


def _risks(risk: LeakageRisk, layers: Mapping[str, Sequence[str]], totals: Sequence[int]) -> list[float]:
    if (risk.layers, risk.sizes) != (tuple(layers), tuple(totals)):
        raise ParameterError(
            f"The risk is of the layers {', '.join(risk.layers)}, the gradient of "
            f"{', '.join(layers)}: estimate it for this model."
        )
    if not all(0 <= value < math.inf for value in risk.values) or not any(risk.values):
        raise ParameterError(
            f"Risks must be finite, not negative, and not all zero, got {risk.values}: a model whose "
            "gradient does not depend on the image leaks nothing, and can only be cut by size (root=None)."
        )
    return list(risk.values)
