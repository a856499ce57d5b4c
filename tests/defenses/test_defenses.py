"""Defenses: contracts over the registry, exact sparsity, the noise's statistics, order in a chain."""

from dataclasses import dataclass

import pytest
import scipy.stats
import torch

from gleak_lib import models
from gleak_lib.attacks import observe
from gleak_lib.bottlenecks import CVB, PRECODE, sample_noise
from gleak_lib.defenses import (
    DEFENSES,
    DP,
    Batch,
    Clip,
    Compression,
    Defense,
    Gaussian,
    Laplace,
    PruneSmall,
    Quantize,
    chain,
)
from gleak_lib.errors import GradientError, ParameterError, UnknownNameError
from gleak_lib.gradients import per_victim_gradients, prepare

STRONG = {
    "clip": {"bound": 0.01},
    "compression": {"p": 0.5},
    "prune_small": {"p": 0.99},
    "slices": {"block": 8},
}
"""Settings that change every layer of a small model's gradients."""
NEEDS_NOISE = {"average_noise"}


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
def test_contract_every_defense(name, bottlenecks, small):
    batch, before = batch_of(small("cnn", bottlenecks=bottlenecks))
    defense = DEFENSES[name](**STRONG.get(name, {}))
    kept = {n: g.clone() for n, g in before.items()}
    bound = defense.bind(batch)
    one = bound(before, generator=torch.Generator().manual_seed(0))
    two = bound(before, generator=torch.Generator().manual_seed(0))
    assert list(one) == list(before)
    for n, g in one.items():
        assert g.shape == before[n].shape and g.dtype == before[n].dtype and not g.requires_grad
        assert torch.equal(g, two[n]), "same seed, same result"
        assert torch.equal(before[n], kept[n]), "what was handed in stays"
    changed = {n for n, g in one.items() if not torch.equal(g, before[n])}
    assert changed or (name in NEEDS_NOISE and not bottlenecks), "it does something"
    assert not defense.targets(batch.model) or changed <= set(defense.targets(batch.model))
    assert defense == bound and str(defense) == str(bound) and str(defense).startswith(f"{name}(")
    assert (bound.batch, defense.batch) == (batch, None), "what it was bound to stays with the client"


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"dp", "gaussian", "laplace", "slices"}))
def test_every_update_is_transformed_on_its_own(name, small):
    batch, before = batch_of(small("cnn"))
    together = DEFENSES[name]().bind(batch)(before)
    for v in range(3):
        rows = slice(2 * v, 2 * v + 2)
        alone = Batch(batch.model, batch.x[rows], batch.labels[rows], 1)
        single = DEFENSES[name]().bind(alone)({n: g[v : v + 1] for n, g in before.items()})
        for n, g in single.items():
            torch.testing.assert_close(g[0], together[n][v], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"soteria", "pld", "average_noise"}))
def test_a_dict_of_gradients_alone_is_enough(name):
    settings = {"slices": {"share": 1.0}}.get(name, STRONG.get(name, {}))
    after = DEFENSES[name](**settings)(grads(), generator=torch.Generator().manual_seed(1))
    assert all(after[n].shape == g.shape and not torch.equal(after[n], g) for n, g in grads().items())


def test_compression_prunes_exactly_the_smallest():
    after = Compression(0.9)(grads())
    for n, before in grads().items():
        flat, pruned = before.flatten(1), after[n].flatten(1)
        zeros = int(0.9 * flat.shape[1])
        assert ((pruned == 0).sum(1) == zeros).all()
        for row, out in zip(flat, pruned, strict=True):
            smallest = row.abs().sort().values[:zeros]
            assert torch.equal(out[out != 0], row[row.abs() > smallest[-1]])


def test_compression_prunes_exactly_with_ties():
    after = Compression(0.5)({"w": torch.ones(2, 10)})["w"]
    assert ((after == 0).sum(1) == 5).all()


