"""MSE, PSNR and SSIM against scikit-image and against values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from gleak_lib.errors import ShapeError
from gleak_lib.metrics import denormalize, minmax, mse, normalize, psnr, ssim, ssim_map

METRICS = (mse, psnr, ssim)


def pair(seed, shape=(4, 3, 32, 32), noise=0.1):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator)
    return (target + noise * torch.randn(shape, generator=generator)).clamp(0, 1), target


def reference_ssim(pred, target, data_range=1.0):
    return structural_similarity(
        pred.double().numpy(),
        target.double().numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=data_range,
        channel_axis=0,
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    channels=st.sampled_from([1, 3]),
    height=st.integers(11, 40),
    width=st.integers(11, 40),
    noise=st.floats(0, 1),
    data_range=st.sampled_from([1.0, 2.0, 255.0]),
)
def test_metrics_agree_with_scikit_image(seed, channels, height, width, noise, data_range):
    pred, target = (data_range * x for x in pair(seed, (2, channels, height, width), noise))
    found = ssim(pred, target, data_range=data_range)
    for one, other, value in zip(pred, target, found, strict=True):
        assert value.item() == pytest.approx(reference_ssim(one, other, data_range), abs=1e-5)
    if noise > 1e-3:
        expected = [
            peak_signal_noise_ratio(b.double().numpy(), a.double().numpy(), data_range=data_range)
            for a, b in zip(pred, target, strict=True)
        ]
        np.testing.assert_allclose(psnr(pred, target, data_range=data_range), expected, rtol=1e-5)
    expected = [mean_squared_error(a.numpy(), b.numpy()) for a, b in zip(pred, target, strict=True)]
    np.testing.assert_allclose(mse(pred, target, data_range=data_range), expected, rtol=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_ssim_of_flat_images_is_the_luminance_term(level):
    pred, target = torch.full((1, 3, 16, 16), level), torch.full((1, 3, 16, 16), 0.5)
    expected = (2 * level * 0.5 + 1e-4) / (level**2 + 0.25 + 1e-4)
    assert ssim(pred, target).item() == pytest.approx(expected, abs=1e-6)


def test_values_by_hand():
    pred, target = torch.zeros(1, 1, 12, 12), torch.zeros(1, 1, 12, 12)
    pred[0, 0, 0, :3] = 0.6  # 3 of 144 pixels are 0.6 off
    assert mse(pred, target).item() == pytest.approx(0.36 * 3 / 144)
    assert psnr(pred, target).item() == pytest.approx(-10 * math.log10(0.0075), abs=1e-5)
    assert psnr(255 * pred, 255 * target, data_range=255).item() == pytest.approx(21.2494, abs=1e-3)


def test_identical_images():
    _, target = pair(0)
    assert mse(target, target).tolist() == [0] * 4
    assert psnr(target, target).tolist() == [math.inf] * 4
    assert ssim(target, target).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize("metric", METRICS)
def test_images_are_measured_one_by_one(metric):
    pred, target = pair(1, (6, 3, 16, 16))
    expected = torch.cat([metric(pred[i : i + 1], target[i : i + 1]) for i in range(6)])
    assert metric(pred, target).shape == (6,)
    torch.testing.assert_close(metric(pred, target), expected)
    batched = metric(pred.unflatten(0, (2, 3)), target.unflatten(0, (2, 3)))
    torch.testing.assert_close(batched, expected.reshape(2, 3))


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_are_differentiable(metric):
    pred, target = pair(2, (2, 1, 12, 12))
    pred = (0.05 + 0.9 * pred).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: metric(x, target.double()), pred)


@pytest.mark.parametrize("metric", METRICS)
def test_wrong_images_are_refused(metric):
    name = metric.__name__.upper()
    good = torch.rand(2, 3, 16, 16)
    with pytest.raises(ShapeError, match=rf"{name} needs two batches of one shape, got \(2, 3, 16, 16\) and"):
        metric(good, good[:1])
    with pytest.raises(ShapeError, match=rf"{name} needs images V x C x H x W .* got \(3, 16, 16\)"):
        metric(good[0], good[0])
    with pytest.raises(ShapeError, match=rf"{name} needs images V x C x H x W"):
        metric(good[:0], good[:0])
    for value in (math.nan, math.inf):
        with pytest.raises(ShapeError, match=f"{name} needs finite images"):
            metric(good, torch.full_like(good, value))
    wrong = good.clone()
    wrong[0, 0, 0, :2] = torch.tensor([-2.1, 2.6])
    match = rf"{name} needs images in \[0, 1\], got \[-2.1, 2.6\]: call denormalize first"
    with pytest.raises(ShapeError, match=match):
        metric(wrong, good)


def test_ssim_needs_room_for_its_window():
    with pytest.raises(ShapeError, match=r"SSIM needs images of at least 11 x 11 pixels, got \(10, 32\)"):
        ssim(torch.rand(1, 3, 10, 32), torch.rand(1, 3, 10, 32))


def test_minmax_stretches_each_image_over_all_its_channels():
    images = torch.rand(3, 3, 8, 8) * torch.tensor([1.0, 5.0, 0.1])[:, None, None, None] - 2
    scaled = minmax(images)
    assert scaled.amin((1, 2, 3)).tolist() == [0] * 3
    assert scaled.amax((1, 2, 3)).tolist() == [1] * 3
    assert not torch.allclose(scaled.amax((2, 3)), torch.ones(3, 3))  # the channels keep their proportions
    assert minmax(torch.full((1, 3, 8, 8), 0.7)).eq(0).all()
    with pytest.raises(ShapeError, match="Min-max scaling needs finite images"):
        minmax(torch.full((1, 3, 8, 8), math.nan))


def test_denormalize_undoes_normalize():
    images, mean, std = torch.rand(2, 5, 3, 8, 8), (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    seen = normalize(images, mean, std)
    torch.testing.assert_close(seen[:, :, 2], (images[:, :, 2] - 0.3) / 2)
    torch.testing.assert_close(denormalize(seen, mean, std), images)
    with pytest.raises(ShapeError, match=r"mean has 2 value\(s\), but images of shape"):
        normalize(images, (0.1, 0.2), std)
    with pytest.raises(ShapeError, match=r"std has 1 value\(s\)"):
        denormalize(images, mean, (1.0,))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(11, 34), data_range=st.sampled_from([1.0, 255.0]))
def test_the_map_is_scikit_images_inside_and_reflects_the_image_at_the_border(seed, size, data_range):
    pred, target = (data_range * x for x in pair(seed, (2, 3, size, size + 3)))
    found = ssim_map(pred, target, data_range=data_range)
    assert found.shape == pred.shape
    inside = found[..., 5:-5, 5:-5].mean((1, 2, 3))
    torch.testing.assert_close(inside, ssim(pred, target, data_range=data_range), atol=1e-6, rtol=0)
    for one, other, value in zip(pred, target, found, strict=True):
        wide = [np.pad(t.double().numpy(), ((0, 0), (5, 5), (5, 5)), mode="reflect") for t in (one, other)]
        _, full = structural_similarity(
            *wide, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=data_range,
            channel_axis=0, full=True,
        )  # fmt: skip
        np.testing.assert_allclose(value, full[:, 5:-5, 5:-5], atol=1e-5)


def test_the_map_takes_batches_and_refuses_what_the_metric_refuses():
    pred, target = pair(0, (2, 4, 1, 16, 16))
    assert torch.equal(ssim_map(pred, target)[1], ssim_map(pred[1], target[1]))
    with pytest.raises(ShapeError, match="SSIM needs images of at least 11 x 11"):
        ssim_map(pred[..., :10], target[..., :10])
    with pytest.raises(ShapeError, match="SSIM needs two batches of one shape"):
        ssim_map(pred, target[:1])
