"""Rows of the paper with its images prepared as its code does, and stored results that were not."""

import dataclasses

import numpy as np
import pytest
import torch
from gleak_book import beside, beside_report, paper_experiments, paper_rows, source_form
from gleak_book.paper_experiments import Scale

from gleak_lib import datasets, federated
from gleak_lib.attacks import ATTACKS
from gleak_lib.errors import DataError, ParameterError, UnknownNameError
from gleak_lib.experiments import AttackExperiment, Context, Store, TrainingExperiment, paths, run
from gleak_lib.federated import Protocol

DIGITS = datasets.load("digits")
PROTOCOL = Protocol(rounds=2, clients=4, batch_size=512)
TRAINING = TrainingExperiment("digits", protocol=PROTOCOL, seed=3)
ONE_STEP = ATTACKS["ig"].replace(max_steps=1)
WHERE = {"device": "none", "date": "2026-01-01"}


def of_digits(images):
    """Places of images among the training images of the digits."""
    all_images = DIGITS.train.images[:].flatten(1)
    return [(all_images == image.flatten()).all(1).nonzero().flatten().tolist() for image in images]


# what cells can ask for


@pytest.mark.parametrize("rounds", [0, 1])
@pytest.mark.parametrize("validation", ["clients", "split"])
def test_victims_of_a_client_are_images_that_it_trains_on(rounds, validation):
    training = dataclasses.replace(TRAINING, protocol=PROTOCOL.replace(validation=validation))
    cell = AttackExperiment(training, rounds=rounds, victims=30, victim_seed=5, client=0)
    images, labels = cell.drawn(DIGITS)
    generator = torch.Generator().manual_seed(TRAINING.seed)
    clients = federated.clients_of(DIGITS.train.labels, training.protocol, generator=generator)
    trained, kept = set(clients[0].train.tolist()), {i for c in clients for i in c.val.tolist()}
    for places in of_digits(images):
        assert trained & set(places) and not kept & set(places)
    few = dataclasses.replace(cell, victims=7).drawn(DIGITS)
    assert torch.equal(few[0], images[:7]) and torch.equal(few[1], labels[:7])
    other = dataclasses.replace(cell, client=1).drawn(DIGITS)[0]
    assert not torch.equal(other, images)
    anybody = dataclasses.replace(cell, client=None).drawn(DIGITS)[0]
    assert torch.equal(anybody, datasets.victims(DIGITS, 30, 5)[0])


def test_fresh_weights_remember_who_holds_what_only_where_it_matters():
    plain = AttackExperiment(TRAINING, victims=2)
    assert plain.training == TRAINING.at(0)
    of_client = AttackExperiment(TRAINING, victims=2, client=3)
    assert of_client.training.protocol == Protocol(rounds=0, clients=4)
    assert dataclasses.replace(of_client, victims=2) == of_client and of_client.needs is None
    assert dataclasses.replace(of_client, client=None) == plain
    assert "2 victims of client 3" in of_client.describe()


