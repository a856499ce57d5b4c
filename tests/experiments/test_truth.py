"""What the evaluation says beyond the scores, and that attacks are not told what it knows."""

import dataclasses

import numpy as np
import pytest
import torch

from gleak_lib import attacks, datasets, models
from gleak_lib.attacks import ATTACKS, Attack
from gleak_lib.attacks.evaluate import blind, noise_correlation, noise_of
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.defenses import AverageNoise, Compression
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackExperiment, TrainingExperiment, frame, run, tables
from gleak_lib.types import Reconstruction

TRAINING = TrainingExperiment("digits", bottlenecks=(CVB(1, 1), PRECODE(3, 4)))
JOINT = ATTACKS["joint"].replace(max_steps=3)
BUDGETS = {"adam": {"max_steps": 2}, "lbfgs": {"max_steps": 2, "inner_steps": 2}, "closed-form": {}}
PRESETS = {name: a.replace(**BUDGETS[a.kind]) for name, a in ATTACKS.items()}


def cell(attack=JOINT, **options):
    return AttackExperiment(TRAINING, attack=attack, **{"victims": 2, "seed": 3} | options)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_stored_figures_are_those_of_the_functions(store, batch):
    (result,) = run([cell(batch_size=batch)], store, device="cpu", progress=False)
    digits = datasets.load("digits")
    model = models.build("cnn", bottlenecks=TRAINING.bottlenecks, seed=0)
    images, labels = datasets.victims(digits, 2, 0, batch_size=batch)
    generator = torch.Generator().manual_seed(3)
    pixels = {"mean": digits.mean, "std": digits.std, "share_noise": True}
    seen = attacks.observe(model, images, labels, generator=generator, **pixels)
    found = attacks.invert(dataclasses.replace(seen, noise=None), JOINT, generator=generator)
    assert result.figures["loss"] == pytest.approx(found.loss.tolist(), rel=1e-4)
    at_truth = attacks.loss_at_truth(seen, JOINT, images, labels, seen.noise)
    assert result.figures["loss_at_truth"] == pytest.approx(at_truth.tolist(), rel=1e-4)
    if batch == 1:
        pair = [torch.cat([n.flatten(1) for n in noise], 1) for noise in (found.noise, seen.noise)]
        expected = [np.corrcoef(one, other)[0, 1] for one, other in zip(*pair, strict=True)]
        assert result.figures["noise_correlation"] == pytest.approx(expected, rel=1e-3)
    assert len(result.figures["noise_correlation"]) == 2


def test_several_updates_of_the_same_images(store):
    (result,) = run([cell(updates=3)], store, device="cpu", progress=False)
    digits = datasets.load("digits")
    model = models.build("cnn", bottlenecks=TRAINING.bottlenecks, seed=0)
    images, labels = datasets.victims(digits, 2, 0)
    generator = torch.Generator().manual_seed(3)
    pixels = {"mean": digits.mean, "std": digits.std, "share_noise": True}
    updates = [attacks.observe(model, images, labels, generator=generator, **pixels) for _ in range(3)]
    seen = blind(attacks.join(updates))
    assert [one.noise for one in (seen, *seen.later)] == [None] * 3
    found = attacks.invert(seen, JOINT, generator=generator)
    assert result.figures["loss"] == pytest.approx(found.loss.tolist(), rel=1e-4)
    noise = noise_of(attacks.join(updates))
    assert len(noise) == len(found.noise) == 6
    at_truth = attacks.loss_at_truth(seen, JOINT, images, labels, noise)
    assert result.figures["loss_at_truth"] == pytest.approx(at_truth.tolist(), rel=1e-4)
    assert "3 updates each" in result.experiment.describe()


def test_in_a_batch_the_noise_goes_with_the_images():
    images = torch.rand(2, 3, 1, 4, 4)
    noise = (torch.randn(6, 5), torch.randn(6, 2, 2))
    order = torch.tensor([[2, 0, 1], [1, 0, 2]])
    mixed = tuple(
        torch.stack([n.reshape(2, 3, *n.shape[1:])[v, order[v]] for v in range(2)]).flatten(0, 1)
        for n in noise
    )
    shuffled = torch.stack([images[v, order[v]] for v in range(2)])
    empty = torch.zeros(2)
    found = Reconstruction(shuffled, empty, empty, empty, empty, empty, mixed)
    torch.testing.assert_close(noise_correlation(found, images, noise), torch.ones(2).double())
    wrong = dataclasses.replace(found, noise=noise)
    assert noise_correlation(wrong, images, noise).max() < 0.99


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_every_attack_that_takes_steps_has_its_loss_at_the_truth(name, store):
    attack = PRESETS[name]
    training = TRAINING if isinstance(attack, Attack) else TrainingExperiment("digits", "mlp")
    if name == "patches":
        training = TrainingExperiment("digits", "vit")
    one = AttackExperiment(training, attack=attack, victims=2, share_noise=name == "oracle", mode="eval")
    (result,) = run([one], store, device="cpu", progress=False)
    if attack.kind == "closed-form":
        assert "loss_at_truth" not in result.figures
    else:
        assert len(result.figures["loss_at_truth"]) == 2
    assert ("noise_correlation" in result.figures) == (name in ("joint", "layerwise"))


