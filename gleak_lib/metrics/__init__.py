"""Image metrics, the table of scores, and what counts as a successful attack."""

from gleak_lib.metrics.classification import auc, balanced_accuracy
from gleak_lib.metrics.features import mse_features, penultimate
from gleak_lib.metrics.image import minmax, mse, psnr, ssim, ssim_map
from gleak_lib.metrics.perceptual import Perceptual, lpips, lpips_at_hand, lpips_file, lpips_missing
from gleak_lib.metrics.score import METRICS, assign, matching, score, summary
from gleak_lib.metrics.success import (
    SUCCESS,
    Criterion,
    attack_success_rate,
    lpips_below,
    mse_below,
    psnr_above,
    ssim_above,
)
from gleak_lib.pixels import denormalize, normalize

__all__ = [
    "METRICS",
    "SUCCESS",
    "Criterion",
    "Perceptual",
    "assign",
    "attack_success_rate",
    "auc",
    "balanced_accuracy",
    "denormalize",
    "lpips",
    "lpips_at_hand",
    "lpips_below",
    "lpips_file",
    "lpips_missing",
    "matching",
    "minmax",
    "mse",
    "mse_below",
    "mse_features",
    "normalize",
    "penultimate",
    "psnr",
    "psnr_above",
    "score",
    "ssim",
    "ssim_above",
    "ssim_map",
    "summary",
]