def test_gaussian_noise_has_the_stated_moments():
    zeros = {"w": torch.zeros(2, 50_000)}
    noise = Gaussian(0.3)(zeros, generator=torch.Generator().manual_seed(0))["w"]
    assert noise.mean().abs() < 0.005
    assert noise.std().item() == pytest.approx(0.3, rel=0.01)
    assert (noise[0] * noise[1]).mean().abs() < 0.002, "updates get independent noise"
    assert scipy.stats.kstest(noise.flatten().numpy(), scipy.stats.norm(0, 0.3).cdf).pvalue > 0.01


def test_laplace_noise_has_the_stated_law():
    zeros = {"w": torch.zeros(2, 50_000, dtype=torch.float64)}
    noise = Laplace(0.2)(zeros, generator=torch.Generator().manual_seed(0))["w"]
    assert noise.mean().abs() < 0.003
    assert noise.var().item() == pytest.approx(2 * 0.2**2, rel=0.02)
    assert scipy.stats.kurtosis(noise.flatten().numpy()) == pytest.approx(3, abs=0.2)  # a normal law's is 0
    assert scipy.stats.kstest(noise.flatten().numpy(), scipy.stats.laplace(0, 0.2).cdf).pvalue > 0.01
    assert (noise[0] * noise[1]).mean().abs() < 0.002, "updates get independent noise"
    assert 2 * Laplace().scale ** 2 == pytest.approx(1e-2), "004's variance of 1e-2"


def test_prune_small_takes_the_smallest_of_the_whole_gradient():
    before = grads()
    before["bias"] *= 0.01  # a layer of small gradients loses all it has
    after = PruneSmall(0.2)(before)
    whole = {"before": before, "after": after}
    flat = {k: torch.cat([g.flatten(1) for g in part.values()], 1) for k, part in whole.items()}
    count = int(0.2 * flat["before"].shape[1])
    assert ((flat["after"] == 0).sum(1) == count).all() and not after["bias"].any()
    for row, out in zip(flat["before"], flat["after"], strict=True):
        assert torch.equal(out[out != 0], row[row.abs() > row.abs().sort().values[count - 1]])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_quantisation_levels_and_error(bits):
    before, after = grads()["conv"].flatten(1), Quantize(bits)(grads())["conv"].flatten(1)
    for row, out in zip(before, after, strict=True):
        step = row.abs().max() / (2 ** (bits - 1) - 1)
        assert len(out.unique()) <= 2**bits - 1
        torch.testing.assert_close(out / step, (out / step).round(), rtol=0, atol=1e-4)
        assert (out - row).abs().max() <= step / 2 * (1 + 1e-5)
        assert out.abs().max() == pytest.approx(row.abs().max().item())


def test_quantisation_by_hand():
    given = torch.tensor([[0.0, 1.0, -3.0, 1.6, 0.4]])  # 3 bits: integers -3 to 3, here of step 1
    assert Quantize(3)({"w": given})["w"].tolist() == [[0.0, 1.0, -3.0, 2.0, 0.0]]
    assert Quantize(8)({"w": torch.zeros(2, 3)})["w"].tolist() == [[0.0] * 3] * 2


def norm(grads):
    return torch.cat([g.flatten(1) for g in grads.values()], 1).norm(dim=1)


def test_clipping_gives_the_bound_and_keeps_the_direction():
    after = Clip(4.0)(grads())
    torch.testing.assert_close(norm(after), torch.full((3,), 4.0))
    for n, g in grads().items():
        torch.testing.assert_close(after[n] * norm(grads()).view(-1, *[1] * (g.dim() - 1)) / 4, g)
    short = {n: 0.01 * g for n, g in grads().items()}
    assert all(torch.equal(g, short[n]) for n, g in Clip(4.0)(short).items()), "what is short stays"


def test_clipping_layer_by_layer():
    after = Clip(2.0, per_layer=True)(grads())
    for n, g in grads().items():
        torch.testing.assert_close(norm({n: after[n]}), norm({n: g}).clamp(max=2.0))
    assert (norm({"b": grads()["bias"]}) > 2).any() and (norm(after) > 2).all()


@dataclass(frozen=True)
class Scaled(Defense):
    factor: float = 2.0

    def transform(self, grads, generator):
        return {n: self.factor * g for n, g in grads.items()}


