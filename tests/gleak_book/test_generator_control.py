"""What a generator gives without gradients, against a loop over its samples."""

import pytest
import torch
from gleak_book.kinds import GeneratorControlExperiment

from gleak_lib import datasets
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import Context, GeneratorExperiment, from_json, run
from gleak_lib.experiments.encoding import encode

SMALL = GeneratorExperiment("digits", latent_size=6, width=2, steps=3, batch_size=8)


def test_it_is_read_back_and_says_what_it_is():
    cell = GeneratorControlExperiment(SMALL, "digits", victims=2)
    assert from_json(encode(cell)) == cell
    assert "samples of DCGAN on digits, 3 steps, told the classes, seed 0" in cell.describe()


def test_samples_of_the_victims_classes_are_scored(store):
    cell = GeneratorControlExperiment(SMALL, "digits", victims=3, samples=700, seed=4)
    (result,) = run([cell], store, device="cpu", progress=False)
    digits = datasets.load("digits")
    truth, labels = datasets.victims(digits, 3, 0, split="test")
    made, stream = SMALL.trained(Context(store.cache)), torch.Generator().manual_seed(4)
    for v in range(3):
        draws = [torch.randn(n, 6, generator=stream) for n in (500, 200)]
        samples = torch.cat([made.sample(z, labels[v].expand(len(z))) for z in draws])
        errors = (samples - truth[v]).square().flatten(1).mean(1)
        expected = {
            "one sample": errors[0],
            "mean image": (samples.mean(0) - truth[v]).square().mean(),
            "nearest sample": errors.min(),
        }
        for control, mse in expected.items():
            assert result.figures["scores"][control]["mse"][v] == pytest.approx(float(mse), rel=1e-4)
    frame = run([cell], store, device="cpu", progress=False).frame()
    assert list(frame["control"].unique()) == list(expected) and len(frame) == 9
    assert (frame["rank"] >= 1).all() and result.images("nearest_sample").shape == truth.shape
    with pytest.raises(ParameterError, match="at most 8 victims, got 9"):
        GeneratorControlExperiment(SMALL, "digits", victims=9)
