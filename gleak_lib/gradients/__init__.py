"""Gradients of every victim at once: a fast path, a generic one and a loop, and the choice between them."""

from gleak_lib.gradients.jacobian import jacobian_products
from gleak_lib.gradients.per_victim import (
    Method,
    check,
    cross_entropy,
    factored_gradients,
    forward,
    path,
    per_victim_gradients,
    prepare,
    supports_fast,
    trained,
    wanted,
)
from gleak_lib.gradients.stacked import stack

__all__ = [
    "Method",
    "check",
    "cross_entropy",
    "factored_gradients",
    "forward",
    "jacobian_products",
    "path",
    "per_victim_gradients",
    "prepare",
    "stack",
    "supports_fast",
    "trained",
    "wanted",
]
