"""Defences that transform gradients: `DEFENSES` and `chain`.

PRECODE and the CVB change the architecture instead: see `gleak_lib.bottlenecks`.
"""

from collections.abc import Callable

from gleak_lib.defenses.average import average_noise
from gleak_lib.defenses.base import Batch, Defense, Privacy, chain, stateless
from gleak_lib.defenses.clip import clip
from gleak_lib.defenses.compress import compression, prune_small
from gleak_lib.defenses.cost import bytes_shared
from gleak_lib.defenses.dp import dp, epsilon
from gleak_lib.defenses.noise import gaussian, laplace
from gleak_lib.defenses.quantize import quantize
from gleak_lib.defenses.soteria import pld, soteria
from gleak_lib.registry import Registry

DEFENSES: dict[str, Callable[..., Defense]] = Registry(
    "defence",
    {
        "dp": dp,
        "gaussian": gaussian,
        "laplace": laplace,
        "compression": compression,
        "quantize": quantize,
        "clip": clip,
        "prune-small": prune_small,
        "soteria": soteria,
        "pld": pld,
        "average-noise": average_noise,
    },
)

__all__ = [
    "DEFENSES",
    "Batch",
    "Defense",
    "Privacy",
    "average_noise",
    "bytes_shared",
    "chain",
    "clip",
    "compression",
    "dp",
    "epsilon",
    "gaussian",
    "laplace",
    "pld",
    "prune_small",
    "quantize",
    "soteria",
    "stateless",
]
