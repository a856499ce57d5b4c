"""Gradient-inversion attacks: `ATTACKS`, and `observe` and `invert`, the two sides of every experiment."""

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.check import check, join
from gleak_lib.attacks.choose import best, gradient_distance
from gleak_lib.attacks.cleaning import Cleaning, CombineUpdates, CompensateUpdates, MuteSlices
from gleak_lib.attacks.closed_form import LinearInversion
from gleak_lib.attacks.cmaes import CMAES
from gleak_lib.attacks.conditioning import Conditioning, conditioning
from gleak_lib.attacks.control import NoiseGradient
from gleak_lib.attacks.distances import DISTANCES
from gleak_lib.attacks.estimates import (
    clipping_bound,
    clipping_bounds,
    noise_level,
    soteria_mask,
    sparsification_mask,
)
from gleak_lib.attacks.evaluate import evaluate
from gleak_lib.attacks.evaluation import loss_at_truth
from gleak_lib.attacks.inversion import Callback, Inversion, invert
from gleak_lib.attacks.label_inference import count_labels, infer, infer_batch, infer_single, label_accuracy
from gleak_lib.attacks.labels import Inferred, Known, Optimized
from gleak_lib.attacks.latent import Latent, ggl, latent_prior
from gleak_lib.attacks.lbfgs import LBFGS
from gleak_lib.attacks.match import Match, select
from gleak_lib.attacks.noise import Fixed, Given, Optimize, Resample
from gleak_lib.attacks.observe import observe
from gleak_lib.attacks.optimizer import Adam, Optimizer
from gleak_lib.attacks.patch_embedding import PatchEmbedding
from gleak_lib.attacks.presets import ATTACKS
from gleak_lib.attacks.priors import BatchStatistics, LabelDistance, TotalVariation, total_variation
from gleak_lib.attacks.rank_one import RankOne
from gleak_lib.attacks.schedule import Schedule
from gleak_lib.attacks.together import invert_together
from gleak_lib.attacks.turbo import TuRBO
from gleak_lib.attacks.variables import Pixels, Variables

PARTS = (
    *(Adam, LBFGS, CMAES, TuRBO, Match, Pixels, Latent, Schedule),
    *(Known, Inferred, Optimized),
    *(Fixed, Given, Optimize, Resample),
    *(TotalVariation, LabelDistance, BatchStatistics),
)
"""The classes that attacks are composed of."""

__all__ = [
    "ATTACKS",
    "CMAES",
    "DISTANCES",
    "LBFGS",
    "PARTS",
    "Adam",
    "Attack",
    "BatchStatistics",
    "Callback",
    "Cleaning",
    "CombineUpdates",
    "CompensateUpdates",
    "Conditioning",
    "Fixed",
    "Given",
    "Inferred",
    "Inversion",
    "Known",
    "LabelDistance",
    "Latent",
    "LinearInversion",
    "Match",
    "MuteSlices",
    "NoiseGradient",
    "Optimize",
    "Optimized",
    "Optimizer",
    "PatchEmbedding",
    "Pixels",
    "RankOne",
    "Resample",
    "Schedule",
    "TotalVariation",
    "TuRBO",
    "Variables",
    "best",
    "check",
    "clipping_bound",
    "clipping_bounds",
    "conditioning",
    "count_labels",
    "evaluate",
    "ggl",
    "gradient_distance",
    "infer",
    "infer_batch",
    "infer_single",
    "invert",
    "invert_together",
    "join",
    "label_accuracy",
    "latent_prior",
    "loss_at_truth",
    "noise_level",
    "observe",
    "select",
    "soteria_mask",
    "sparsification_mask",
    "total_variation",
]
