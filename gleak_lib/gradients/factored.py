"""Weight gradients kept in factors: a linear map's is a sum of outer products, which need not be written out.

The gradient of a linear layer's weight is sum_p delta_p x_p^T over its P inputs (of a convolution's, over
the pixels of its output). With few of them, inner products follow from the factors: <G, T> = sum_p
delta_p^T T x_p and |G|^2 = sum_pq (delta_p . delta_q)(x_p . x_q). A matching attack needs no more than these,
and so reads the observed gradient twice a step instead of writing a dummy one of the same size as well. The
observed gradient of a single image is one such product, too, as long as no defense changed its entries. Then
its two factors are all that a step reads of it (`dyads`).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Dyads(NamedTuple):
    """V constant weight gradients, each one outer product of two vectors (a dyad).

    Attributes:
        left: V x O.
        right: V x I, where the weight's shape is O x ... with O * I entries.
    """

    left: Tensor
    right: Tensor

    def square(self) -> Tensor:
        """Return the squared norms, V values."""
        return self.left.square().sum(1) * self.right.square().sum(1)

    def dot(self, other: Tensor) -> Tensor:
        """Return the inner products with gradients V x O x ..., V values."""
        matrix = other.reshape(len(other), self.left.shape[1], self.right.shape[1])
        return ((matrix @ self.right[:, :, None]).squeeze(2) * self.left).sum(1)


class Outer(NamedTuple):
    """V weight gradients, each a sum of P outer products.

    Attributes:
        left: V x P x O, the gradient of the layer's outputs.
        right: V x P x I, the layer's inputs.
        shape: of the weight, O x ..., with O * I entries.
    """

    left: Tensor
    right: Tensor
    shape: tuple[int, ...]

    @property
    def pays(self) -> bool:
        """Whether to keep it so, see `factors_pay`."""
        return factors_pay(self.left.shape[1], self.left.shape[2], self.right.shape[2])

    def to(self, dtype: torch.dtype) -> "Outer":
        """Return the same in another precision."""
        return self._replace(left=self.left.to(dtype), right=self.right.to(dtype))

    def dense(self) -> Tensor:
        """Write the gradients out, V x `shape`."""
        return (self.left.transpose(1, 2) @ self.right).reshape(-1, *self.shape)

    def dot(self, target: Tensor | Dyads) -> Tensor:
        """Return the inner products with gradients V x `shape`, V values."""
        if isinstance(target, Dyads):
            by_left = self.left @ target.left[:, :, None]
            return (by_left * (self.right @ target.right[:, :, None])).sum((1, 2))
        matrix = target.reshape(len(target), self.left.shape[2], self.right.shape[2])
        return (self.left * (self.right @ matrix.transpose(1, 2))).sum((1, 2))

    def square(self) -> Tensor:
        """Return the squared norms, V values."""
        if self.left.shape[1] == 1:
            return self.left.square().sum((1, 2)) * self.right.square().sum((1, 2))
        gram = (self.left @ self.left.transpose(1, 2)) * (self.right @ self.right.transpose(1, 2))
        return gram.sum((1, 2))


FactoredGrads = Mapping[str, Tensor | Outer]
"""Gradients by parameter name, some of them in factors."""


def factors_pay(products: int, outputs: int, inputs: int) -> bool:
    """Return whether inner products by factors take less work than with the gradient written out.

    Written out, an O x I gradient of P products costs P O I to form and 2 P O I to differentiate, and is
    read and written some five times. In factors the products with the target cost 2 P O I, and the two Gram
    matrices with their derivatives 3 P^2 (O + I).
    """
    return 3 * products * (outputs + inputs) <= outputs * inputs


ROUNDING = 32  # in units of a float's epsilon: how far a gradient may be from its factors
FEW = 16  # victims whose gradients are held against their factors at a time


def dyads(gradient: Tensor) -> Tensor | Dyads:
    """Return gradients V x O x ... as outer products, where all are that and it pays; else as they are.

    The factors are a victim's longest row, and what multiples of it the rows are.
    """
    if gradient.dim() < 3 or not gradient.numel():
        return gradient
    matrix = gradient.detach().flatten(2)
    if not factors_pay(1, *matrix.shape[1:]):
        return gradient
    found = Dyads(*map(torch.cat, zip(*map(_longest_row, matrix.split(FEW)), strict=True)))
    most = ROUNDING * torch.finfo(gradient.dtype).eps
    parts = zip(matrix.split(FEW), found.left.split(FEW), found.right.split(FEW), strict=True)
    for part, left, right in parts:
        off = torch.linalg.matrix_norm(part - left[:, :, None] * right[:, None])
        if not bool((off <= most * torch.linalg.matrix_norm(part)).all()):
            return gradient
    return found


def _longest_row(matrix: Tensor) -> Dyads:
    longest = torch.linalg.vector_norm(matrix, dim=2).argmax(1)
    right = torch.nn.functional.normalize(matrix[torch.arange(len(matrix)), longest], dim=1)
    return Dyads((matrix @ right[:, :, None]).squeeze(2), right)


def dense(gradient: Tensor | Outer) -> Tensor:
    """Return a gradient written out, whichever form it comes in."""
    return gradient.dense() if isinstance(gradient, Outer) else gradient


def scaled(gradient: Any, factors: Tensor | None) -> Any:
    """Return gradients V x ..., maybe in factors, multiplied by one number each, V values; None is 1."""
    if factors is None:
        return gradient
    if isinstance(gradient, Outer):
        return gradient._replace(left=gradient.left * factors[:, None, None])
    return gradient * factors.view(-1, *[1] * (gradient.dim() - 1))


def by_row(gradient: Tensor) -> Tensor:
    """Return a gradient V x shape as V x entries; a parameter that is a single number has one."""
    return gradient.reshape(len(gradient), -1)
