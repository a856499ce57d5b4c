"""How far a reconstruction is from the truth, image by image (000 §3, 001 §V-B)."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from gleak_lib.errors import ShapeError
from gleak_lib.pixels import rescaling
from gleak_lib.typed import typed

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03  # Wang et al. 2004


@typed
def mse(pred: Tensor, target: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Mean squared error over all pixels and channels (000 Eq. 3).

    Args:
        pred: V x C x H x W (or V x B x C x H x W) in [0, data_range].
        target: the truth, of the same shape and range.
        data_range: the largest value that a pixel can have.

    Returns:
        V (or V x B), the type of `pred`.

    Raises:
        ShapeError: shapes that differ, NaN, or values out of the range.
    """
    _check("MSE", pred, target, data_range)
    return (pred.double() - target.double()).square().mean((-3, -2, -1)).to(_dtype(pred))


@typed
def psnr(pred: Tensor, target: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio, 10 log10(data_range² / MSE), in dB (000 Eq. 4).

    000 takes the peak from the image, max(x)², so that a dark image scores lower; here the range is
    explicit and the same for all. Identical images give infinity.

    Args:
        pred: V x C x H x W (or V x B x C x H x W) in [0, data_range].
        target: the truth, of the same shape and range.
        data_range: the largest value that a pixel can have.

    Returns:
        V (or V x B), the type of `pred`.

    Raises:
        ShapeError: shapes that differ, NaN, or values out of the range.
    """
    _check("PSNR", pred, target, data_range)
    error = mse(pred.double(), target.double(), data_range=data_range)
    return (20 * math.log10(data_range) - 10 * error.log10()).to(_dtype(pred))


@typed
def ssim(pred: Tensor, target: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Structural similarity with a Gaussian window of 11 x 11 and sigma 1.5 (000 Eq. 5; Wang et al. 2004).

    The mean over channels and over the pixels whose window lies inside the image, as scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`, and as
    torchmetrics 0.11, which the CVB paper used; torchmetrics counts the border, too, since its pull request
    2721 of 2024 (see `ssim_map`). Differentiable.

    Args:
        pred: V x C x H x W (or V x B x C x H x W) in [0, data_range], H and W at least 11.
        target: the truth, of the same shape and range.
        data_range: the largest value that a pixel can have.

    Returns:
        V (or V x B) in [-1, 1], the type of `pred`.

    Raises:
        ShapeError: shapes that differ, NaN, values out of the range, or images smaller than the window.
    """
    x, y = _planes(pred, target, data_range)
    return _similarity(x, y, data_range).mean((-3, -2, -1)).reshape(pred.shape[:-2]).mean(-1).to(_dtype(pred))


def ssim_map(pred: Tensor, target: Tensor, *, data_range: float = 1.0) -> Tensor:
    """SSIM pixel by pixel, also where the window is cut off by the border, the image reflected there.

    Without the outermost five pixels on each side the mean of the map is `ssim`, which is scikit-image's and
    that of torchmetrics 0.11. The mean of the whole map is that of torchmetrics since 2024 (see `ssim`).

    Args:
        pred: V x C x H x W (or V x B x C x H x W) in [0, data_range], H and W at least 11.
        target: the truth, of the same shape and range.
        data_range: the largest value that a pixel can have.

    Returns:
        The shape and type of `pred`, values in [-1, 1].

    Raises:
        ShapeError: as `ssim`.
    """
    pad = (WINDOW // 2,) * 4
    x, y = (functional.pad(p, pad, mode="reflect") for p in _planes(pred, target, data_range))
    return _similarity(x, y, data_range).reshape(pred.shape).to(_dtype(pred))


def _planes(pred: Tensor, target: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """Return both as N x 1 x H x W doubles, checked."""
    _check("SSIM", pred, target, data_range)
    if min(pred.shape[-2:]) < WINDOW:
        raise ShapeError(
            f"SSIM needs images of at least {WINDOW} x {WINDOW} pixels, got {tuple(pred.shape[-2:])}: "
            "resize first."
        )
    x, y = (images.double().reshape(-1, 1, *images.shape[-2:]) for images in (pred, target))
    return x, y


def _similarity(x: Tensor, y: Tensor, data_range: float) -> Tensor:
    """Return the SSIM of every whole window of N x 1 x H x W images."""
    mean_x, mean_y, xx, yy, xy = (_blur(images) for images in (x, y, x * x, y * y, x * y))
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    return similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))


@typed
def minmax(images: Tensor) -> Tensor:
    """Stretch each image on its own, over all its channels, to [0, 1].

    The CVB paper's code does so to truth and reconstruction before it scores them. A constant
    image has nothing to stretch and becomes 0.

    Args:
        images: ... x C x H x W, of any finite range.

    Raises:
        ShapeError: NaN or infinite pixels.
    """
    if not images.isfinite().all():
        raise ShapeError("Min-max scaling needs finite images, got NaN or infinite pixels.")
    low, high = images.amin((-3, -2, -1), keepdim=True), images.amax((-3, -2, -1), keepdim=True)
    span = high - low
    return (images - low) / torch.where(span > 0, span, torch.ones_like(span))


def _blur(images: Tensor) -> Tensor:
    """Return the Gaussian mean of every whole window of N x 1 x H x W images."""
    offsets = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights = (weights / weights.sum()).reshape(1, 1, WINDOW, 1)
    return functional.conv2d(functional.conv2d(images, weights), weights.mT)


def _check(metric: str, pred: Tensor, target: Tensor, data_range: float) -> None:
    if pred.shape != target.shape:
        raise ShapeError(
            f"{metric} needs two batches of one shape, got {tuple(pred.shape)} and {tuple(target.shape)}."
        )
    if pred.ndim not in (4, 5) or not pred.numel():
        raise ShapeError(
            f"{metric} needs images V x C x H x W or V x B x C x H x W, got {tuple(pred.shape)}: add a first "
            "axis to a single image."
        )
    for images in (pred, target):
        if images.is_complex():
            raise ShapeError(f"{metric} needs real images, got {images.dtype}.")
        low, high = images.min().item(), images.max().item()
        if not math.isfinite(low) or not math.isfinite(high):
            raise ShapeError(f"{metric} needs finite images, got NaN or infinite pixels.")
        if low < -1e-6 * data_range or high > (1 + 1e-6) * data_range:
            mend = rescaling(low / data_range, high / data_range, "call denormalize first, or clip")
            raise ShapeError(
                f"{metric} needs images in [0, {data_range:g}], got [{low:.4g}, {high:.4g}]: {mend}."
            )


def _dtype(images: Tensor) -> torch.dtype:
    return images.dtype if images.is_floating_point() else torch.float32
