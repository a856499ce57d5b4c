"""Distances between dummy gradients and observed ones, one value a victim, over all given layers at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from gleak_lib.registry import Registry
from gleak_lib.types import Grads

Distance = Callable[[Grads, Grads], Tensor]


class _DotAndSquare(torch.autograd.Function):
    """Rows' inner products <a, b> and <a, a> with a one-pass backward in a; b is a constant."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(a, b)
        return (a * b).sum(1), torch.linalg.vector_norm(a, dim=1).square()

    @staticmethod
    def backward(ctx, dot: Tensor, square: Tensor):  # type: ignore[override]
        a, b = ctx.saved_tensors
        return (a * (2 * square)[:, None]).addcmul_(b, dot[:, None]), None


def cosine(dummy: Grads, observed: Grads) -> Tensor:
    """1 - cosine similarity of the concatenated gradients, V values in [0, 2] (000 Eq. 2).

    A victim whose observed or dummy gradient is zero everywhere gets distance 1.
    """
    pairs = [_DotAndSquare.apply(g.flatten(1), observed[name].flatten(1)) for name, g in dummy.items()]
    dot, square = (torch.stack(parts).sum(0) for parts in zip(*pairs, strict=True))
    norms = [torch.linalg.vector_norm(observed[name].flatten(1), dim=1) for name in dummy]
    target = torch.stack(norms).square().sum(0)
    return 1 - dot * torch.rsqrt((square * target).clamp_min(torch.finfo(dot.dtype).tiny))


class _SquaredDifference(torch.autograd.Function):
    """Rows' squared distances |a - b|^2 with a one-pass backward in a; b is a constant."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        difference = a - b
        ctx.save_for_backward(difference)
        return torch.linalg.vector_norm(difference, dim=1).square()

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        (difference,) = ctx.saved_tensors
        return difference * (2 * grad)[:, None], None


def squared_l2(dummy: Grads, observed: Grads) -> Tensor:
    """Sum of squared differences over all entries, V values (000 Eq. 1, first term)."""
    parts = [_SquaredDifference.apply(g.flatten(1), observed[name].flatten(1)) for name, g in dummy.items()]
    return torch.stack(parts).sum(0)


DISTANCES: dict[str, Distance] = Registry("distance", {"cosine": cosine, "l2": squared_l2})
