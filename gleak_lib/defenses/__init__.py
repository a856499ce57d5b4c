"""Defenses that transform gradients: `DEFENSES`, `chain`, and `Defense` to derive one's own from.

PRECODE and the CVB change the architecture instead: see `gleak_lib.bottlenecks`.
"""

from gleak_lib.defenses.average import AverageNoise
from gleak_lib.defenses.base import Batch, Defense, Privacy
from gleak_lib.defenses.chained import NO_DEFENSE, Chain, chain
from gleak_lib.defenses.clip import Clip
from gleak_lib.defenses.compress import Compression, PruneSmall
from gleak_lib.defenses.cost import bytes_shared
from gleak_lib.defenses.dp import DP, epsilon
from gleak_lib.defenses.layout import Layout, slice_layout
from gleak_lib.defenses.noise import Gaussian, Laplace
from gleak_lib.defenses.quantize import Quantize
from gleak_lib.defenses.risk import LeakageRisk, leakage_risk
from gleak_lib.defenses.slices import SlicePerturbation
from gleak_lib.defenses.soteria import PLD, Soteria
from gleak_lib.registry import Registry

DEFENSES: dict[str, type[Defense]] = Registry(
    "defense",
    {
        "dp": DP,
        "gaussian": Gaussian,
        "laplace": Laplace,
        "compression": Compression,
        "quantize": Quantize,
        "clip": Clip,
        "prune_small": PruneSmall,
        "soteria": Soteria,
        "pld": PLD,
        "average_noise": AverageNoise,
        "slices": SlicePerturbation,
    },
)

__all__ = [
    "DEFENSES",
    "DP",
    "NO_DEFENSE",
    "PLD",
    "AverageNoise",
    "Batch",
    "Chain",
    "Clip",
    "Compression",
    "Defense",
    "Gaussian",
    "Laplace",
    "Layout",
    "LeakageRisk",
    "Privacy",
    "PruneSmall",
    "Quantize",
    "SlicePerturbation",
    "Soteria",
    "bytes_shared",
    "chain",
    "epsilon",
    "leakage_risk",
    "slice_layout",
]
