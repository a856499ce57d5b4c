"""How far a reconstruction's gradient is from the observed one, and which attack to believe."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from gleak_lib.attacks import ATTACKS, best, choose, gradient_distance, invert, join, observe
from gleak_lib.bottlenecks import CVB, PRECODE, sample_noise
from gleak_lib.defenses import AverageNoise, Compression
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.types import Reconstruction

JOINT, IG = ATTACKS["joint"], ATTACKS["ig"]
TWO = (CVB(1, 3), PRECODE(2, 3))
MEAN, STD = 0.4, 0.3


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def seen(model, victims=3, batch=1, seed=1, **options):
    images = torch.rand(victims, batch, *model.input_shape, generator=rng(0), dtype=torch.double)
    labels = (torch.arange(victims * batch) % 3).reshape(victims, batch)
    if batch == 1:
        images, labels = images[:, 0], labels[:, 0]
    options = {"mean": MEAN, "std": STD, "share_noise": True} | options
    return observe(model.double(), images, labels, generator=rng(seed), **options), images, labels


def claim(images, labels, noise=None):
    """A reconstruction that says so."""
    none = torch.zeros(len(images))
    return Reconstruction(images, labels, none, none, none, none, noise)


def by_hand(observation, images, labels, noises):
    """1 - cosine of the mean gradient over draws, by a loop over victims and draws with torch.autograd."""
    model, found = observation.model, []
    size = observation.batch_size
    x = ((images - MEAN) / STD).reshape(-1, *observation.input_shape)
    labels = labels.flatten()
    for v in range(observation.victims):
        rows, total = slice(v * size, (v + 1) * size), 0
        for noise in noises:
            run = model.run(x[rows], [n[rows] for n in noise])
            loss = (F.cross_entropy(run.logits, labels[rows], reduction="none") + run.kl).mean()
            total = total + torch.cat(
                [g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]
            )
        seen_ = torch.cat([observation.gradients[n][v].flatten() for n, _ in model.named_parameters()])
        found.append(1 - F.cosine_similarity(total, seen_, dim=0))
    return torch.stack(found)


@pytest.mark.parametrize("batch", [1, 2])
def test_nothing_is_left_at_the_true_images_and_noise(small, batch):
    observation, images, labels = seen(small("cnn", bottlenecks=TWO), batch=batch)
    at_truth = claim(images, labels, observation.noise)
    assert gradient_distance(observation, JOINT, at_truth).abs().max() < 1e-12
    assert gradient_distance(observation, JOINT, claim(1 - images, labels, observation.noise)).min() > 1e-3
    assert gradient_distance(observation, ATTACKS["oracle"], claim(images, labels)).abs().max() < 1e-12


@pytest.mark.parametrize("batch", [1, 3])
def test_a_plain_model_by_hand(small, batch):
    observation, images, labels = seen(small("cnn"), batch=batch, defense=Compression(0.5))
    other = torch.rand(images.shape, generator=rng(5)).double()
    found = gradient_distance(observation, ATTACKS["muted"], claim(other, labels))
    torch.testing.assert_close(found, by_hand(observation, other, labels, [()]))
    assert gradient_distance(observation, IG, claim(images, labels)).min() > 1e-3, "the defense's share"


@pytest.mark.parametrize("name", ["ig", "ignore", "expectation"])
def test_unknown_noise_is_averaged_over_eight_draws(small, name):
    observation, _, labels = seen(small("cnn", bottlenecks=TWO), batch=2)
    other = torch.rand(3, 2, *observation.input_shape, generator=rng(5)).double()
    found = gradient_distance(observation, ATTACKS[name], claim(other, labels))
    like, count = torch.zeros(1).double(), 3 * 2 * 8
    maps = [n.reshape(3, 8, 2, *n.shape[1:]) for n in sample_noise(observation.model, count, like, rng(0))]
    draws = [[m[:, d].flatten(0, 1) for m in maps] for d in range(8)]
    torch.testing.assert_close(found, by_hand(observation, other, labels, draws))


def test_a_stored_preset_of_several_draws_is_taken_as_several(small):
    model = small("cnn", bottlenecks=CVB(1, 3)).double()
    observation, images, labels = seen(model, batch=2, defense=AverageNoise(3))
    stream = rng(1)
    shape = model.noise_shapes[0]
    draws = [torch.randn(6, *shape, generator=stream, dtype=torch.double) for _ in range(3)]
    noise = torch.cat([d.reshape(3, 2, *shape) for d in draws], 1).flatten(0, 1)
    attack = JOINT.replace(noise_samples=3)
    assert gradient_distance(observation, attack, claim(images, labels, (noise,))).abs().max() < 1e-12


def test_of_several_updates_the_mean_counts(small):
    model = small("cnn", bottlenecks=TWO)
    parts = [seen(model, seed=seed) for seed in (1, 2, 3)]
    images, labels = parts[0][1:]
    together = join([part[0] for part in parts])
    noise = tuple(n for part in parts for n in part[0].noise)
    assert gradient_distance(together, JOINT, claim(images, labels, noise)).abs().max() < 1e-12
    other = 1 - images
    single = [gradient_distance(p[0], JOINT, claim(other, labels, p[0].noise)) for p in parts]
    torch.testing.assert_close(
        gradient_distance(together, JOINT, claim(other, labels, noise)), sum(single) / 3
    )
    assert gradient_distance(together, IG, claim(other, labels)).isfinite().all()
    assert gradient_distance(together, ATTACKS["oracle"], claim(images, labels)).abs().max() < 1e-12


@pytest.mark.parametrize("rows", [1, 20])
def test_chunks_change_nothing(small, monkeypatch, rows):
    observation, images, labels = seen(small("cnn", bottlenecks=TWO), batch=2)
    found = claim(1 - images, labels)
    whole = gradient_distance(observation, IG, found)
    monkeypatch.setattr(choose, "ROWS", rows)
    torch.testing.assert_close(gradient_distance(observation, IG, found), whole, rtol=1e-9, atol=1e-12)


def test_soft_labels_count_as_the_likeliest(small):
    observation, _, _ = seen(small("cnn"))
    attack = ATTACKS["dlg"].replace(max_steps=2, inner_steps=3)
    found = invert(observation, attack, generator=rng())
    expected = by_hand(observation, found.images, found.labels, [()])
    torch.testing.assert_close(gradient_distance(observation, attack, found), expected)


def test_closed_forms(small):
    """Exact images explain a plain model's gradient; a bottleneck's noise stays unknown to them."""
    observation, _, _ = seen(small("mlp", width=64).eval())
    found = invert(observation, ATTACKS["analytic"])
    assert gradient_distance(observation, ATTACKS["analytic"], found).abs().max() < 1e-9
    hidden, _, _ = seen(small("mlp", width=64, bottlenecks=PRECODE(2, 3)).eval())
    found = invert(hidden, ATTACKS["analytic"])
    assert gradient_distance(hidden, ATTACKS["analytic"], found).min() > 1e-3


def test_a_closed_form_that_could_not_infer_the_labels(small):
    observation, _, _ = seen(small("mlp").eval(), batch=4, share_labels=False)
    attack = ATTACKS["analytic"].replace(rows="repeated")
    found = dataclasses.replace(invert(observation, attack), labels=torch.full((3, 4), -1))
    assert gradient_distance(observation, attack, found).isnan().all()


def test_the_global_generator_is_left_alone(small):
    observation, images, labels = seen(small("cnn", bottlenecks=TWO))
    before = torch.get_rng_state()
    first, again = (gradient_distance(observation, IG, claim(images, labels)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not first.requires_grad


def test_victims_whose_labels_nobody_knows_have_no_distance(small):
    observation, images, labels = seen(small("cnn"), batch=2)
    labels = labels.clone()
    labels[1, 0] = -1
    found = gradient_distance(observation, IG, claim(images, labels))
    assert found.isnan().tolist() == [False, True, False]
    assert found[[0, 2]].abs().max() < 1e-12


def test_what_it_refuses(small):
    observation, images, labels = seen(small("cnn", bottlenecks=TWO))
    blind = dataclasses.replace(observation, noise=None)
    with pytest.raises(
        ParameterError, match="'oracle' was given the noise, and this observation grants none"
    ):
        gradient_distance(blind, ATTACKS["oracle"], claim(images, labels))


def test_the_best_is_the_nearest():
    nan = torch.nan
    given = [torch.tensor([0.3, nan, 0.5, nan]), torch.tensor([0.2, 0.9, 0.5, nan]).double()]
    assert best(given).tolist() == [1, 1, 0, 0]
    with pytest.raises(ParameterError, match="no attack to choose from"):
        best([])
    with pytest.raises(ShapeError, match=r"same victims, got \[4, 2\]"):
        best([given[0], given[1][:2]])


def test_the_truth_is_chosen_among_others(small):
    observation, images, labels = seen(small("cnn", bottlenecks=TWO))
    true = claim(images, labels, observation.noise)
    mixed = claim(torch.cat([images[:1], 1 - images[1:]]), labels, observation.noise)
    distances = [gradient_distance(observation, JOINT, found) for found in (mixed, true)]
    assert best(distances)[1:].tolist() == [1, 1]
