"""Gradients averaged over draws of the noise, against slow loops."""

import pytest
import torch
from torch.nn import functional as F

from gleak_lib import federated, models
from gleak_lib.attacks import Attack, Given, observe
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.defenses import DP, AverageNoise, Batch, Compression, Gaussian, average, chain
from gleak_lib.errors import ParameterError
from gleak_lib.federated import Protocol
from gleak_lib.gradients import per_victim_gradients, prepare

TWO = (CVB(1, 3), PRECODE(2, 4))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def seen(model, defense, victims=3, batch=2, seed=1, **options):
    images = torch.rand(victims, batch, *model.input_shape, generator=rng()).double()
    labels = torch.arange(victims * batch).reshape(victims, batch) % 3
    found = observe(model, images, labels, defense=defense, generator=rng(seed), share_noise=True, **options)
    return found, images, labels


def drawn(model, count, draws, seed=1):
    """By draw and bottleneck: first the client's own, then the further ones, bottleneck by bottleneck."""
    stream = rng(seed)
    own, *rest = (
        [torch.randn(count, *s, generator=stream, dtype=torch.double) for s in model.noise_shapes],
        *(
            [torch.randn(count, *s, generator=stream, dtype=torch.double) for _ in range(draws - 1)]
            for s in model.noise_shapes
        ),
    )
    return [own, *(list(maps) for maps in zip(*rest, strict=True))]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("draws", [1, 3])
def test_against_autograd_draw_by_draw(small, batch, draws):
    model = small("cnn", bottlenecks=TWO).double()
    found, images, labels = seen(model, AverageNoise(draws), batch=batch)
    every = drawn(model, 3 * batch, draws)
    assert all(torch.equal(a, b) for a, b in zip(every[0], found.noise, strict=True)), "the client's own draw"
    names = [n for n, _ in model.named_parameters()]
    for v in range(3):
        rows = slice(v * batch, (v + 1) * batch)
        total = dict.fromkeys(names, 0)
        for maps in every:
            run = model.run(images[v], [n[rows] for n in maps])
            loss = (F.cross_entropy(run.logits, labels[v], reduction="none") + run.kl).mean()
            grads = torch.autograd.grad(loss, list(model.parameters()))
            total = {n: total[n] + g / draws for n, g in zip(names, grads, strict=True)}
        for n in names:
            torch.testing.assert_close(found.gradients[n][v], total[n], rtol=1e-9, atol=1e-12)


def test_many_draws_have_less_of_the_noise(small):
    """The variance over the draws falls as 1 / draws."""
    model = small("cnn", bottlenecks=CVB(1, 3)).double()
    spread = {}
    for draws in (1, 8):
        many = [seen(model, AverageNoise(draws), 2, 1, seed)[0].gradients for seed in range(24)]
        spread[draws] = sum(torch.stack([g[n] for g in many]).var(0).sum() for n in many[0])
    assert spread[1] / spread[8] == pytest.approx(8, rel=0.3)


def test_a_model_without_bottlenecks_shares_its_own_gradient(small):
    model = small("cnn").double()
    plain, averaged = (seen(model, defense)[0].gradients for defense in (None, AverageNoise(5)))
    assert all(torch.allclose(plain[n], g, rtol=1e-12, atol=1e-14) for n, g in averaged.items())


@pytest.mark.parametrize("rows", [1, 4, 7])
def test_chunks_change_nothing(small, monkeypatch, rows):
    model = small("cnn", bottlenecks=TWO).double()
    whole = seen(model, AverageNoise(3))[0].gradients
    monkeypatch.setattr(average, "ROWS", rows)
    parts = seen(model, AverageNoise(3))[0].gradients
    assert all(torch.allclose(whole[n], g, rtol=1e-12, atol=1e-14) for n, g in parts.items())


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_scaled_noise_is_scaled_in_every_draw(small, scale):
    model = small("cnn", bottlenecks=CVB(1, 3)).double()
    found, images, labels = seen(model, AverageNoise(3), batch=1, noise_scale=scale)
    every = [
        per_victim_gradients(prepare(model, 1), images[:, 0], labels[:, 0], victims=3, noise=[scale * n])[0]
        for (n,) in drawn(model, 3, 3)
    ]
    for n, g in found.gradients.items():
        torch.testing.assert_close(g, sum(e[n] for e in every) / 3, rtol=1e-9, atol=1e-12)


def test_batchnorm_in_training_mode_takes_all_draws_together(small):
    """As the attack that averages over draws does: at the truth nothing is left."""
    model = small("mlp", bottlenecks=PRECODE(1, 3)).double().train()
    found, images, _ = seen(model, AverageNoise(3))
    noise = torch.cat([n.reshape(3, 2, -1) for (n,) in drawn(model, 6, 3)], 1).flatten(0, 1)
    objective = Objective(
        found, Attack().replace(noise=Given(), noise_samples=3, tv=0.0), tuple(found.gradients)
    )
    loss = objective.loss({"image": images}, Problem.of(found, found.labels), (noise,))
    assert loss.abs().max() < 1e-12


def test_it_comes_first_in_a_chain(small):
    model = small("cnn", bottlenecks=CVB(1, 3)).double()
    both = chain(AverageNoise(2), Compression(0.5))
    assert str(both) == "average_noise(draws=2) + compression(p=0.5)"
    assert (
        both.noise_samples,
        both.replaces,
        chain().noise_samples,
        chain(Compression(), Gaussian()).noise_samples,
    ) == (
        2,
        True,
        1,
        1,
    )
    averaged, sparse = (seen(model, defense)[0].gradients for defense in (AverageNoise(2), both))
    expected = Compression(0.5)(averaged)
    assert all(torch.equal(sparse[n], g) for n, g in expected.items())
    with pytest.raises(
        ParameterError,
        match=r"average_noise\(draws=2\) computes .* gaussian\(\) before .* put it first in the chain",
    ):
        chain(Gaussian(), AverageNoise(2))
    with pytest.raises(ParameterError, match="put it first"):
        chain(AverageNoise(2), DP())


def test_the_server_is_not_told_the_batch(small):
    model = small("cnn", bottlenecks=CVB(1, 3)).double()
    defense = AverageNoise(2)
    assert seen(model, defense)[0].defense is defense
    batch = Batch(model, torch.zeros(1, *model.input_shape).double(), torch.tensor([0]))
    assert defense.bind(batch) is not defense


def test_training_with_one_draw_is_training_without_it():
    """The client's own draw comes first; further ones lead elsewhere."""
    start = models.build("lenet", input_shape=(1, 8, 8), num_classes=3, bottlenecks=CVB(1, 3), seed=0)
    images = torch.randint(0, 255, (20, 1, 8, 8), generator=rng()).to(torch.uint8)
    protocol = Protocol(rounds=1, clients=1, batch_size=20, optimizer="sgd", lr=1.0)
    after = {}
    for name, defense in {"plain": None, "one": AverageNoise(1), "three": AverageNoise(3)}.items():
        history = federated.train(
            start, (images, torch.arange(20) % 3), protocol, generator=rng(), defense=defense
        )
        assert defense is None or history.method == "loop"
        after[name] = torch.cat([t.flatten() for t in history.last_state.values()])
    torch.testing.assert_close(after["one"], after["plain"], rtol=1e-4, atol=1e-5)
    assert (after["three"] - after["plain"]).abs().max() > 1e-4
