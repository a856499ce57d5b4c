"""The norm of a layer's Jacobian: against torch.func.jacrev, exactly and within the stated error."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gleak_lib.bottlenecks import PRECODE
from gleak_lib.defenses import LeakageRisk, leakage_risk
from gleak_lib.defenses.risk import by_layer
from gleak_lib.errors import ParameterError, ShapeError

TINY = {"lenet": {"convs": 1, "input_shape": (2, 6, 6)}, "convnet8": {"width": 1}, "mlp": {}}
"""A thousand entries at most, so that their whole Jacobian can be had."""
MEAN, STD = (0.3, 0.5), (0.5, 0.25)


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def root(model, count=5):
    images = torch.rand(count, *model.input_shape, generator=gen(1))
    return images, torch.arange(count) % 3


def oracle(model, images, labels, p):
    """Mean p-norm of each layer's Jacobian by reverse-mode differentiation of a plain loss."""
    parameters = {n: v.detach() for n, v in model.named_parameters()}
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))

    def loss(parameters, image, label):
        logits = torch.func.functional_call(model, parameters, (((image - mean) / std)[None],))
        return F.cross_entropy(logits, label[None])

    jacobian = torch.func.jacrev(torch.func.grad(loss), argnums=1)
    rows = [jacobian(parameters, image, label) for image, label in zip(images, labels, strict=True)]
    return [
        sum(float(torch.cat([row[n].flatten() for n in names]).norm(p)) for row in rows) / len(rows)
        for names in by_layer(parameters).values()
    ]


@pytest.mark.parametrize("name", sorted(TINY))
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_exact_norms_against_jacrev(small, name, p):
    model = small(name, **TINY[name]).eval()
    images, labels = root(model, 3)
    found = leakage_risk(model, images, labels, mean=MEAN, std=STD, p=p, probes=None)
    assert found.values == pytest.approx(oracle(model, images, labels, p), rel=1e-4)
    assert set(found.errors) == {0.0}
    layers = by_layer(n for n, _ in model.named_parameters())
    assert found.layers == tuple(layers)
    assert found.sizes == tuple(
        sum(model.get_parameter(n).numel() for n in names) for names in layers.values()
    )


@pytest.mark.parametrize("probes", [2, 8])
def test_the_estimate_lies_within_its_stated_error(small, probes):
    """Over many draws, (estimate - exact) / error has mean near 0 and spread near 1 (wider for 2 probes)."""
    model = small("lenet", **TINY["lenet"]).eval()
    images, labels = root(model, 12)
    exact = torch.tensor(oracle(model, images, labels, 2))
    draws = [
        leakage_risk(model, images, labels, mean=MEAN, std=STD, probes=probes, generator=gen(seed))
        for seed in range(60)
    ]
    values, errors = (torch.tensor([getattr(d, what) for d in draws]) for what in ("values", "errors"))
    assert ((values.mean(0) - exact).abs() < 4 * values.std(0) / 60**0.5 + 0.004 * exact).all(), "no bias"
    ratio = errors.square().mean(0).sqrt() / values.std(0)
    assert ((ratio > 0.7) & (ratio < 1.5)).all(), "the stated error is the spread"
    assert ((values - exact).abs() < 3 * errors).double().mean() > (0.9 if probes == 2 else 0.97)


def test_chunks_and_bottlenecks_and_frozen_parameters(small, monkeypatch):
    model = small("lenet4", bottlenecks=(PRECODE(2, 4),))
    model.get_parameter("stage1.0.bias").requires_grad_(False)
    images, labels = root(model)
    one = leakage_risk(model, images, labels, generator=gen())
    assert "stage1.0" in one.layers and one == leakage_risk(model, images, labels, generator=gen())
    assert one.sizes[0] == model.get_parameter("stage1.0.weight").numel()
    assert all(v > 0 for v in one.values) and all(
        0 < e < v for v, e in zip(one.values, one.errors, strict=True)
    )
    plain = small("lenet4").eval()
    whole = leakage_risk(plain, images, labels, probes=None)
    monkeypatch.setattr("gleak_lib.defenses.risk.MEMORY", 1)
    assert leakage_risk(plain, images, labels, probes=None).values == pytest.approx(whole.values, rel=1e-5)


def test_a_layer_that_tells_nothing_has_no_risk():
    """The gradient of a layer that the forward pass never uses is zero, whatever the image."""

    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(4, 3), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x.flatten(1))

    model = Spare()
    found = leakage_risk(model, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), probes=None)
    values = dict(zip(found.layers, found.values, strict=True))
    assert values["spare"] == 0 and values["used"] > 0


BAD = [
    ({"images": torch.rand(0, 2, 8, 8), "labels": torch.zeros(0).long()}, ShapeError, "at least one image"),
    ({"images": torch.rand(2, 8, 8)}, ShapeError, r"must be k x C x H x W .* got \(2, 8, 8\)"),
    ({"images": torch.rand(2, 3, 8, 8)}, ShapeError, r"does not take root images of shape \(3, 8, 8\)"),
    ({"images": torch.rand(2, 2, 16, 16)}, ShapeError, r"does not take root images of shape \(2, 16, 16\)"),
    ({"images": 255 * torch.ones(2, 2, 8, 8)}, ShapeError, r"floats in \[0, 1\], got torch.float32 in \[255"),
    ({"images": torch.full((2, 2, 8, 8), math.nan)}, ShapeError, r"must be floats in \[0, 1\], got .*nan"),
    ({"images": torch.ones(2, 2, 8, 8).byte()}, ShapeError, "got torch.uint8 .*: divide uint8 by 255"),
    ({"labels": torch.zeros(2)}, ShapeError, r"must be 2 class indices, got \(2,\) of torch.float32"),
    ({"labels": torch.tensor([0])}, ShapeError, r"must be 2 class indices, got \(1,\)"),
    ({"labels": torch.tensor([0, 3])}, ShapeError, "0 to 2 for this model's 3 logits, got 0 to 3"),
    ({"p": 0.5}, ParameterError, "p must be at least 1, got 0.5"),
    ({"p": math.nan}, ParameterError, "p must be at least 1, got nan"),
    ({"p": 1.0}, ParameterError, "say nothing of p=1.0: take probes=None"),
    ({"probes": 1}, ParameterError, "At least 2 probes .* got 1"),
    ({"probes": 2.5}, ParameterError, "probes must be int"),
]


@pytest.mark.parametrize(("change", "error", "match"), BAD)
def test_bad_root_sets_and_norms(small, change, error, match):
    options = {"images": torch.rand(2, 2, 8, 8), "labels": torch.tensor([0, 1])} | change
    with pytest.raises(error, match=match):
        leakage_risk(small("lenet4"), options.pop("images"), options.pop("labels"), **options)


def test_layers_are_modules():
    assert by_layer(["a.weight", "a.bias", "b.c.weight", "d"]) == {
        "a": ("a.weight", "a.bias"), "b.c": ("b.c.weight",), "d": ("d",)}  # fmt: skip
    assert LeakageRisk(("a",), (2,), (1.0,), (0.0,)) == LeakageRisk(("a",), (2,), (1.0,), (0.0,))
