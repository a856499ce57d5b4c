"""The Marchenko-Pastur law on simulated noise, and the server that takes the noise out of an update."""

import math

import pytest
import scipy.integrate
import torch

from gleak_lib.defenses import SlicePerturbation
from gleak_lib.defenses.spectrum import (
    as_matrix,
    from_matrix,
    marchenko_pastur,
    marchenko_pastur_density,
    spectrum,
    without_noise,
)
from gleak_lib.errors import GradientError, ParameterError
from gleak_lib.federated import Compensation, Protocol, WeightedMean, train


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(rows, columns, variance, seed=0):
    return math.sqrt(variance) * torch.randn(rows, columns, generator=gen(seed), dtype=torch.float64)


def low_rank(rows, columns, rank, size, seed=9):
    left = torch.randn(rows, rank, generator=gen(seed), dtype=torch.float64)
    right = torch.linalg.qr(torch.randn(columns, rank, generator=gen(seed + 1), dtype=torch.float64)).Q
    return size * left @ right.T


@pytest.mark.parametrize("aspect", [1, 2, 6, 20])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_eigenvalues_of_pure_noise_lie_inside(aspect, seed):
    columns = 200
    low, high = marchenko_pastur(0.3, aspect)
    values, vectors = spectrum(noise(aspect * columns, columns, 0.3, seed))
    assert ((values >= low) & (values <= high)).double().mean() >= 0.99
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(columns, dtype=torch.float64))


@pytest.mark.parametrize("aspect", [1, 3, 6])
def test_density_integrates_to_one_and_matches_the_spectrum(aspect):
    low, high = marchenko_pastur(0.5, aspect)
    assert (low, high) == pytest.approx((0.5 * (1 - aspect**-0.5) ** 2, 0.5 * (1 + aspect**-0.5) ** 2))
    density = lambda x: float(marchenko_pastur_density(torch.tensor([x], dtype=torch.float64), 0.5, aspect))  # noqa: E731
    assert scipy.integrate.quad(density, low, high, limit=200)[0] == pytest.approx(1, abs=1e-3)
    middle = (low + high) / 2
    values, _ = spectrum(noise(aspect * 400, 400, 0.5))
    share = scipy.integrate.quad(density, low, middle, limit=200)[0]
    assert float((values < middle).double().mean()) == pytest.approx(share, abs=0.02)
    outside = torch.tensor([low / 2 - 0.01, high * 1.01, 0.0])
    assert marchenko_pastur_density(outside, 0.5, aspect).tolist() == [0, 0, 0]


@pytest.mark.parametrize("participants", [1, 5, 50])
def test_the_aggregated_noise_has_the_derived_variance(participants):
    defense = SlicePerturbation(0.3, 0.04, slices=20, block=8)
    weights = torch.rand(participants, generator=gen(1)) + 0.2
    weights = (weights / weights.sum()).tolist()
    rounds = []
    for seed in range(300):
        rows = defense({"w": torch.zeros(participants, 800)}, generator=gen(seed))["w"]
        rounds.append(WeightedMean().aggregate([{"w": rows}], weights, None)[0]["w"])
    expected = defense.entry_variance * sum(w**2 for w in weights)
    assert torch.stack(rounds).var().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("rank", "seed"), [(1, 0), (5, 1), (20, 2)])
def test_a_planted_signal_is_freed_of_noise(rank, seed):
    signal = low_rank(600, 100, rank, 0.5)
    perturbed = signal + noise(600, 100, 0.01, seed)
    cleaned = without_noise(perturbed, 0.01)
    error, before = (float((part - signal).norm()) for part in (cleaned, perturbed))
    assert error < before
    assert error < 1.3 * before * math.sqrt(rank / 100 + rank / 600), (
        "what is left is noise within the data's space"
    )
    _, vectors = spectrum(perturbed)
    by_hand = perturbed @ vectors[:, -rank:] @ vectors[:, -rank:].T
    torch.testing.assert_close(cleaned, by_hand)


def test_a_variance_that_is_too_small_takes_nothing_away():
    matrix = noise(600, 100, 1.0)
    torch.testing.assert_close(without_noise(matrix, 1e-6), matrix)


