"""Defences: contracts over the registry, exact sparsity, the noise's statistics, order in a chain."""

import pytest
import scipy.stats
import torch

from gleak_lib import models
from gleak_lib.attacks import observe
from gleak_lib.attacks.observe import sample_noise
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.defenses import (
    DEFENSES,
    Batch,
    chain,
    clip,
    compression,
    dp,
    gaussian,
    laplace,
    prune_small,
    quantize,
    stateless,
)
from gleak_lib.errors import GradientError, ParameterError
from gleak_lib.gradients import per_victim_gradients, prepare

STRONG = {"clip": {"bound": 0.01}, "compression": {"p": 0.5}, "prune-small": {"p": 0.99}}
"""Settings that change every layer of a small model's gradients."""
NEEDS_NOISE = {"average-noise"}


def grads(seed=0):
    g = torch.Generator().manual_seed(seed)
    return {n: torch.randn(3, *s, generator=g) for n, s in [("conv", (4, 2, 5, 5)), ("bias", (10,))]}


def batch_of(model, victims=3, batch_size=2, seed=0):
    """Images, labels and noise of V x B examples, and their gradients."""
    g = torch.Generator().manual_seed(seed)
    count = victims * batch_size
    x = torch.randn(count, *model.input_shape, generator=g)
    labels = torch.randint(3, (count,), generator=g)
    batch = Batch(model, x, labels, victims, sample_noise(model, count, x, g))
    found, _ = per_victim_gradients(
        prepare(model, batch_size), x, labels, victims=victims, noise=list(batch.noise)
    )
    return batch, {n: t.detach() for n, t in found.items()}


@pytest.mark.parametrize("bottlenecks", [(), (CVB(1),), (PRECODE(2, 4),)])
@pytest.mark.parametrize("name", sorted(DEFENSES))
def test_contract_every_defence(name, bottlenecks, small):
    batch, before = batch_of(small("cnn", bottlenecks=bottlenecks))
    defense = DEFENSES[name](**STRONG.get(name, {}))
    kept = {n: g.clone() for n, g in before.items()}
    bound = defense.bound(batch)
    one = bound(before, generator=torch.Generator().manual_seed(0))
    two = bound(before, generator=torch.Generator().manual_seed(0))
    assert list(one) == list(before)
    for n, g in one.items():
        assert g.shape == before[n].shape and g.dtype == before[n].dtype and not g.requires_grad
        assert torch.equal(g, two[n]), "same seed, same result"
        assert torch.equal(before[n], kept[n]), "what was handed in stays"
    changed = {n for n, g in one.items() if not torch.equal(g, before[n])}
    assert changed or (name in NEEDS_NOISE and not bottlenecks), "it does something"
    assert defense.targets is None or changed <= set(defense.targets(batch.model))
    assert defense.name == bound.name and name in defense.name
    assert (defense.replaces, defense.bits) == (bound.replaces, bound.bits)


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"dp", "gaussian", "laplace"}))
def test_every_update_is_transformed_on_its_own(name, small):
    batch, before = batch_of(small("cnn"))
    together = DEFENSES[name]().bound(batch)(before)
    for v in range(3):
        rows = slice(2 * v, 2 * v + 2)
        alone = Batch(batch.model, batch.x[rows], batch.labels[rows], 1)
        single = DEFENSES[name]().bound(alone)({n: g[v : v + 1] for n, g in before.items()})
        for n, g in single.items():
            torch.testing.assert_close(g[0], together[n][v], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"soteria", "pld", "average-noise"}))
def test_a_dict_of_gradients_alone_is_enough(name):
    after = DEFENSES[name](**STRONG.get(name, {}))(grads(), generator=torch.Generator().manual_seed(1))
    assert all(after[n].shape == g.shape and not torch.equal(after[n], g) for n, g in grads().items())


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
    assert scipy.stats.kstest(noise.flatten().numpy(), scipy.stats.norm(0, 0.3).cdf).pvalue > 0.01


def test_laplace_noise_has_the_stated_law():
    zeros = {"w": torch.zeros(2, 50_000, dtype=torch.float64)}
    noise = laplace(0.2)(zeros, generator=torch.Generator().manual_seed(0))["w"]
    assert noise.mean().abs() < 0.003
    assert noise.var().item() == pytest.approx(2 * 0.2**2, rel=0.02)
    assert scipy.stats.kurtosis(noise.flatten().numpy()) == pytest.approx(3, abs=0.2)  # a normal law's is 0
    assert scipy.stats.kstest(noise.flatten().numpy(), scipy.stats.laplace(0, 0.2).cdf).pvalue > 0.01
    assert (noise[0] * noise[1]).mean().abs() < 0.002, "updates get independent noise"
    assert laplace().name == "laplace(scale=0.0707107)", "004's variance of 1e-2"


