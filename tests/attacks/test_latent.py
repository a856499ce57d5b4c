"""Generative gradient leakage: the latent as the unknown, its priors, and searches without gradients."""

import sys

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from gleak_lib.attacks import (
    ATTACKS,
    CMAES,
    DISTANCES,
    Adam,
    Latent,
    Match,
    NoiseGradient,
    Optimized,
    Schedule,
    TuRBO,
    ggl,
    invert,
    invert_together,
    latent_prior,
    observe,
)
from gleak_lib.attacks.cmaes import Searches, seed_of
from gleak_lib.errors import MissingDependencyError, ParameterError, ShapeError
from gleak_lib.experiments import AttackExperiment, TrainingExperiment
from gleak_lib.experiments.specs.together import side_by_side
from gleak_lib.fresh import fresh
from gleak_lib.generators import DCGAN


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Shades(nn.Module):
    """Class c is c / 4 bright, plus what the latent says."""

    latent_size, classes = 6, 3

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(6, 64)

    def sample(self, z, labels=None):
        return (self.layer(z) / 8 + labels[:, None] / 4 + 0.2).clamp(0, 1).reshape(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def seen():
    """Three victims whose images a generator of classes has made, and those images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(144, 3))
    labels = torch.tensor([2, 0, 1])
    images = Shades().sample(torch.randn(3, 6, generator=rng(3)), labels).detach()
    return observe(model, images, labels, mean=0.4, std=0.3), images


def test_the_priors_are_those_of_the_source():
    z = torch.randn(2, 3, 7, generator=rng(), dtype=torch.double)
    unit = Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    whole = kl_divergence(Normal(z.mean(2), z.std(2)), unit).mean(1)
    torch.testing.assert_close(latent_prior(z, "kl-whole"), whole)
    each = kl_divergence(Normal(z, torch.ones_like(z)), unit).sum(2).mean(1)
    torch.testing.assert_close(latent_prior(z, "kl"), each)
    norm = torch.stack([torch.stack([(row @ row - 7) ** 2 for row in v]).mean() for v in z])
    torch.testing.assert_close(latent_prior(z, "norm"), norm)


def test_they_are_added_to_the_loss(seen):
    attack = ggl(Shades()).replace(max_steps=1)
    with_prior, without = (
        invert(seen[0], attack.replace(latent_weight=w), generator=rng()) for w in (0.3, 0.0)
    )
    start = attack.variables.start(seen[0], torch.Generator().manual_seed(_seed()))["z"]
    torch.testing.assert_close(with_prior.loss - without.loss, 0.3 * latent_prior(start, "kl-whole"))


def _seed():
    return int(torch.randint(2**62, (1,), generator=rng()))


def test_the_preset_is_what_the_source_says():
    attack = ggl(Shades())
    assert attack.match == Match("mean-l2") and attack.priors == () and attack.optimizer == Adam(0.1)
    assert (attack.schedule.max_steps, attack.variables.weight, attack.variables.prior) == (
        2_500,
        0.1,
        "kl-whole",
    )
    dummy = {"a": torch.randn(3, 4, generator=rng()), "b": torch.randn(3, 2, 2, generator=rng(1))}
    observed = {name: torch.ones_like(g) for name, g in dummy.items()}
    by_hand = sum((dummy[n] - observed[n]).flatten(1).square().sum(1) for n in dummy) / 2
    torch.testing.assert_close(DISTANCES["mean-l2"](dummy, observed), by_hand)


@pytest.mark.parametrize("squash", [False, True])
def test_images_are_those_of_the_victims_own_classes_and_latents(seen, squash):
    """Victims stop at different steps, so that the others' rows move up."""
    observation, images = seen
    attack = ggl(Shades()).replace(max_steps=400, latent_weight=0.0, latent_squash=squash)
    attack = attack.replace(schedule=Schedule(400, drop_after=30, stop_after=60))
    last = {}

    def note(step, victims, unknowns, noise):
        last.update({int(v): z for v, z in zip(victims, unknowns["z"], strict=True)})

    found = invert(observation, attack, generator=rng(), callback=note)
    assert len(set(found.steps.tolist())) > 1
    error = (found.images - images).square().flatten(1).mean(1)
    assert (error < 1e-3).all() or squash
    z = torch.stack([last[v] for v in range(3)])[:, 0]
    close = Shades().sample(z.tanh() if squash else z, observation.labels[:, 0])
    assert (close - found.images).abs().max() < 0.1  # the last iterate is near the best


def test_what_the_generator_made_is_recovered():
    """At least 30 dB, without a defense, of latents that the attack does not know."""
    made = fresh(lambda: DCGAN(8, 1, 10, width=4, gray=True), seed=3, what="").eval().requires_grad_(False)
    with torch.no_grad():  # an untrained one is gray all over
        made.layers[-2].weight *= 40
    labels = torch.tensor([4, 7])
    images = made.sample(torch.randn(2, 8, generator=rng(5)), labels).detach()
    assert images.std() > 0.1
    from gleak_lib import models

    observation = observe(models.build("cnn", input_shape=(1, 32, 32), seed=0), images, labels)
    attack = ggl(made).replace(latent_weight=0.0, max_steps=250, restarts=2)
    found = invert(observation, attack, generator=rng())
    psnr = -10 * (found.images - images).square().flatten(1).mean(1).log10()
    assert (psnr >= 30).all(), psnr


def test_soft_labels_count_as_their_likeliest(seen):
    attack = ggl(Shades()).replace(labels=Optimized(), max_steps=3)
    found = invert(seen[0], attack, generator=rng())
    assert found.images.shape == (3, 1, 8, 8) and set(found.labels.tolist()) <= {0, 1, 2}


def test_latents_that_make_no_sense(seen):
    with pytest.raises(
        ParameterError, match="must say its latent_size, an integer of at least 1, got None of"
    ):
        Latent(nn.Linear(2, 2))
    with pytest.raises(ParameterError, match="latent_weight must not be negative, got -1"):
        Latent(Shades(), weight=-1.0)
    small = Shades()
    small.classes = 2
    with pytest.raises(ParameterError, match="told one of 2 classes, and the model has 3"):
        invert(seen[0], ggl(small))
    with pytest.raises(ShapeError, match="makes images"):
        invert(seen[0], ggl(DCGAN(5, width=2).eval()))


def quadratic(target):
    """The loss of rows that stand victim by victim, and how many were asked at once."""
    asked = []

    def evaluate(x, live):
        rows = x["z"].flatten(1)
        asked.append(len(rows))
        each = len(rows) // len(target)
        return (rows - target.repeat_interleave(each, 0)).square().sum(1), {}

    return evaluate, asked


def searched(optimizer, target, start, steps):
    evaluate, asked = quadratic(target)
    x, losses = {"z": start.clone()}, []
    memory = optimizer.init(x, steps)
    for t in range(1, steps + 1):
        x, memory, loss = optimizer.step(x, evaluate, memory, {}, torch.tensor(float(t)))
        losses.append(loss)
    return x["z"], torch.stack(losses), asked


TARGET = torch.tensor([[0.5, -1.0, 0.2, 0.0], [1.0, 1.0, -0.5, 0.3]], dtype=torch.double)
START = torch.zeros(2, 1, 4, dtype=torch.double)
START[1] = 0.1


def test_cma_es_is_that_of_its_library():
    import cma
    import numpy as np

    found, losses, asked = searched(CMAES(lr=0.4, population=8), TARGET, START, 30)
    assert asked == [2] + [16] * 30  # the start, then all victims' populations at once
    for v in range(2):
        start = START[v, 0].numpy()
        stream = np.random.RandomState(seed_of(start))
        options = {"popsize": 8, "verbose": -9, "seed": np.nan, "randn": stream.randn}
        strategy = cma.CMAEvolutionStrategy(start, 0.4, options)
        best = float(((START[v, 0] - TARGET[v]) ** 2).sum())
        for t in range(30):
            assert losses[t, v] == pytest.approx(best, rel=1e-12)
            asked = strategy.ask()
            values = [float(((torch.from_numpy(a) - TARGET[v]) ** 2).sum()) for a in asked]
            strategy.tell(asked, values)
            best = min(best, *values)
    assert (found[:, 0] - TARGET).abs().max() < 0.05
    alone, own, _ = searched(CMAES(lr=0.4, population=8), TARGET[1:], START[1:], 30)
    assert torch.equal(alone[0], found[1]) and torch.equal(own[:, 0], losses[:, 1])


def test_turbo_finds_what_no_initial_point_has():
    optimizer = TuRBO(initial=16, batch=4, candidates=100)
    found, losses, asked = searched(optimizer, TARGET, START, 9)
    assert asked == [2, 32] + [8] * 8
    assert (losses.diff(dim=0) <= 0).all() and (losses[-1] < 0.5 * losses[1]).all()
    assert found.abs().max() <= 2
    again, same, _ = searched(optimizer, TARGET, START, 9)
    assert torch.equal(again, found) and torch.equal(same, losses)


def test_turbo_shrinks_its_region_and_starts_anew():
    from gleak_lib.attacks.turbo import LENGTHS, Region

    region = Region(2, TuRBO(initial=4, batch=2, candidates=10), 0)
    region.ask(), region.tell(torch.zeros(4).double().numpy())
    for _ in range(40):
        points = region.ask()
        assert abs(points).max() <= 2
        region.tell(torch.ones(len(points)).double().numpy())  # nothing better, ever
        if region.known:
            break
    assert region.known == len(region.points) and region.length == LENGTHS[1]
    assert len(region.ask()) == 2  # initial points again, a batch at a time


@pytest.mark.parametrize("optimizer", [CMAES(population=6), TuRBO(initial=8, batch=3, candidates=20)])
def test_searches_attack_all_victims_with_what_a_loss_says(seen, optimizer):
    attack = ggl(Shades()).replace(optimizer=optimizer, max_steps=4)
    found = invert(seen[0], attack, generator=rng())
    assert (found.trace[-1] < found.trace[0]).all() and torch.equal(found.loss, found.trace[-1])
    again = invert(seen[0], attack, generator=rng())
    assert torch.equal(found.images, again.images)
    assert attack.evaluations == 4 * {"cmaes": 6, "turbo": 3}[attack.kind]
    plain = ATTACKS["ig"].replace(optimizer=optimizer, max_steps=2)  # pixels can be searched, too
    assert invert(seen[0], plain, generator=rng()).images.shape == (3, 1, 8, 8)


def test_searches_of_some_victims_are_taken_as_rows_are():
    both = Searches(["a", "b", "c"])
    assert both[torch.tensor([True, False, True])].each == ["a", "c"]
    assert both[torch.tensor([2, 0])].each == ["c", "a"] and both[slice(1, 3)].each == ["b", "c"]


@pytest.mark.parametrize(("package", "optimizer"), [("cma", CMAES()), ("botorch.models", TuRBO(initial=2))])
def test_a_missing_library_names_the_extra(seen, monkeypatch, package, optimizer):
    monkeypatch.setitem(sys.modules, package, None)
    attack = ggl(Shades()).replace(optimizer=optimizer, max_steps=2)
    with pytest.raises(MissingDependencyError, match=r'pip install "gleak\[generative\]"'):
        invert(seen[0], attack)


def test_the_control_holds_nothing_but_a_length(seen):
    observation, _ = seen
    noise = NoiseGradient(1)(observation)
    flat, was = (torch.cat([g.flatten(1) for g in o.gradients.values()], 1) for o in (noise, observation))
    torch.testing.assert_close(flat.norm(dim=1), was.norm(dim=1))
    assert torch.cosine_similarity(flat, was).abs().max() < 0.2
    assert torch.equal(noise.labels, observation.labels)
    assert torch.equal(
        flat, torch.cat([g.flatten(1) for g in NoiseGradient(1)(observation).gradients.values()], 1)
    )
    assert not torch.equal(NoiseGradient(2)(observation).gradients["3.weight"], noise.gradients["3.weight"])
    assert str(NoiseGradient(1)) == "noise_gradient(seed=1)"


def test_searches_do_not_stand_side_by_side(seen):
    attack = ATTACKS["ig"].replace(optimizer=CMAES(population=4), max_steps=2)
    with pytest.raises(ParameterError, match="only by optimizers that take gradients"):
        invert_together([seen[0], seen[0]], attack)
    cells = [
        AttackExperiment(TrainingExperiment("digits"), attack=attack, victims=1, seed=seed) for seed in (0, 1)
    ]
    assert side_by_side(cells, "cpu") == [(cells[0],), (cells[1],)]
