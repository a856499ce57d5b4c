"""The error in feature space."""

import pytest
import torch
from torch import nn

from gleak_lib import metrics, models
from gleak_lib.bottlenecks import CVB
from gleak_lib.errors import ParameterError, ShapeError


def images(*rows):
    g = torch.Generator().manual_seed(0)
    return torch.rand(*rows, 3, 32, 32, generator=g), torch.rand(*rows, 3, 32, 32, generator=g)


def test_with_pixels_as_features_it_is_the_mse():
    pred, target = images(4)
    torch.testing.assert_close(
        metrics.mse_features(pred, target, features=lambda x: x), metrics.mse(pred, target)
    )
    pred, target = images(2, 3)
    assert metrics.mse_features(pred, target, features=lambda x: x.mean((2, 3))).shape == (2, 3)


def test_the_feature_vector_before_the_classifier():
    model = models.build("cnn", seed=0).train()
    pred, target = images(3)
    features = metrics.penultimate(model, mean=0.5, std=(0.2, 0.3, 0.4))
    std = torch.tensor([0.2, 0.3, 0.4])[:, None, None]
    by_hand = [
        nn.Sequential(model.stage1, model.stage2, model.stage3)((t - 0.5) / std).flatten(1)
        for t in (pred, target)
    ]
    torch.testing.assert_close(features(pred), by_hand[0])
    expected = (by_hand[0] - by_hand[1]).square().mean(1)
    torch.testing.assert_close(metrics.mse_features(pred, target, features=features), expected)
    assert model.training
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_bottlenecks_and_batchnorm_repeat():
    noisy = metrics.penultimate(models.build("cnn", bottlenecks=CVB(1, 3), seed=0))
    pred, _ = images(2)
    assert torch.equal(noisy(pred), noisy(pred))
    net = nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 49, 2)).train()
    before = net[1].running_mean.clone()
    features = metrics.penultimate(net)
    torch.testing.assert_close(features(pred)[:1], features(pred[:1]))
    assert torch.equal(net[1].running_mean, before)
    assert net[1].training


def test_what_it_refuses():
    pred, target = images(2)
    with pytest.raises(ShapeError, match="MSE-R needs two batches of one shape"):
        metrics.mse_features(pred, target[:1], features=lambda x: x)
    with pytest.raises(ShapeError, match=r"one row for each of 2 images, got \(3,\)"):
        metrics.mse_features(pred, target, features=lambda x: x.mean((0, 2, 3)))
    with pytest.raises(ParameterError, match="no linear layer"):
        metrics.penultimate(nn.Sequential(nn.Conv2d(3, 2, 32), nn.Flatten()))(pred)
