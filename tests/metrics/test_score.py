"""The table of scores and the criteria over it."""

import itertools
import math
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from gleak_lib import metrics
from gleak_lib.errors import MissingDependencyError, ParameterError, ShapeError
from gleak_lib.types import Reconstruction


def pair(*shape, noise=0.05, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(shape, generator=generator) * 0.6 + 0.2
    return (truth + noise * torch.randn(shape, generator=generator)).clamp(0, 1), truth


def wrap(images):
    count = len(images)
    nothing = torch.zeros(count)
    return Reconstruction(images, nothing.long(), nothing, nothing, nothing[None], nothing[:1])


@pytest.mark.parametrize("scaling", ["minmax", "none"])
def test_one_row_an_image(scaling):
    pred, truth = pair(5, 3, 16, 16)
    frame = metrics.score(wrap(pred), truth, scaling=scaling)
    assert list(frame) == ["victim", "image", "mse", "psnr", "ssim", "lpips", "success"]
    assert frame["victim"].tolist() == list(range(5))
    assert frame["image"].tolist() == [0] * 5
    scale = metrics.minmax if scaling == "minmax" else torch.Tensor.contiguous
    for name in ("mse", "psnr", "ssim"):
        expected = getattr(metrics, name)(scale(pred), scale(truth))
        np.testing.assert_allclose(frame[name], expected)
    assert frame["success"].tolist() == (frame["ssim"] >= 0.5).tolist()
    assert frame.attrs["scaling"] == scaling
    pd.testing.assert_frame_equal(frame, metrics.score(pred, truth, scaling=scaling))


def test_minmax_forgives_a_wrong_contrast_and_none_does_not():
    _, truth = pair(2, 3, 16, 16)
    faint = truth * 0.3 + 0.2
    assert metrics.score(faint, truth, scaling="minmax")["mse"].max() < 1e-10
    assert metrics.score(faint, truth, scaling="none")["mse"].min() > 1e-3


def test_without_scaling_the_reconstruction_is_clipped():
    _, truth = pair(2, 3, 16, 16)
    white = torch.ones_like(truth)
    one, two = (metrics.score(images, truth, scaling="none") for images in (white, 5 * white))
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_images_of_a_batch_are_assigned_to_the_true_ones(order):
    pred, truth = pair(2, 3, 3, 16, 16)
    straight = metrics.score(pred, truth)
    shuffled = metrics.score(pred[:, list(order)], truth)
    assert straight["victim"].tolist() == [0, 0, 0, 1, 1, 1]
    assert straight["image"].tolist() == [0, 1, 2, 0, 1, 2]
    pd.testing.assert_frame_equal(straight, shuffled)


def test_the_assignment_is_the_best_of_all_and_one_to_one():
    generator = torch.Generator().manual_seed(4)
    pred, truth = (
        torch.rand(1, 4, 1, 12, 12, generator=generator),
        torch.rand(1, 4, 1, 12, 12, generator=generator),
    )
    costs = [
        sum(float((pred[0, j] - truth[0, i]).square().sum()) for i, j in enumerate(order))
        for order in itertools.permutations(range(4))
    ]
    found = metrics.assign(pred, truth)
    assert float((found - truth).square().sum()) == pytest.approx(min(costs), rel=1e-5)
    assert sorted(found.sum((2, 3, 4))[0].tolist()) == pytest.approx(sorted(pred.sum((2, 3, 4))[0].tolist()))


def test_lpips_is_missing_with_its_reason_or_computed():
    pred, truth = pair(3, 3, 16, 16)
    without = metrics.score(pred, truth)
    assert without["lpips"].isna().all()
    assert without.attrs["missing"] == {"lpips": "score was given no perceptual metric"}
    with pytest.raises(ParameterError, match="needs lpips, which is missing: score was given no perceptual"):
        metrics.attack_success_rate(without, metrics.lpips_below(0.2))
    given = metrics.score(pred, truth, perceptual=lambda a, b: (a - b).abs().mean((1, 2, 3)))
    assert given["lpips"].between(0.01, 0.2).all()
    assert metrics.attack_success_rate(given, metrics.lpips_below(0.2)) == 100


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"scaling": "min-max"}, ParameterError, 'scaling must be "minmax" or "none", got \'min-max\''),
        ({"truth": torch.rand(3, 3, 16, 16)}, ShapeError, r"got \(2, 3, 16, 16\) and \(3, 3, 16, 16\)"),
        (
            {"truth": torch.rand(2, 3, 16, 16) * 5 - 2},
            ShapeError,
            r"truth must be in \[0, 1\], .*denormalize first",
        ),
        (
            {"truth": torch.full((2, 3, 16, 16), math.nan)},
            ShapeError,
            r"truth must be in \[0, 1\], got \[nan",
        ),
        ({"reconstruction": torch.full((2, 3, 16, 16), math.nan)}, ShapeError, "NaN .*the attack diverged"),
    ],
)
def test_wrong_input(change, error, match):
    pred, truth = pair(2, 3, 16, 16)
    with pytest.raises(error, match=match):
        metrics.score(**{"reconstruction": pred, "truth": truth} | change)


