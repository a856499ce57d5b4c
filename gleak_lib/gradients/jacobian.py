"""Products with the Jacobian of per-victim gradients at the images; it is never held."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from gleak_lib.types import Grads


def jacobian_products(grads: Grads, x: Tensor, directions: Iterable[Tensor]) -> Iterator[Grads]:
    """Yield J u, name -> V x entries, for each direction u, shaped like x; double precision.

    It is the derivative in w of <J' w, u>, which is linear in w.

    Args:
        grads: name -> V x shape, computed from x with `create_graph`.
        x: V x C x H x W, one image a victim.
        directions: shaped like x, one per victim.
    """
    weights = {name: torch.zeros_like(g, requires_grad=True) for name, g in grads.items() if g.requires_grad}
    outputs = [grads[name] for name in weights]
    (pulled,) = torch.autograd.grad(outputs, x, list(weights.values()), create_graph=True)
    for direction in directions:
        along = (pulled * direction).sum()
        found = torch.autograd.grad(along, list(weights.values()), retain_graph=True, materialize_grads=True)
        moved = dict(zip(weights, found, strict=True))
        yield {n: moved.get(n, torch.zeros_like(g)).detach().flatten(1).double() for n, g in grads.items()}
