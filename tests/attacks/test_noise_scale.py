"""Clients whose noise is scaled: what they share, and what `share_noise` tells of it."""

import pytest
import torch

from gleak_lib.attacks import observe
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import ParameterError
from gleak_lib.gradients import per_victim_gradients, prepare


def seen(small, **options):
    model = small("cnn", bottlenecks=(CVB(1, 3), PRECODE(2, 4)))
    images = torch.rand(3, *model.input_shape, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([0, 1, 2])
    return (
        model,
        images,
        labels,
        observe(model, images, labels, generator=generator, share_noise=True, **options),
    )


@pytest.mark.parametrize("scale", [0, 0.0, 0.25, 2.0])
def test_gradients_are_those_of_the_scaled_draw(small, scale):
    model, images, labels, scaled = seen(small, noise_scale=scale)
    whole = seen(small)[-1]
    noise = [scale * n for n in whole.noise]
    for one, two in zip(scaled.noise, noise, strict=True):
        assert torch.equal(one, two)
    expected, _ = per_victim_gradients(prepare(model, 1), images, labels, victims=3, noise=noise)
    for n, g in scaled.gradients.items():
        torch.testing.assert_close(g, expected[n], rtol=1e-6, atol=1e-8)
    if not scale:
        zero = [torch.zeros_like(n) for n in noise]
        none, _ = per_victim_gradients(prepare(model, 1), images, labels, victims=3, noise=zero)
        assert all(torch.equal(g, none[n]) for n, g in scaled.gradients.items())


def test_a_scale_of_one_changes_nothing(small):
    plain, same = seen(small)[-1], seen(small, noise_scale=1.0)[-1]
    assert all(torch.equal(g, same.gradients[n]) for n, g in plain.gradients.items())


@pytest.mark.parametrize("scale", [-1.0, float("inf"), float("nan")])
def test_scales_that_there_are_not(small, scale):
    with pytest.raises(ParameterError, match=f"noise_scale must be finite and not negative, got {scale}"):
        seen(small, noise_scale=scale)