def test_prune_small_takes_the_smallest_of_the_whole_gradient():
    before = grads()
    before["bias"] *= 0.01  # a layer of small gradients loses all it has
    after = prune_small(0.2)(before)
    whole = {"before": before, "after": after}
    flat = {k: torch.cat([g.flatten(1) for g in part.values()], 1) for k, part in whole.items()}
    count = int(0.2 * flat["before"].shape[1])
    assert ((flat["after"] == 0).sum(1) == count).all() and not after["bias"].any()
    for row, out in zip(flat["before"], flat["after"], strict=True):
        assert torch.equal(out[out != 0], row[row.abs() > row.abs().sort().values[count - 1]])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_quantisation_levels_and_error(bits):
    before, after = grads()["conv"].flatten(1), quantize(bits)(grads())["conv"].flatten(1)
    for row, out in zip(before, after, strict=True):
        step = row.abs().max() / (2 ** (bits - 1) - 1)
        assert len(out.unique()) <= 2**bits - 1
        torch.testing.assert_close(out / step, (out / step).round(), rtol=0, atol=1e-4)
        assert (out - row).abs().max() <= step / 2 * (1 + 1e-5)
        assert out.abs().max() == pytest.approx(row.abs().max().item())


def test_quantisation_by_hand():
    given = torch.tensor([[0.0, 1.0, -3.0, 1.6, 0.4]])  # 3 bits: integers -3 to 3, here of step 1
    assert quantize(3)({"w": given})["w"].tolist() == [[0.0, 1.0, -3.0, 2.0, 0.0]]
    assert quantize(8)({"w": torch.zeros(2, 3)})["w"].tolist() == [[0.0] * 3] * 2


def norm(grads):
    return torch.cat([g.flatten(1) for g in grads.values()], 1).norm(dim=1)


def test_clipping_gives_the_bound_and_keeps_the_direction():
    after = clip(4.0)(grads())
    torch.testing.assert_close(norm(after), torch.full((3,), 4.0))
    for n, g in grads().items():
        torch.testing.assert_close(after[n] * norm(grads()).view(-1, *[1] * (g.dim() - 1)) / 4, g)
    short = {n: 0.01 * g for n, g in grads().items()}
    assert all(torch.equal(g, short[n]) for n, g in clip(4.0)(short).items()), "what is short stays"


def test_clipping_layer_by_layer():
    after = clip(2.0, per_layer=True)(grads())
    for n, g in grads().items():
        torch.testing.assert_close(norm({n: after[n]}), norm({n: g}).clamp(max=2.0))
    assert (norm({"b": grads()["bias"]}) > 2).any() and (norm(after) > 2).all()


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
    sent = [chain(quantize(8), compression(0.5)), chain(compression(0.5), gaussian()), chain(compression())]
    assert [defense.bits for defense in sent] == [8, 32, None]


def test_what_works_on_examples_comes_first(small):
    first = chain(dp(noise_multiplier=0.0), compression(0.5))
    assert first.replaces and first.privacy == dp(noise_multiplier=0.0).privacy
    batch, before = batch_of(small("cnn"))
    expected = compression(0.5)(dp(noise_multiplier=0.0).bound(batch)(before))
    assert all(torch.equal(g, expected[n]) for n, g in first.bound(batch)(before).items())
    with pytest.raises(ParameterError, match=r"dp\(.*anew .* gaussian\(std=0.1\) before it .*put it first"):
        chain(gaussian(), first)


def test_a_bound_defence_wants_the_gradients_of_its_batch(small):
    batch, before = batch_of(small("cnn"))
    for name in ("average-noise", "dp", "soteria"):
        with pytest.raises(GradientError, match="bound to a batch of 3 updates, got gradients of 2"):
            DEFENSES[name]().bound(batch)({n: g[:2] for n, g in before.items()})


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
        (lambda: prune_small(2), r"p must be in \[0, 1\), got 2"),
        (lambda: gaussian(0.0), "standard deviation must be positive and finite, got 0.0"),
        (lambda: gaussian(float("nan")), "must be positive and finite, got nan"),
        (lambda: laplace(-1.0), "scale must be positive and finite, got -1.0"),
        (lambda: quantize(1), "integer from 2 to 16, got 1"),
        (lambda: quantize(8.0), "bits must be int, got 8.0"),
        (lambda: clip(0.0), "bound must be positive and finite, got 0.0"),
        (lambda: dp(max_grad_norm=0.0), "max_grad_norm must be positive and finite, got 0.0"),
        (lambda: dp(noise_multiplier=-1.0), "noise_multiplier must be finite and not negative, got -1.0"),
        (lambda: dp(delta=0.0), "delta must be between 0 and 1, got 0.0"),
        (lambda: DEFENSES["average-noise"](0), "draws must be an integer of at least 1, got 0"),
        (lambda: DEFENSES["average-noise"](2.0), "draws must be int, got 2.0"),
        (lambda: DEFENSES["average-noise"](True), "draws must be int, got True"),
        (lambda: DEFENSES["average-noise"](2)(grads()), r"average-noise\(draws=2\) .* call `bound\(batch\)"),
        (lambda: DEFENSES["soteria"](p=1.0), r"p must be in \[0, 1\), got 1.0"),
        (lambda: DEFENSES["pld"](probes=0), "probes must be None or an integer of at least 1, got 0"),
        (lambda: DEFENSES["pld"]()(grads()), r"pld\(p=0.8\) chooses .* call defense.bound"),
    ],
)
def test_what_defences_refuse(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
