"""Gradient-inversion attacks: `ATTACKS`, and `observe` and `invert`, the two sides of every experiment."""

from gleak_lib.attacks.at_truth import loss_at
from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.check import check
from gleak_lib.attacks.choose import best, gradient_distance
from gleak_lib.attacks.counts import count_labels
from gleak_lib.attacks.distances import DISTANCES
from gleak_lib.attacks.engine import Watch, invert
from gleak_lib.attacks.labels import infer, infer_batch, infer_single, label_accuracy
from gleak_lib.attacks.masks import matched, select
from gleak_lib.attacks.observe import observe
from gleak_lib.attacks.presets import ATTACKS
from gleak_lib.attacks.priors import total_variation
from gleak_lib.attacks.updates import join

__all__ = [
    "ATTACKS",
    "DISTANCES",
    "Attack",
    "Watch",
    "best",
    "check",
    "count_labels",
    "gradient_distance",
    "infer",
    "infer_batch",
    "infer_single",
    "invert",
    "join",
    "label_accuracy",
    "loss_at",
    "matched",
    "observe",
    "select",
    "total_variation",
]