@dataclass(frozen=True)
class Momentum(Defense):
    """Remembers the sum of what it was given."""

    def init(self, grads):
        return {n: torch.zeros_like(g) for n, g in grads.items()}

    def update(self, grads, state, generator):
        total = {n: state[n] + g for n, g in grads.items()}
        return total, total


@dataclass(frozen=True)
class InPlace(Defense):
    """What a defense must not do."""

    how: str = "mul_"

    def transform(self, grads, generator):
        for g in grads.values():
            if self.how == "assigned":
                g[...] = 0.5 * g
            else:
                getattr(g, self.how)(0.5)
        return grads


@pytest.mark.parametrize("how", ["mul_", "add_", "assigned"])
def test_a_defense_that_changes_gradients_in_place_is_refused(how, small):
    message = "changes the gradients that it is given in place, .* return new tensors"
    with pytest.raises(ParameterError, match=message):
        InPlace(how)(grads())
    with pytest.raises(ParameterError, match=message):
        chain(InPlace(how), Clip())(grads())
    model = small("cnn")
    images, labels = torch.rand(2, *model.input_shape), torch.tensor([0, 1])
    with pytest.raises(ParameterError, match=message):
        observe(model, images, labels, defense=InPlace(how), share_perturbed=True)


def test_a_defense_may_replace_entries_of_the_dict_that_it_is_given(small):
    class Replacing(Defense):
        def transform(self, grads, generator):
            for name in grads:
                grads[name] = 0.5 * grads[name]
            return grads

    given = grads()
    assert torch.equal(Replacing()(given)["conv"], 0.5 * given["conv"])
    assert torch.equal(given["conv"], grads()["conv"])
    model = small("cnn")
    images, labels = torch.rand(2, *model.input_shape), torch.tensor([0, 1])
    seen = observe(model, images, labels, defense=Replacing(), share_perturbed=True)
    assert all(torch.equal(told, seen.gradients[n] != 0) for n, told in seen.perturbed.items())


def test_gradients_made_in_inference_mode_are_defended_too():
    with torch.inference_mode():
        given = grads()
        assert torch.equal(Clip(4.0)(given)["conv"], Clip(4.0)(grads())["conv"])


def test_a_chain_keeps_the_order_and_an_empty_one_changes_nothing():
    x = {"w": torch.tensor([[3.0]])}
    clip = Clip(4.0)
    assert chain(Scaled(), clip)(x)["w"].item() == 4
    assert chain(clip, Scaled())(x)["w"].item() == 6
    assert chain()(x)["w"].item() == 3
    assert [str(chain(Scaled(), clip)), str(chain())] == ["scaled() + clip()", "none"]


def test_a_state_is_handed_from_step_to_step():
    x, defense = {"w": torch.tensor([[3.0]])}, chain(Scaled(), Momentum())
    state = defense.init(x)
    first, state = defense.update(x, state, None)
    second, _ = defense.update(x, state, None)
    assert (first["w"].item(), second["w"].item(), defense(x)["w"].item()) == (6, 12, 6)


def test_defenses_are_values():
    assert chain(Scaled(3), chain(None, Laplace(), chain())) != chain(Scaled(3.0), Clip())
    assert chain(chain(Scaled(3)), Clip()) == chain(Scaled(3.0), None, chain(Clip()))
    assert chain(Scaled()) == Scaled() and chain() == chain(None) and not chain() and Scaled()
    assert {DP(): 1}[DP(max_grad_norm=20)] == 1 and Gaussian() != Laplace() != Gaussian(on="update")
    assert str(Gaussian(std=1e-5, on="update")) == 'gaussian(std=1e-5, on="update")'
    assert repr(chain(Clip(1.0), Scaled())) == "Chain(defenses=(Clip(bound=1), Scaled()))"


def test_a_defense_without_a_rule_and_one_of_a_taken_name_are_refused():
    with pytest.raises(NotImplementedError, match="Defense must define transform"):
        Defense()(grads())
    with pytest.raises(ParameterError, match="The package has 'prune_small' already.*name yours other"):
        type("PruneSmall", (Defense,), {"__module__": "mine"})


