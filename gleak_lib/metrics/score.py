"""One row an image: the table that every chapter, store and plot reads."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.extras import require
from gleak_lib.metrics.image import minmax, mse, psnr, ssim
from gleak_lib.metrics.success import SUCCESS
from gleak_lib.pixels import rescaling
from gleak_lib.typed import typed
from gleak_lib.types import Reconstruction

if TYPE_CHECKING:
    from pandas import DataFrame

METRICS = ("mse", "psnr", "ssim", "lpips")
NO_PERCEPTUAL = "score was given no perceptual metric"


@typed
def score(
    reconstruction: Reconstruction | Tensor,
    truth: Tensor,
    *,
    scaling: Literal["minmax", "none"] = "minmax",
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> "DataFrame":
    """Compare what an attack found with the truth, which appears here for the first time.

    With several images a victim their order is unknown to the attack: the images of each victim are
    assigned to the true ones, before any scaling, so that the sum of squared errors is least.

    Args:
        reconstruction: what `invert` returned, or its images: V x C x H x W or V x B x C x H x W.
        truth: the victims' images, of the same shape, in [0, 1].
        scaling: "minmax" stretches every image, truth and reconstruction each on its own, to [0, 1] as
            the CVB paper's code does; "none" only clips the reconstruction to [0, 1].
        perceptual: (pred, target), both N x C x H x W in [0, 1], -> N distances for the column `lpips`.

    Returns:
        A row an image: victim, image (place in the victim's batch), mse, psnr (dB), ssim, lpips (NaN
        without a perceptual metric; `frame.attrs["missing"]` says why), success (SSIM >= 0.5).
        `frame.attrs["scaling"]` is the scaling.

    Raises:
        ShapeError: shapes that differ, NaN, or a truth outside [0, 1].
        ParameterError: an unknown scaling.
        MissingDependencyError: pandas is not installed, or scipy with several images a victim.
    """
    pandas = require("pandas", "metrics")
    pred = reconstruction.images if isinstance(reconstruction, Reconstruction) else reconstruction
    pred, target = pred.detach().cpu(), truth.detach().cpu()
    _check(pred, target, scaling)
    scale = minmax if scaling == "minmax" else _clip
    batch = 1 if pred.ndim == 4 else pred.shape[1]
    if batch > 1:
        pred = assign(pred, target)
    pred, target = (scale(images).reshape(-1, *images.shape[-3:]) for images in (pred, target))
    columns = {
        "victim": [row // batch for row in range(len(pred))],
        "image": [row % batch for row in range(len(pred))],
        "mse": mse(pred, target).double().numpy(),
        "psnr": psnr(pred, target).double().numpy(),
        "ssim": ssim(pred, target).double().numpy(),
        "lpips": math.nan if perceptual is None else perceptual(pred, target).double().cpu().numpy(),
    }
    frame = pandas.DataFrame(columns)
    frame["success"] = SUCCESS(frame)
    reason = NO_PERCEPTUAL if perceptual is None else getattr(perceptual, "missing", None)
    frame.attrs = {"scaling": scaling, "missing": {"lpips": reason} if reason else {}}
    return frame


def summary(frame: "DataFrame") -> "DataFrame":
    """Return mean, standard deviation (over the victims, ddof 0) and count of every metric, one row each.

    Values that are missing are left out, so that a metric that was never had is NaN with count 0.
    """
    pandas = require("pandas", "metrics")
    values = frame[[name for name in METRICS if name in frame]]
    with np.errstate(invalid="ignore"):  # the deviation of an infinite PSNR is NaN
        return pandas.DataFrame({"mean": values.mean(), "std": values.std(ddof=0), "count": values.count()})


@typed
def assign(pred: Tensor, target: Tensor) -> Tensor:
    """Reorder the images of each victim so that their squared errors to `target` sum to the least.

    Args:
        pred: V x B x C x H x W.
        target: of the same shape.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    order = matching(pred, target)
    return torch.stack([images[places] for images, places in zip(pred, order, strict=True)])


@typed
def matching(pred: Tensor, target: Tensor) -> Tensor:
    """Return which found image belongs to each true one, V x B indices; see `assign`."""
    solve = require("scipy.optimize", "metrics").linear_sum_assignment
    errors = torch.cdist(target.flatten(2).double(), pred.flatten(2).double()).square()  # V x true x found
    return torch.stack([torch.as_tensor(solve(error.numpy())[1]) for error in errors])


def _clip(images: Tensor) -> Tensor:
    return images.clamp(0, 1)


def _check(pred: Tensor, target: Tensor, scaling: str) -> None:
    if scaling not in ("minmax", "none"):
        raise ParameterError(f'scaling must be "minmax" or "none", got {scaling!r}.')
    if pred.shape != target.shape or pred.ndim not in (4, 5):
        same = pred.numel() == target.numel() and pred.shape[-3:] == target.shape[-3:]
        raise ShapeError(
            "A reconstruction and its truth must both be V x C x H x W or V x B x C x H x W, got "
            f"{tuple(pred.shape)} and {tuple(target.shape)}"
            + (f": reshape the truth to {tuple(pred.shape)}." if same else ".")
        )
    if not pred.isfinite().all():
        raise ShapeError("The reconstruction has NaN or infinite pixels: the attack diverged.")
    low, high = target.min().item(), target.max().item()
    if not (low >= 0 and high <= 1):
        mend = rescaling(low, high, "call denormalize first")
        raise ShapeError(f"The truth must be in [0, 1], got [{low:.4g}, {high:.4g}]: {mend}.")
