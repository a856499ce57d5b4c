"""Spread of gradients over the noise: 1 where no noise comes in, less behind the sampling."""

import pytest
import torch

from gleak_lib import datasets
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import encode
from gleak_lib.experiments.specs.base import from_json
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityExperiment
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.pixels import normalize


def similarity(tmp_path, *bottlenecks):
    cell = NoiseSensitivityExperiment(
        TrainingExperiment("digits", bottlenecks=bottlenecks), victims=4, draws=3
    )
    assert from_json(encode(cell)) == cell
    figures = cell.run(Context(tmp_path)).figures
    return dict(zip(figures["groups"], figures["similarity"], strict=True))


def test_sigma_and_mu_are_those_of_the_encoder(tmp_path):
    """Against the encoder called by hand on the features that reach it."""
    training = TrainingExperiment("digits", bottlenecks=(PRECODE(2, 8),))
    figures = NoiseSensitivityExperiment(training, victims=4, draws=1).run(Context(tmp_path)).figures
    dataset = datasets.load("digits")
    images, _ = datasets.victims(dataset, 4, 0)
    model = training.build(dataset)
    with torch.no_grad():
        x = model.stage2(model.stage1(normalize(images, dataset.mean, dataset.std)))
        mu, sigma = model.bottleneck2.encode(x)
    assert figures["sigma"] == pytest.approx([sigma.mean().item()], rel=1e-5)
    assert figures["mu"] == pytest.approx([mu.pow(2).mean().sqrt().item()], rel=1e-5)


def test_without_a_bottleneck_the_gradient_is_the_same(tmp_path):
    found = similarity(tmp_path)
    assert list(found) == ["stage1", "stage2", "stage3", "head"]
    for values in found.values():
        assert values == pytest.approx([1.0] * 4, abs=1e-5)


def test_the_noise_spoils_the_decoder_more_than_what_precedes_it(tmp_path):
    found = similarity(tmp_path, PRECODE(3, 8))
    means = {group: sum(values) / len(values) for group, values in found.items()}
    assert means["bottleneck3.decoder"] < 0.6
    assert means["stage1"] < 0.999
    assert means["stage1"] > means["bottleneck3.decoder"]
