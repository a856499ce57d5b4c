"""Defences: contracts over the registry, exact sparsity, the noise's statistics, order in a chain."""

import pytest
import torch

from gleak_lib import models
from gleak_lib.attacks import observe
from gleak_lib.defenses import DEFENSES, chain, compression, gaussian, stateless
from gleak_lib.errors import ParameterError


def grads(seed=0):
    g = torch.Generator().manual_seed(seed)
    return {n: torch.randn(3, *s, generator=g) for n, s in [("conv", (4, 2, 5, 5)), ("bias", (10,))]}


@pytest.mark.parametrize("name", sorted(DEFENSES))
def test_contract_every_defence(name):
    defense, before = DEFENSES[name](), grads()
    kept = {n: g.clone() for n, g in before.items()}
    one = defense(before, generator=torch.Generator().manual_seed(0))
    two = defense(before, generator=torch.Generator().manual_seed(0))
    assert list(one) == list(before)
    for n, g in one.items():
        assert g.shape == before[n].shape
        assert torch.equal(g, two[n]), "same seed, same result"
        assert torch.equal(before[n], kept[n]), "what was handed in stays"
        assert not torch.equal(g, before[n]), "it does something"
    assert name in defense.name


def test_compression_prunes_exactly_the_smallest():
    after = compression(0.9)(grads())
    for n, before in grads().items():
        flat, pruned = before.flatten(1), after[n].flatten(1)
        zeros = int(0.9 * flat.shape[1])
        assert ((pruned == 0).sum(1) == zeros).all()
        for row, out in zip(flat, pruned, strict=True):
            smallest = row.abs().sort().values[:zeros]
            assert torch.equal(out[out != 0], row[row.abs() > smallest[-1]])


def test_compression_prunes_exactly_with_ties():
    after = compression(0.5)({"w": torch.ones(2, 10)})["w"]
    assert ((after == 0).sum(1) == 5).all()


def test_gaussian_noise_has_the_stated_moments():
    zeros = {"w": torch.zeros(2, 50_000)}
    noise = gaussian(0.3)(zeros, generator=torch.Generator().manual_seed(0))["w"]
    assert noise.mean().abs() < 0.005
    assert noise.std().item() == pytest.approx(0.3, rel=0.01)
    assert (noise[0] * noise[1]).mean().abs() < 0.002, "updates get independent noise"


def test_a_chain_keeps_the_order_and_an_empty_one_changes_nothing():
    double = stateless("double", lambda g, _: {n: 2 * t for n, t in g.items()})
    shift = stateless("shift", lambda g, _: {n: t + 1 for n, t in g.items()})
    x = {"w": torch.tensor([[3.0]])}
    assert chain(double, shift)(x)["w"].item() == 7
    assert chain(shift, double)(x)["w"].item() == 8
    assert chain()(x)["w"].item() == 3
    assert chain(double, shift).name == "double + shift"


def test_sparsity_after_noise_but_not_before_it():
    rng = torch.Generator().manual_seed(0)
    sparse = chain(gaussian(0.1), compression(0.9))(grads(), generator=rng)["conv"]
    noisy = chain(compression(0.9), gaussian(0.1))(grads(), generator=rng)["conv"]
    assert (sparse == 0).float().mean() == pytest.approx(0.9)
    assert (noisy == 0).float().mean() == 0


def test_observe_applies_a_defence_and_names_it():
    model = models.build("cnn", seed=0)
    images, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    plain = observe(model, images, labels)
    defended = observe(model, images, labels, defense=compression(0.5))
    expected = compression(0.5)(plain.gradients)
    assert all(torch.equal(defended.gradients[n], expected[n]) for n in expected)
    assert defended.defense.name == "compression(p=0.5)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: compression(1.0), r"p must be in \[0, 1\), got 1.0"),
        (lambda: compression(-0.1), r"got -0.1"),
        (lambda: gaussian(0.0), "standard deviation must be positive, got 0.0"),
        (lambda: gaussian(float("nan")), "must be positive, got nan"),
    ],
)
def test_what_defences_refuse(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
