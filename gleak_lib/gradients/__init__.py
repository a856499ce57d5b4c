"""Gradients of every victim at once: a fast path, a generic one and a loop, and the choice between them."""

from gleak_lib.gradients.jacobian import jacobian_products
from gleak_lib.gradients.paths import forward
from gleak_lib.gradients.per_victim import (
    Method,
    check,
    cross_entropy,
    factored_gradients,
    per_victim_gradients,
    prepare,
    supports_fast,
    wanted,
)
from gleak_lib.gradients.stacked import stack
from gleak_lib.gradients.verify import path, refuse_inference, trained

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
    "refuse_inference",
    "stack",
    "supports_fast",
    "trained",
    "wanted",
]
