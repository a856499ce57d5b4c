"""Distances between dummy gradients and observed ones, over all given layers at once, a value per victim."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gleak_lib.gradients.factored import Dyads, FactoredGrads, Outer, by_row, dense, dyads, scaled
from gleak_lib.registry import Registry
from gleak_lib.types import Grads

Observed = Mapping[str, Tensor | Dyads]
"""Observed gradients by parameter name, some of them as one outer product."""


@dataclass(frozen=True)
class Distance:
    """A distance that takes gradients in factors, too (`factored.Outer`); a plain function need not."""

    function: Callable[[FactoredGrads, Any, Tensor | None], Tensor]
    """(dummy gradients, observed ones, squared norm of the observed ones, V, or None) -> V values."""
    scale_free: bool = False
    """Whether no positive factor changes it."""
    by_products: bool = False
    """Whether it needs no more of the observed gradients than inner products, and takes `Observed`."""

    def __call__(self, dummy: FactoredGrads, observed: Observed, square: Tensor | None = None) -> Tensor:
        return self.function(dummy, observed, square)

    def prepared(self, observed: Grads) -> Observed:
        """Return observed gradients in the form in which a step reads least of them."""
        return {name: dyads(g) for name, g in observed.items()} if self.by_products else observed


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


def _dot_and_square(a: Tensor | Outer, b: Tensor | Dyads) -> tuple[Tensor, Tensor]:
    if isinstance(a, Outer):
        return a.dot(b), a.square()
    if isinstance(b, Dyads):
        return b.dot(a), by_row(a).square().sum(1)
    return _DotAndSquare.apply(by_row(a), by_row(b))  # type: ignore[return-value]


def squared_norm(gradients: Observed) -> Tensor:
    """Return each victim's squared norm over all given layers, V values."""
    return torch.stack([_square(g) for g in gradients.values()]).sum(0)


def _square(gradient: Tensor | Dyads) -> Tensor:
    if isinstance(gradient, Dyads):
        return gradient.square()
    return torch.linalg.vector_norm(by_row(gradient), dim=1).square()


def cosine(dummy: FactoredGrads, observed: Observed, square_of_observed: Tensor | None = None) -> Tensor:
    """1 - cosine similarity of the concatenated gradients, V values in [0, 2] (000 Eq. 2).

    It is 1 where the observed or the dummy gradient is zero everywhere. `square_of_observed`, V, spares
    computing it at each step.
    """
    if square_of_observed is None:
        square_of_observed = squared_norm({name: observed[name] for name in dummy})
    pairs = [_dot_and_square(g, observed[name]) for name, g in dummy.items()]
    dot, square = (torch.stack(parts).sum(0) for parts in zip(*pairs, strict=True))
    return 1 - dot * torch.rsqrt((square * square_of_observed).clamp_min(torch.finfo(dot.dtype).tiny))


def layerwise(dummy: FactoredGrads, observed: Observed, _square: Tensor | None = None) -> Tensor:
    """Mean over the parameter tensors of 1 - their own cosine similarity, V values in [0, 2].

    Every tensor counts alike, however large its gradient is, and so `Match.weighting` changes nothing. A
    tensor whose observed or dummy gradient is zero everywhere has distance 1 and pulls nowhere.
    """
    parts = []
    for name, g in dummy.items():
        dot, square = _dot_and_square(g, observed[name])
        other = squared_norm({name: observed[name]})
        zero = (square <= 0) | (other <= 0)
        length = torch.where(zero, 1, square).sqrt() * torch.where(zero, 1, other).sqrt()
        parts.append(1 - torch.where(zero, 0, dot / length))
    return torch.stack(parts).mean(0)


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


def squared_l2(dummy: FactoredGrads, observed: Grads, _square: Tensor | None = None) -> Tensor:
    """Sum of squared differences over all entries, V values (000 Eq. 1, first term).

    Gradients in factors are written out: |a|^2 - 2 <a, b> + |b|^2 would lose the digits of a small distance.
    """
    pairs = ((dense(g), observed[name]) for name, g in dummy.items())
    parts = [_SquaredDifference.apply(by_row(g), by_row(b)) for g, b in pairs]
    return torch.stack(parts).sum(0)


def mean_squared_l2(dummy: FactoredGrads, observed: Grads, square: Tensor | None = None) -> Tensor:
    """Return `squared_l2` divided by the number of parameter tensors, V values (the code of 003's source)."""
    return squared_l2(dummy, observed, square) / len(dummy)


DISTANCES: dict[str, Distance] = Registry(
    "distance",
    {
        "cosine": Distance(cosine, scale_free=True, by_products=True),
        "layerwise": Distance(layerwise, scale_free=True, by_products=True),
        "l2": Distance(squared_l2),
        "mean-l2": Distance(mean_squared_l2),
    },
)

NEAR, FARTHEST = 20, 120  # exponents: gradients of 1e-6 to 1e6 stay as they are; floats end at 126


def near_one(gradients: Grads) -> Grads:
    """Scale gradients that are so small or so large that their squares would leave the range of floats.

    The factor is a power of two for each victim, which changes no digit of a distance that is free of scale.
    """
    largest = torch.stack([by_row(g).abs().amax(1) for g in gradients.values()]).amax(0)
    exponents = [math.frexp(value)[1] for value in largest.tolist()]
    if max(map(abs, exponents), default=0) <= NEAR:
        return gradients
    factor = largest.new_tensor([math.ldexp(1.0, -max(-FARTHEST, min(e, FARTHEST))) for e in exponents])
    return {name: scaled(g, factor) for name, g in gradients.items()}