def test_the_attack_is_not_told_what_the_evaluation_knows(store, monkeypatch):
    given = []
    invert = attacks.invert

    def spy(observation, *args, **kwargs):
        given.append(observation)
        return invert(observation, *args, **kwargs)

    monkeypatch.setattr(attacks, "invert", spy)
    run(
        [cell(), cell(ATTACKS["oracle"].replace(max_steps=2), share_noise=True)],
        store,
        device="cpu",
        progress=False,
    )
    by_attack = sorted(given, key=lambda seen: seen.noise is not None)
    assert by_attack[0].noise is None
    assert by_attack[1].noise is not None


AVERAGED = AverageNoise(3)


@pytest.mark.parametrize(
    ("options", "loss", "correlation"),
    [
        ({}, True, True),
        ({"attack": JOINT.replace(noise_samples=3)}, False, False),
        (
            {"attack": JOINT.replace(noise_samples=3, noise_form="z"), "defense": AVERAGED, "batch_size": 2},
            False,
            False,
        ),
        ({"defense": AVERAGED}, False, False),
        ({"defense": (AVERAGED, Compression(0.5))}, False, False),
        ({"defense": AverageNoise(1)}, True, True),
        ({"attack": PRESETS["expectation"], "defense": AVERAGED}, False, False),
        ({"attack": PRESETS["expectation"]}, True, False),
        ({"attack": JOINT.replace(noise_samples=3), "updates": 2}, False, False),
    ],
)
def test_what_nobody_can_compare_is_left_out(store, options, loss, correlation):
    """One recorded draw is no truth for a gradient of several, nor for an attack on several."""
    (result,) = run([cell(**options)], store, device="cpu", progress=False)
    assert ("loss_at_truth" in result.figures) == loss
    assert ("noise_correlation" in result.figures) == correlation
    assert len(result.figures["gradient_distance"]) == 2
    assert np.isfinite(result.figures["gradient_distance"]).all()


def test_without_bottlenecks_there_is_nothing_to_record(store):
    one = AttackExperiment(
        TrainingExperiment("digits"), attack=JOINT.replace(noise_samples=2), victims=2, defense=AVERAGED
    )
    (result,) = run([one], store, device="cpu", progress=False)
    assert len(result.figures["loss_at_truth"]) == 2
    assert "noise_correlation" not in result.figures


def test_the_stored_gradient_distance_is_that_of_the_function(store):
    one = cell(ATTACKS["oracle"].replace(max_steps=2), share_noise=True, noise_scale=0.5)
    (result,) = run([one], store, device="cpu", progress=False)
    digits = datasets.load("digits")
    model = models.build("cnn", bottlenecks=TRAINING.bottlenecks, seed=0)
    images, labels = datasets.victims(digits, 2, 0)
    generator = torch.Generator().manual_seed(3)
    options = {"mean": digits.mean, "std": digits.std, "share_noise": True, "noise_scale": 0.5}
    seen = attacks.observe(model, images, labels, generator=generator, **options)
    found = attacks.invert(seen, one.attack, generator=generator)
    expected = attacks.gradient_distance(seen, one.attack, found)
    assert result.figures["gradient_distance"] == pytest.approx(expected.tolist(), rel=1e-3)
    assert "noise times 0.5" in one.describe()


def test_scales_of_the_noise_in_cells():
    assert cell(noise_scale=1).key == cell().key != cell(noise_scale=0).key == cell(noise_scale=0.0).key
    for scale in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ParameterError, match="noise_scale must be finite and not negative"):
            cell(noise_scale=scale)


def test_keys_of_older_cells_are_what_they_were():
    """Written down before attacks had settings for the noise."""
    assert AttackExperiment(TrainingExperiment("digits")).key == "97f9eb37c212d277"
    assert AttackExperiment(TrainingExperiment("digits"), attack=ATTACKS["ignore"]).key == "07b126cd13806ca3"


def test_keys_of_cells_with_bottlenecks_are_what_they_were():
    """Written down before bottlenecks had a floor under sigma."""
    assert TRAINING.key == "4b118b03e2784f7b"
    assert AttackExperiment(TRAINING).key == "55d2f23faf62b800"
    floored = (CVB(1, 1, sigma_floor=0.0), PRECODE(3, 4, sigma_floor=0))
    assert dataclasses.replace(TRAINING, bottlenecks=floored).key == TRAINING.key
    other = dataclasses.replace(TRAINING, bottlenecks=(CVB(1, 1, sigma_floor=0.3), PRECODE(3, 4)))
    assert other.key != TRAINING.key
    assert "cvb(1, kernel_size=1, sigma_floor=0.3)+" in other.describe()


def test_results_that_are_older_show_gaps(store):
    (result,) = run([cell()], store, device="cpu", progress=False)
    (row,) = tables.attack_table(frame({"joint": result})).to_dict("records")
    assert row["loss_at_truth"] == pytest.approx(np.median(result.figures["loss_at_truth"]))
    assert row["noise_correlation"] == pytest.approx(np.mean(result.figures["noise_correlation"]))
    older = {n: f for n, f in result.figures.items() if n not in ("loss_at_truth", "noise_correlation")}
    (row,) = tables.attack_table(frame({"joint": dataclasses.replace(result, figures=older)})).to_dict(
        "records"
    )
    assert np.isnan(row["loss_at_truth"]) and np.isnan(row["noise_correlation"])
