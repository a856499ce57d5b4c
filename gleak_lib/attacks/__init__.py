"""Gradient-inversion attacks: `ATTACKS`, and `observe` and `invert`, the two sides of every experiment."""

from gleak_lib.attacks.attack import Attack, select
from gleak_lib.attacks.distances import DISTANCES
from gleak_lib.attacks.engine import invert
from gleak_lib.attacks.labels import infer_single
from gleak_lib.attacks.observe import observe
from gleak_lib.attacks.priors import total_variation
from gleak_lib.registry import Registry

ATTACKS: dict[str, Attack] = Registry(
    "attack",
    {
        # Inverting Gradients (Geiping et al. 2020) as 001 §V-B runs it
        "ig": Attack("ig"),
        # the same over the gradients before the first bottleneck's decoder only (001 §III-B, Eq. 4)
        "ignore": Attack("ignore", layers="before-decoder"),
    },
)

__all__ = [
    "ATTACKS",
    "DISTANCES",
    "Attack",
    "infer_single",
    "invert",
    "observe",
    "select",
    "total_variation",
]
