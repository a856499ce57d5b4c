"""Defences that transform gradients: `DEFENSES` and `chain`.

PRECODE and the CVB change the architecture instead: see `gleak_lib.bottlenecks`.
"""

from collections.abc import Callable

from gleak_lib.defenses.base import Defense, chain, stateless
from gleak_lib.defenses.compress import compression
from gleak_lib.defenses.noise import gaussian
from gleak_lib.registry import Registry

DEFENSES: dict[str, Callable[..., Defense]] = Registry(
    "defence", {"compression": compression, "gaussian": gaussian}
)

__all__ = ["DEFENSES", "Defense", "chain", "compression", "gaussian", "stateless"]