def test_matrices_and_updates_are_inverse():
    update = {"a": torch.arange(500.0).view(5, 10, 10), "b": torch.arange(43.0), "c": torch.tensor(7.0)}
    for aspect in (1, 2.5, 6):
        matrix = as_matrix(update, aspect)
        assert matrix.shape[0] / matrix.shape[1] == pytest.approx(aspect, rel=0.15)
        assert 0 <= matrix.numel() - 544 < matrix.shape[1]
        assert not matrix.flatten()[544:].any() and matrix.flatten()[:500].tolist() == list(range(500))
        back = from_matrix(matrix, update)
        assert all(torch.equal(back[n], v) for n, v in update.items())


@pytest.mark.parametrize("participants", [10, 100])
def test_compensation_brings_the_mean_nearer_to_what_it_was(participants):
    truth = low_rank(360, 60, 3, 0.05).float().reshape(1, 60, 360)
    defense = SlicePerturbation(0.2, 0.01, slices=50, block=8)
    rows = {"w": truth.repeat(participants, 1, 1)}
    shared = defense(rows, generator=gen())
    weights = [1 / participants] * participants
    plain, _ = WeightedMean().aggregate([shared], weights, None)
    blocks = [{"w": row[None]} for row in shared["w"]]
    found, state = Compensation(defense.entry_variance, 6).aggregate(iter(blocks), weights, None)
    assert state is None and found["w"].shape == truth.shape[1:] and found["w"].dtype == torch.float32
    assert (found["w"] - truth[0]).norm() < 0.7 * (plain["w"] - truth[0]).norm()


def test_it_runs_in_a_training(images, linear):
    options = {
        "rounds": 2,
        "clients": 4,
        "batch_size": 16,
        "optimizer": "sgd",
        "lr": 0.1,
        "val_fraction": 0.0,
    }
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(36, 12), torch.nn.Tanh(), torch.nn.Linear(12, 3)
    )
    defense = SlicePerturbation(0.5, 1e-3, block=8)
    found = {}
    for aggregation in (WeightedMean(), Compensation(defense.entry_variance, 2)):
        protocol = Protocol(aggregation=aggregation, **options)
        for method in ("loop", "stacked"):
            history = train(model, images, protocol, generator=gen(), defense=defense, method=method)
            assert history.rounds == 2 and all(v.isfinite().all() for v in history.last_state.values())
            found[method, aggregation] = torch.cat([v.flatten() for v in history.last_state.values()])
        torch.testing.assert_close(
            found["loop", aggregation], found["stacked", aggregation]
        )  # same noise, too
    assert len({tuple(v.tolist()) for (method, _), v in found.items() if method == "loop"}) == 2
    with pytest.raises(ParameterError, match="111 entries make a matrix of 4 column"):
        train(linear, images, Protocol(aggregation=Compensation(), **options), generator=gen())
    loud = Protocol(aggregation=Compensation(1e4, 2), **options)
    with pytest.raises(GradientError, match="it has less noise than that"):
        train(model, images, loud, generator=gen(), defense=defense)


BAD = [
    (lambda: Compensation(0.0), ParameterError, "variance must be positive and finite, got 0"),
    (lambda: Compensation(math.nan), ParameterError, "variance must be positive and finite, got nan"),
    (lambda: Compensation(1.0, 0.5), ParameterError, "rows per column, must be at least 1, got 0.5"),
    (lambda: Compensation("loud"), ParameterError, "variance must be float"),  # type: ignore[arg-type]
    (lambda: without_noise(torch.ones(5, 9), 1.0), ParameterError, "must be at least 1, got 0.55"),
    (
        lambda: without_noise(noise(600, 100, 0.01), 1.0),
        GradientError,
        "variance 1 has eigenvalues between 0.35",
    ),
    (lambda: without_noise(math.nan * torch.ones(60, 10), 1.0), GradientError, "has NaN or infinite entries"),
    (lambda: Compensation(1.0).init({"a": torch.ones(80)}), ParameterError, "80 entries make a matrix of 4"),
    (
        lambda: as_matrix({"a": torch.ones(80)}, 2),
        ParameterError,
        "80 entries make a matrix of 6 column.* needs 8",
    ),
]


@pytest.mark.parametrize(("make", "error", "match"), BAD)
def test_what_does_not_fit_the_law(make, error, match):
    with pytest.raises(error, match=match):
        make()