def test_sparsity_after_noise_but_not_before_it():
    rng = torch.Generator().manual_seed(0)
    sparse = chain(Gaussian(0.1), Compression(0.9))(grads(), generator=rng)["conv"]
    noisy = chain(Compression(0.9), Gaussian(0.1))(grads(), generator=rng)["conv"]
    assert (sparse == 0).float().mean() == pytest.approx(0.9)
    assert (noisy == 0).float().mean() == 0
    sent = [chain(Quantize(8), Compression(0.5)), chain(Compression(0.5), Gaussian()), chain(Compression())]
    assert [defense.value_bits for defense in sent] == [8, 32, None]


def test_what_works_on_examples_comes_first(small):
    first = chain(DP(noise_multiplier=0.0), Compression(0.5))
    assert first.replaces and first.privacy == DP(noise_multiplier=0.0).privacy
    batch, before = batch_of(small("cnn"))
    expected = Compression(0.5)(DP(noise_multiplier=0.0).bind(batch)(before))
    assert all(torch.equal(g, expected[n]) for n, g in first.bind(batch)(before).items())
    with pytest.raises(ParameterError, match=r"dp\(.*anew .* gaussian\(\) before it .*put it first"):
        chain(Gaussian(), first)


def test_a_bound_defense_wants_the_gradients_of_its_batch(small):
    batch, before = batch_of(small("cnn"))
    for name in ("average_noise", "dp", "soteria"):
        with pytest.raises(GradientError, match="bound to a batch of 3 updates, got gradients of 2"):
            DEFENSES[name]().bind(batch)({n: g[:2] for n, g in before.items()})


def test_observe_applies_a_defense_and_names_it():
    model = models.build("cnn", seed=0)
    images, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    plain = observe(model, images, labels)
    defended = observe(model, images, labels, defense=Compression(0.5))
    expected = Compression(0.5)(plain.gradients)
    assert all(torch.equal(defended.gradients[n], expected[n]) for n in expected)
    assert defended.defense == Compression(0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Compression(1.0), r"p must be in \[0, 1\), got 1.0"),
        (lambda: Compression(-0.1), r"got -0.1"),
        (lambda: PruneSmall(2), r"p must be in \[0, 1\), got 2"),
        (lambda: Gaussian(0.0), "standard deviation must be positive and finite, got 0.0"),
        (lambda: Gaussian(float("nan")), "must be positive and finite, got nan"),
        (lambda: Laplace(-1.0), "scale must be positive and finite, got -1.0"),
        (lambda: Quantize(1), "integer from 2 to 16, got 1"),
        (lambda: Quantize(8.0), "bits must be int, got 8.0"),
        (lambda: Clip(0.0), "bound must be positive and finite, got 0.0"),
        (lambda: DP(max_grad_norm=0.0), "max_grad_norm must be positive and finite, got 0.0"),
        (lambda: DP(noise_multiplier=-1.0), "noise_multiplier must be finite and not negative, got -1.0"),
        (lambda: Clip(on="round"), "Unknown place of a defense 'round'. There is: step, update"),
        (lambda: DP(on="update"), 'update of a round has none: leave on at "step"'),
        (lambda: DP(delta=0.0), "delta must be between 0 and 1, got 0.0"),
        (lambda: DEFENSES["average_noise"](0), "draws must be an integer of at least 1, got 0"),
        (lambda: DEFENSES["average_noise"](2.0), "draws must be int, got 2.0"),
        (lambda: DEFENSES["average_noise"](True), "draws must be int, got True"),
        (lambda: DEFENSES["average_noise"](2)(grads()), r"average_noise\(draws=2\) .* call `bind\(batch\)"),
        (lambda: DEFENSES["soteria"](p=1.0), r"p must be in \[0, 1\), got 1.0"),
        (lambda: DEFENSES["pld"](probes=0), "probes must be None or an integer of at least 1, got 0"),
        (lambda: DEFENSES["pld"]()(grads()), r"pld\(\) chooses .* call defense.bind"),
    ],
)
def test_what_defenses_refuse(make, message):
    with pytest.raises((ParameterError, UnknownNameError), match=message):
        make()