def test_clients_that_there_are_not():
    with pytest.raises(ParameterError, match="client must be below 4, got 4"):
        AttackExperiment(TRAINING, client=4)
    with pytest.raises(ParameterError, match="client must be an integer of at least 0, got -1"):
        AttackExperiment(TRAINING, client=-1)
    few = dataclasses.replace(DIGITS, victims_only=True, name="some_victims")
    with pytest.raises(ParameterError, match="some_victims holds victims of nobody's share"):
        AttackExperiment(TRAINING, client=0).drawn(few)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A folder with a small gray set of 28 x 28 images and a validation split."""
    rng = np.random.default_rng(0)
    arrays = {
        f"{split}_{what}": rng.integers(0, high, (count, *shape), dtype=np.uint8)
        for split, count in (("train", 60), ("val", 12), ("test", 12))
        for what, high, shape in (("images", 256, (28, 28)), ("labels", 3, (1,)))
    }
    np.savez(tmp_path / "own.npz", **arrays)
    without = {name: array for name, array in arrays.items() if not name.startswith("val")}
    np.savez(tmp_path / "bare.npz", **without)
    monkeypatch.setenv("GLEAK_DATA", str(tmp_path))
    return arrays


def test_cells_normalize_and_validate_as_they_are_asked_to(archive, store):
    protocol = Protocol(rounds=1, clients=2, validation="split")
    plain = TrainingExperiment("own", "lenet", protocol=protocol, options=(("activation", "relu"),))
    source = dataclasses.replace(plain, statistics="original")
    held_out = dataclasses.replace(plain, protocol=Protocol(rounds=1, clients=2))
    attack = AttackExperiment(source, rounds=1, attack=ONE_STEP, victims=2, client=1)
    found = run([plain, source, held_out, attack], store, device="cpu", progress=False)
    raw = archive["train_images"] / 255
    for result, std in zip(found, (None, raw.std(), None, raw.std()), strict=True):
        stored = result.provenance["data"]["std"]
        assert (stored[0] == pytest.approx(std, abs=1e-6)) if std else stored[0] < 0.95 * raw.std()
    sizes = [result.figures["client_sizes"] for result in found[:3]]
    assert sizes == [[[30, 0]] * 2, [[30, 0]] * 2, [[27, 3]] * 2]
    assert found[0].figures["val_loss"] != found[1].figures["val_loss"]
    context = Context(store.cache)
    weights = [cell.at(1).trained(context).state_dict() for cell in (plain, source)]
    assert any(not torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))
    assert "own (pixel statistics before resizing, validated on its own split)" in source.describe()
    again = run([plain, attack], store, device="cpu", progress=False)
    assert [r.provenance["date"] for r in again] == [found[0].provenance["date"], found[3].provenance["date"]]


def test_a_set_without_validation_images_cannot_be_validated_on_them(archive, tmp_path):
    cell = TrainingExperiment("bare", "lenet", protocol=Protocol(rounds=1, clients=2, validation="split"))
    with pytest.raises(DataError, match="The validation split has no images. bare has no validation images"):
        cell.run(Context(tmp_path / "weights"))


def test_another_kind_of_statistics_is_refused():
    with pytest.raises(UnknownNameError, match="Unknown kind of pixel statistics 'raw'"):
        TrainingExperiment("digits", statistics="raw")  # type: ignore[arg-type]


# what the paper's rows ask for


@pytest.mark.parametrize(
    ("dataset", "statistics", "validation", "client"),
    [
        ("cifar10", "resized", "clients", None),
        ("mnist", "original", "clients", None),
        ("pneumoniamnist", "original", "split", 0),
        ("retinamnist", "original", "split", 0),
        ("dermamnist", "original", "split", None),
        ("bloodmnist", "original", "split", None),
        ("dermamnist_victims", "resized", "clients", None),
        ("digits", "resized", "clients", None),
    ],
)
def test_rows_take_the_form_of_the_papers_code(dataset, statistics, validation, client):
    row = paper_rows.Row("XII", dataset, "cnn", "ig", "none")
    training, attack = paper_experiments.training(row, Scale(), 1), paper_experiments.attack(row, Scale())
    assert (training.statistics, training.protocol.validation) == (statistics, validation)
    assert (attack.training.statistics, attack.client) == (statistics, client)
    assert source_form.training_remarks(training) == ()
    assert set(source_form.attack_remarks(attack)) <= {source_form.OTHER_VICTIMS}
    other = Scale(as_source=False)
    assert paper_experiments.training(row, other, 1) == TrainingExperiment(dataset, seed=1)
    assert paper_experiments.attack(row, other) == dataclasses.replace(
        attack, training=TrainingExperiment(dataset).at(0), client=None
    )


def test_every_set_of_the_papers_tables_is_known():
    assert {row.dataset for row in paper_rows.read()} == {*source_form.RESIZED, "cifar10"}
    assert {*source_form.RELEASED, *source_form.UNRELEASED} == {*source_form.RESIZED, "cifar10"}


# which stored result stands for a row


def put_attack(store, ssim, training, *, victims=16, steps=2000, **cell):
    column = {"ssim": [ssim] * victims, "psnr": [20.0] * victims, "mse": [0.01] * victims}
    figures = {
        "scores": {"minmax": column, "none": column},
        "loss": [0.1] * victims,
        "steps": [steps] * victims,
        "entries_matched": 1,
        "entries_total": 1,
        "parameters": 1,
    }
    attack = ATTACKS["ig"].replace(max_steps=steps)
    store.put(AttackExperiment(training, attack=attack, victims=victims, **cell), figures, WHERE)


def row_of(store, table, dataset):
    frame = beside_report.table(beside.printed_rows([table]), beside.best_results(store))
    return frame.query("dataset == @dataset and defense == 'none' and attack == 'ig'").iloc[0]


SOURCE = TrainingExperiment("pneumoniamnist", statistics="original", protocol=Protocol(validation="split"))
OLD = TrainingExperiment("pneumoniamnist")


def test_at_one_extent_the_sources_form_comes_first(store):
    put_attack(store, 0.5, OLD, victims=32)
    line = row_of(store, "XII", "pneumoniamnist")
    assert line["ssim"] == pytest.approx(0.5)
    assert line["attack_remark"] == "pixel statistics after resizing, victims from all training images"
    put_attack(store, 0.6, dataclasses.replace(OLD, statistics="original"), victims=32)
    assert row_of(store, "XII", "pneumoniamnist")["attack_remark"] == "victims from all training images"
    put_attack(store, 0.7, SOURCE, victims=16, client=0)
    line = row_of(store, "XII", "pneumoniamnist")
    assert (line["ssim"], line["victims"], line["attack_remark"]) == (pytest.approx(0.7), 16, "")
    put_attack(store, 0.8, SOURCE, victims=8, client=0)  # smaller
    assert row_of(store, "XII", "pneumoniamnist")["ssim"] == pytest.approx(0.7)
    put_attack(store, 0.9, OLD, victims=128, steps=20_000)  # the full protocol but for its images
    line = row_of(store, "XII", "pneumoniamnist")
    assert line["ssim"] == pytest.approx(0.9) and "after resizing" in line["attack_remark"]


def test_the_papers_own_victims_come_before_others(store):
    put_attack(store, 0.5, TrainingExperiment("mnist", statistics="original"), victims=32)
    assert row_of(store, "X", "mnist")["attack_remark"] == source_form.OTHER_VICTIMS
    put_attack(store, 0.6, TrainingExperiment("mnist_victims"), victims=16)
    line = row_of(store, "X", "mnist")
    assert line["ssim"] == pytest.approx(0.6) and line["attack_remark"] == ""


def put_training(store, accuracy, cell, rounds, seed=0):
    figures = {"accuracy": accuracy, "rounds": rounds, "best_round": rounds, "parameters": 1}
    cell = dataclasses.replace(cell, protocol=cell.protocol.replace(rounds=rounds), seed=seed)
    store.put(cell, figures, WHERE)


def test_trainings_of_two_forms_are_never_averaged(store):
    for seed in range(3):
        put_training(store, 0.5, OLD, 40, seed)
    line = row_of(store, "XII", "pneumoniamnist")
    assert line["accuracy"] == pytest.approx(50) and line["seeds"] == 3
    assert line["training_remark"] == "pixel statistics after resizing, 10 % of each client held out"
    put_training(store, 0.7, SOURCE, 40)
    line = row_of(store, "XII", "pneumoniamnist")
    assert (line["accuracy"], line["seeds"], line["training_remark"]) == (pytest.approx(70), 1, "")
    for seed in range(3):
        put_training(store, 0.6, OLD, 300, seed)  # the full protocol in the text's form
    line = row_of(store, "XII", "pneumoniamnist")
    assert line["accuracy"] == pytest.approx(60) and "held out" in line["training_remark"]
    for seed in range(3):
        put_training(store, 0.8, SOURCE, 300, seed)
    line = row_of(store, "XII", "pneumoniamnist")
    assert (line["accuracy"], line["training_remark"]) == (pytest.approx(80), "")


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [  # the configurations of the CVB paper's public code (SPEC §13)
        ("mnist", (0.1307,) * 3, (0.3081,) * 3),
        ("pneumoniamnist", (0.5719,) * 3, (0.1684,) * 3),
        ("retinamnist", (0.3984, 0.2447, 0.1558), (0.2983, 0.2005, 0.1507)),
    ],
)
def test_what_is_published_was_normalized_with_the_numbers_of_the_papers_code(name, mean, std):
    """The images themselves are not at hand everywhere; what a result was computed with is stored with it."""
    stored = Store(paths.root() / "results").results(TrainingExperiment.kind)
    ours = [r for r in stored if r.experiment.dataset == name and r.experiment.statistics == "original"]
    assert len(ours) >= 2
    for result in ours:
        assert [round(v, 4) for v in result.provenance["data"]["mean"]] == list(mean)
        assert [round(v, 4) for v in result.provenance["data"]["std"]] == list(std)