def test_a_missing_pandas_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        MissingDependencyError, match=r'pandas is not installed: pip install "gleak\[metrics\]"'
    ):
        metrics.score(*pair(1, 3, 16, 16))


FRAME = pd.DataFrame(
    {"ssim": [0.9, 0.5, 0.49, 0.1], "psnr": [30.0, 10.0, 25.0, math.inf], "mse": [0.1, 0.2, 0.3, 0.0]}
)


@pytest.mark.parametrize(
    ("criterion", "holds", "name"),
    [
        (metrics.ssim_above(0.5), [True, True, False, False], "ssim >= 0.5"),
        (metrics.psnr_above(25), [True, False, True, True], "psnr >= 25"),
        (metrics.mse_below(0.1), [True, False, False, True], "mse <= 0.1"),
        (
            metrics.ssim_above() & metrics.psnr_above(20),
            [True, False, False, False],
            "(ssim >= 0.5 and psnr >= 20)",
        ),
        (metrics.ssim_above() | metrics.psnr_above(20), [True] * 4, "(ssim >= 0.5 or psnr >= 20)"),
        (~metrics.ssim_above(), [False, False, True, True], "not ssim >= 0.5"),
    ],
)
def test_criteria(criterion, holds, name):
    assert criterion(FRAME).tolist() == holds
    assert criterion.name == name
    assert metrics.attack_success_rate(FRAME, criterion) == 100 * sum(holds) / 4


def test_criteria_do_not_combine_with_and():
    with pytest.raises(ParameterError, match=r"with &, \| and ~"):
        metrics.ssim_above() and metrics.psnr_above(20)


def test_a_rate_of_nothing_or_of_missing_values_is_refused():
    with pytest.raises(ParameterError, match="at least one scored image"):
        metrics.attack_success_rate(FRAME[:0])
    with pytest.raises(ParameterError, match="needs ssim, which is missing"):
        metrics.attack_success_rate(FRAME.drop(columns="ssim"))
    with pytest.raises(ParameterError, match=r"needs ssim, which is missing: .*NaN"):
        metrics.attack_success_rate(FRAME.replace({"ssim": {0.1: math.nan}}), ~metrics.ssim_above())


def test_summary():
    frame = pd.DataFrame(
        {"mse": [0.1, 0.3], "psnr": [10.0, math.inf], "ssim": [1.0, 0.0], "lpips": [math.nan] * 2}
    )
    found = metrics.summary(frame)
    assert found.loc["mse"].tolist() == pytest.approx([0.2, 0.1, 2])
    assert found.loc["ssim"].tolist() == pytest.approx([0.5, 0.5, 2])
    assert found.loc["psnr", "mean"] == math.inf
    assert math.isnan(found.loc["psnr", "std"])
    assert found.loc["lpips", "count"] == 0
