"""Trainings and attacks on the digits, small: figures against the functions that made them, and weights."""

import dataclasses
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from gleak_lib import attacks, datasets, experiments, federated, metrics, models, plots
from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import CVB
from gleak_lib.defenses import DP, Compression
from gleak_lib.errors import DataError, StoreError, UnknownNameError
from gleak_lib.experiments import AttackExperiment, Context, Store, TrainingExperiment, run
from gleak_lib.experiments.runner.worker import compute
from gleak_lib.experiments.specs import scores, trained_weights

PROTOCOL = federated.Protocol(rounds=2, clients=2, batch_size=512)
TRAINING = TrainingExperiment("digits", bottlenecks=CVB(1, kernel_size=1), protocol=PROTOCOL, seed=1)
IGNORE = ATTACKS["ignore"].replace(max_steps=4)
ATTACK = AttackExperiment(TRAINING, rounds=1, attack=IGNORE, victims=3, seed=2)
FRESH = dataclasses.replace(ATTACK, rounds=0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A store in which the experiments above are done, and the results."""
    store = Store(tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("weights"))
    return store, run([TRAINING, ATTACK, FRESH], store, device="cpu", progress=False)


@pytest.fixture
def trainings(monkeypatch):
    """Count calls of the federated training."""
    calls = []
    train = federated.train_many
    monkeypatch.setattr(federated, "train_many", lambda *a, **k: calls.append(a[2]) or train(*a, **k))
    return calls


def _history(**options):
    digits = datasets.load("digits")
    model = models.build("cnn", bottlenecks=TRAINING.bottlenecks, seed=1)
    generator = torch.Generator().manual_seed(1)
    pixels = {"mean": digits.mean, "std": digits.std}
    return federated.train(
        model, digits.train, PROTOCOL, generator=generator, test=digits.test, **pixels, **options
    )


def test_training_figures(shared):
    history, figures = _history(), shared[1][0].figures
    assert figures["parameters"] == models.count_parameters(history.model)
    assert figures["rounds"] == 2 and figures["best_round"] == history.best_round
    assert figures["accuracy"] == pytest.approx(history.accuracy, rel=1e-5)
    assert figures["val_loss"] == pytest.approx(history.val_loss, rel=1e-5)
    assert figures["train_loss"][0] is None


def test_a_learning_rate_is_stored_where_it_changed(shared):
    assert "lr" not in shared[1][0].figures  # it is the protocol's
    history = _history()
    halved = dataclasses.replace(history, lr=[1e-3, 1e-3, 5e-4])
    assert scores.training(halved, history.model)["lr"] == [1e-3, 1e-3, 5e-4]


def test_seeds_side_by_side_are_the_seeds_alone(tmp_path):
    pair = [dataclasses.replace(TRAINING, seed=s, keep=(s,)) for s in (1, 2)]
    together, alone = (Context(tmp_path / name) for name in ("together", "alone"))
    found = compute(pair, together)
    for cell, one in zip(pair, found, strict=True):
        (other,) = compute([cell], alone)
        assert one.output.figures == other.output.figures
        like = cell.build(datasets.load("digits"))
        for rounds in {cell.seed, 2}:
            states = [trained_weights.load(cell.at(rounds), context, like) for context in (together, alone)]
            torch.testing.assert_close(*states)
    assert not trained_weights.path_of(pair[1].at(1), together).exists()  # asked for by the other seed only
    assert found[0].provenance["seconds"] == pytest.approx(found[1].provenance["seconds"])


def test_training_with_a_defense(store):
    defended = dataclasses.replace(TRAINING, defense=Compression(0.99))
    (result,) = run([defended], store, device="cpu", progress=False)
    history = _history(defense=Compression(0.99))
    assert result.figures["val_loss"] == pytest.approx(history.val_loss, rel=1e-5)
    assert result.figures["val_loss"][2] != pytest.approx(_history().val_loss[2], rel=1e-3)
    trained = defended.at(2).trained(Context(store.cache))
    assert all(torch.equal(value, history.last_state[n]) for n, value in trained.state_dict().items())


def test_private_training_and_an_attack_on_private_gradients(store):
    private = DP(max_grad_norm=1.0, noise_multiplier=0.5)
    training = dataclasses.replace(TRAINING, defense=private)
    attack = AttackExperiment(
        training, rounds=1, attack=IGNORE, victims=2, batch_size=2, defense=(private, Compression())
    )
    trained, attacked = run([training, attack], store, device="cpu", progress=False)
    history = _history(defense=DP(1.0, 0.5))
    assert trained.figures["epsilon"] == pytest.approx(history.epsilon, rel=1e-5)
    assert trained.figures["delta"] == 1e-5 and len(trained.figures["epsilon"]) == 2
    assert len(attacked.figures["loss"]) == 2 and np.isfinite(attacked.figures["loss"]).all()
    (plain,) = run([TRAINING], store, device="cpu", progress=False)
    assert "epsilon" not in plain.figures


@pytest.mark.parametrize("which", [1, 2])
def test_attack_figures(shared, which):
    result = shared[1][which]
    figures, cell, digits = result.figures, result.experiment, datasets.load("digits")
    model = models.build("cnn", bottlenecks=TRAINING.bottlenecks, seed=1)
    if cell.rounds:
        model.load_state_dict(_history(keep=(1,)).snapshots[1])
    images, labels = datasets.victims(digits, 3, 0)
    generator = torch.Generator().manual_seed(2)
    pixels = {"mean": digits.mean, "std": digits.std}
    observation = attacks.observe(model, images, labels, generator=generator, **pixels)
    found = attacks.invert(observation, IGNORE, generator=generator)
    assert figures["loss"] == pytest.approx(found.loss.tolist(), rel=1e-4)
    assert figures["steps"] == [4, 4, 4] and figures["labels"] == labels.tolist()
    for scaling in ("minmax", "none"):
        frame = metrics.score(found, images, scaling=scaling)
        assert figures["scores"][scaling]["ssim"] == pytest.approx(list(frame["ssim"]), rel=1e-4)
        summary = figures["summary"][scaling]
        assert summary["psnr"]["mean"] == pytest.approx(frame["psnr"].mean(), rel=1e-4)
        assert summary["mse"]["std"] == pytest.approx(frame["mse"].std(ddof=0), rel=1e-3)
        assert summary["asr"] == metrics.attack_success_rate(frame)
        table = experiments.frame([result], scaling=scaling)
        assert list(table["ssim"]) == figures["scores"][scaling]["ssim"]
        assert list(table["loss"]) == figures["loss"] and list(table["true_label"]) == figures["labels"]
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    assert figures["entries_total"] == sum(sizes.values())
    matched = [n for n in sizes if n.startswith("stage1") or "encoder" in n]
    assert figures["entries_matched"] == sum(sizes[n] for n in matched)
    np.testing.assert_array_equal(result.examples["truth"], (images * 255).round().to(torch.uint8).numpy())
    assert (result.images("reconstruction") - found.images).abs().max() <= 0.51 / 255


def test_trace_is_what_plots_take(shared):
    steps, losses = shared[1][1].trace()
    assert steps.tolist() == [1, 2, 3, 4] and losses.shape == (4, 5)
    assert (losses.diff(dim=1) >= 0).all()
    plots.traces({"ignore": (steps, losses)})


def test_long_traces_are_thinned_and_keep_stopped_victims():
    count = 1000
    trace = torch.stack([torch.arange(count, 0, -1.0), torch.ones(count)], 1)
    trace[10:, 1] = torch.nan  # a victim that stopped after 10 steps, and keeps its loss
    found = _reconstruction(trace)
    figures = scores.trace(found)
    assert len(figures["step"]) == 40 and figures["step"][0] == 1 and figures["step"][-1] == count
    assert figures["min"] == [1.0] * 40 and figures["max"][0] == count
    assert figures["median"][-1] == 1.0


def _reconstruction(trace):
    from gleak_lib.types import Reconstruction

    nothing = torch.zeros(trace.shape[1])
    return Reconstruction(nothing, nothing, nothing, nothing, trace, torch.arange(1, len(trace) + 1))


def test_same_cell_same_figures(shared, tmp_path):
    _, before = shared
    store = Store(tmp_path / "results", tmp_path / "weights")
    with ThreadPoolExecutor(2) as executor:
        after = run([TRAINING, ATTACK, FRESH], store, device="cpu", executor=executor, progress=False)
    for one, other in zip(before, after, strict=True):
        assert one.figures == other.figures
    np.testing.assert_array_equal(before[1].examples["reconstruction"], after[1].examples["reconstruction"])


def test_one_training_serves_the_table_and_the_attacks(tmp_path, trainings):
    store = Store(tmp_path / "results", tmp_path / "weights")
    other = dataclasses.replace(ATTACK, rounds=2, victims=2)
    run([ATTACK, other, TRAINING], store, device="cpu", progress=False)
    assert trainings == [PROTOCOL]


def test_one_training_for_attacks_alone(tmp_path, trainings):
    store = Store(tmp_path / "results", tmp_path / "weights")
    more = dataclasses.replace(ATTACK, rounds=2, victims=2)
    one, two = run([ATTACK, more], store, device="cpu", progress=False)
    assert [protocol.rounds for protocol in trainings] == [2]
    assert not (store.folder / "training").exists()  # nobody asked for its figures
    assert one.figures["loss"] != two.figures["loss"]
    run([dataclasses.replace(ATTACK, victims=1)], store, device="cpu", progress=False)
    assert len(trainings) == 1  # the weights were kept


def _spoil_bytes(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "damaged"),
        (lambda path: path.write_bytes(b"not a safetensors file"), "damaged"),
        (_spoil_bytes, "its checksum differs"),
    ],
)
def test_damaged_weights_are_trained_again(shared, tmp_path, trainings, spoil, message):
    store, _ = shared
    context = Context(tmp_path)
    source = trained_weights.path_of(TRAINING.at(1), Context(store.cache))
    path = trained_weights.path_of(TRAINING.at(1), context)
    path.write_bytes(source.read_bytes())
    spoil(path)
    with pytest.warns(UserWarning, match=f"not used, the weights are trained again: .*{message}"):
        model = TRAINING.at(1).trained(context)
    assert len(trainings) == 1 and path.stat().st_size == source.stat().st_size
    expected = _history(keep=(1,)).snapshots[1]
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_weights_of_another_training_are_not_used(shared, tmp_path):
    context, kept = Context(tmp_path), Context(shared[0].cache)
    other = dataclasses.replace(TRAINING, seed=5).at(1)
    trained_weights.path_of(other, context).write_bytes(
        trained_weights.path_of(TRAINING.at(1), kept).read_bytes()
    )
    with pytest.warns(UserWarning, match="weights of another training"):
        assert trained_weights.load(other, context, other.build(datasets.load("digits"))) is None


def _archive(folder, seed):
    random = np.random.default_rng(seed)
    arrays = {}
    for split, count in (("train", 40), ("test", 10)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 32, 32), np.uint8)
        arrays[f"{split}_labels"] = np.arange(count).reshape(-1, 1) % 4
    np.savez(folder / "own.npz", **arrays)


def test_other_images_of_the_same_name_are_noticed(tmp_path, store):
    cell = AttackExperiment(
        TrainingExperiment("own", protocol=PROTOCOL), attack=ATTACKS["ig"].replace(max_steps=2), victims=2
    )
    first, second = tmp_path / "first", tmp_path / "second"
    for seed, folder in enumerate((first, second)):
        folder.mkdir()
        _archive(folder, seed)
    (before,) = run([cell], store, device="cpu", data=first, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (same,) = run([cell], store, device="cpu", data=first, progress=False)
        (without,) = run([cell], store, device="cpu", data=tmp_path / "nothing", progress=False)
    assert same.figures == without.figures == before.figures
    with pytest.warns(UserWarning, match="other images named own: computed again"):
        (after,) = run([cell], store, device="cpu", data=second, progress=False)
    assert after.figures != before.figures


def test_early_stop_before_the_round_asked_for(tmp_path, store):
    # Patience 1 at a learning rate that does harm: the training stops, yet weights after 2 rounds exist.
    protocol = PROTOCOL.replace(lr=1.0, patience=1)
    training = dataclasses.replace(TRAINING, protocol=protocol, bottlenecks=())
    attack = AttackExperiment(training, rounds=2, attack=ATTACKS["ig"].replace(max_steps=2), victims=1)
    result, found = run([training, attack], store, device="cpu", progress=False)
    assert result.figures["stopped_early"] and result.figures["rounds"] == 1
    assert found.experiment.training.protocol.patience is None


def test_batches_of_several_images(store):
    cell = AttackExperiment(
        TrainingExperiment("digits"), attack=ATTACKS["ig"].replace(max_steps=2), victims=2, batch_size=3
    )
    (result,) = run([cell], store, device="cpu", progress=False)
    assert len(result.figures["loss"]) == 2 and len(result.figures["scores"]["none"]["ssim"]) == 6
    table = experiments.frame([result])
    assert list(table["victim"]) == [0, 0, 0, 1, 1, 1] and list(table["image"]) == [0, 1, 2] * 2
    assert list(table["loss"]) == [loss for loss in result.figures["loss"] for _ in range(3)]
    assert result.examples["truth"].shape == result.examples["reconstruction"].shape == (6, 3, 32, 32)


def test_label_accuracy_where_labels_are_inferred(store):
    cell = AttackExperiment(
        TrainingExperiment("digits"), attack=ATTACKS["ig"].replace(max_steps=2), victims=3, share_labels=False
    )
    (result,) = run([cell], store, device="cpu", progress=False)
    assert result.figures["label_accuracy"] == 1.0


def test_fresh_weights_are_measured(store):
    cell = TrainingExperiment("digits", protocol=PROTOCOL.replace(rounds=0))
    (result,) = run([cell], store, device="cpu", progress=False)
    assert result.figures["parameters"] == 65_962 and len(result.figures["test_accuracy"]) == 1


def test_victims_only_sets_can_be_attacked_fresh_but_not_trained(store, tmp_path):
    images = np.random.default_rng(0).random((4, 3, 32, 32))
    np.savez(tmp_path / "few.npz", images=images, labels=np.arange(4))
    attack = AttackExperiment(TrainingExperiment("few"), attack=ATTACKS["ig"].replace(max_steps=2), victims=2)
    fresh = TrainingExperiment("few", protocol=PROTOCOL.replace(rounds=0))
    results = run([attack, fresh], store, device="cpu", data=tmp_path, progress=False)
    assert results[1].figures["accuracy"] is None
    with pytest.raises(DataError, match=r"few holds 4 victims only.*Nothing was computed"):
        run(
            [TrainingExperiment("few", protocol=PROTOCOL)], store, device="cpu", data=tmp_path, progress=False
        )


@pytest.mark.parametrize(
    ("cell", "error", "message"),
    [
        (TrainingExperiment("digist", protocol=PROTOCOL), UnknownNameError, "Did you mean 'digits'"),
        (TrainingExperiment("cifar10", protocol=PROTOCOL), DataError, "looked for"),
        (TrainingExperiment("digits", "cnm", protocol=PROTOCOL), UnknownNameError, "Did you mean 'cnn'"),
    ],
)
def test_bad_names_are_explained(cell, error, message, store, tmp_path):
    with pytest.raises((StoreError, error), match=message) as caught:
        run([cell], store, device="cpu", data=tmp_path, progress=False)
    assert isinstance(caught.value, error) or isinstance(caught.value.__cause__, error)
