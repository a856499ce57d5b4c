"""Damaged results and weights, whatever the damage: reported, left out, computed again."""

import json
import math
import os
import random
import warnings

import numpy as np
import pytest
from gleak_book import benchmark_rows as benchmarks
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from toy_cells import Toy

from gleak_lib.attacks import ATTACKS
from gleak_lib.errors import StoreError
from gleak_lib.experiments import (
    AttackExperiment,
    Context,
    DamagedResultWarning,
    Store,
    TrainingExperiment,
    run,
)
from gleak_lib.experiments.runner import cost, estimate
from gleak_lib.experiments.specs import trained_weights
from gleak_lib.experiments.store.document import CHECKSUM, checksum
from gleak_lib.federated import Protocol

OTHER = Toy(7.0)
TRAINING = TrainingExperiment("digits", protocol=Protocol(rounds=1), bottlenecks=())
CELL = AttackExperiment(TRAINING, rounds=1, attack=ATTACKS["ig"].replace(max_steps=2), victims=2)
FIGURES = {
    "loss": [0.25, 1.0],
    "steps": [2, 2],
    "trace": {"step": [0, 2], "median": [0.5, None]},
    "scores": {"none": {"ssim": [0.5, 0.75]}},
    "summary": {"none": {"asr": 0.5, "ssim": {"mean": 0.5, "std": None}}},
    "parameters": 7,
}
DATA = {"name": "digits", "images": [1433, 0, 364], "labels": "ab", "mean": [0.1], "std": [0.2]}
PROVENANCE = {"device": "x", "threads": 1, "compile": False, "seconds": 2.0, "data": DATA, "date": "d"}
EXAMPLES = {"truth": np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16), dtype=np.uint8)}


@pytest.fixture
def full(store, monkeypatch):
    """A store with an experiment to be damaged and another one."""
    monkeypatch.setattr(estimate, "folders", lambda store: [store.folder])  # the published results are many
    store.put(CELL, FIGURES, PROVENANCE, EXAMPLES)
    store.put(OTHER, {"square": 49.0}, {})
    return store


def survives(store):
    """Read the store in every way there is; return whether the experiment still counts as done."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = store.get(CELL)
        assert len(list(store.results("attack"))) <= 1
    assert all(issubclass(one.category, DamagedResultWarning) for one in caught)
    assert (got is None) == bool(caught)
    status = store.status([CELL, OTHER])
    assert OTHER in status.done and CELL in (status.done if got else status.damaged)
    machine = cost.Machine("x", 1)
    expected = cost.read([store.folder], machine).seconds(CELL)
    assert expected is None or math.isfinite(expected)
    str(estimate.estimate([CELL], store, Context(store.cache), machine))
    return got is not None


def test_any_changed_byte_of_a_result_is_noticed(full):
    dice, path = random.Random(0), full.path(CELL)
    clean, values = path.read_bytes(), json.loads(path.read_text())
    for _ in range(250):
        content = bytearray(clean)
        content[dice.randrange(len(content))] = dice.randrange(256)
        path.write_bytes(content)
        try:
            same = json.loads(content) == values
        except ValueError:
            same = False
        assert survives(full) == same
    path.write_bytes(clean)
    assert survives(full)


def test_any_changed_byte_of_example_images_is_noticed_or_harmless(full):
    dice = random.Random(1)
    path = next(full.folder.glob("pictures/*.png"))
    clean = path.read_bytes()
    for _ in range(200):
        content = bytearray(clean)
        content[dice.randrange(len(content))] = dice.randrange(256)
        path.write_bytes(content)
        if survives(full):
            np.testing.assert_array_equal(full.get(CELL).examples["truth"], EXAMPLES["truth"])
    for length in range(0, len(clean), 50):
        path.write_bytes(clean[:length])
        if survives(full):  # a few bytes that tell only where a PNG ends
            np.testing.assert_array_equal(full.get(CELL).examples["truth"], EXAMPLES["truth"])
    path.unlink()
    os.mkfifo(path)
    assert not survives(full)


def places(value, at=()):
    """Every place in nested data."""
    yield at
    for key, part in value.items() if isinstance(value, dict) else ():
        yield from places(part, (*at, key))


ODD = [None, True, 0, -3, 1e300, "", "text", [], [[]], {}, {"type": "Toy"}, [None], "nan", float("inf")]


def test_a_field_of_another_type_stops_nothing(full):
    """Where somebody has computed the checksum anew, too."""
    path = full.path(CELL)
    stored = json.loads(path.read_text())
    stored.pop(CHECKSUM)
    for at in places(stored):
        for odd in ODD if at else ():
            changed = json.loads(json.dumps(stored))
            inner = changed
            for key in at[:-1]:
                inner = inner[key]
            inner[at[-1]] = odd
            path.write_text(json.dumps(changed | {CHECKSUM: checksum(changed)}))
            survives(full)


def test_the_checksum_is_of_the_values_not_of_how_they_are_written(full):
    path = full.path(CELL)
    stored = json.loads(path.read_text())
    assert len(stored[CHECKSUM]) == 16
    path.write_text(
        json.dumps(dict(reversed(stored.items())), indent=7).replace("2.0", "2").replace("0.25", "25e-2")
    )
    assert survives(full)
    stored["figures"]["loss"][0] = 0.26
    path.write_text(json.dumps(stored))
    with pytest.warns(DamagedResultWarning, match="was changed after it was stored, its checksum differs"):
        assert full.get(CELL) is None
    stored.pop(CHECKSUM)
    path.write_text(json.dumps(stored))
    with pytest.warns(DamagedResultWarning, match="was changed after it was stored, its checksum differs"):
        assert full.get(CELL) is None


def test_figures_that_are_no_plain_values_are_not_stored(store):
    with pytest.raises(StoreError, match="must be plain numbers, texts, lists and dicts, got set"):
        store.put(CELL, FIGURES | {"loss": {3}}, {})
    assert store.get(CELL) is None


def test_a_damaged_result_is_computed_again(store):
    cells = [Toy(2.0), Toy(3.0)]
    run(cells, store, device="cpu", progress=False)
    store.path(cells[0]).write_text("[" * 10**5)
    with pytest.warns(DamagedResultWarning, match=r"RecursionError.*counts as missing"):
        results = run(cells, store, device="cpu", progress=False)
    assert [one.figures["square"] for one in results] == [4.0, 9.0]
    assert store.get(cells[0]).figures["square"] == 4.0


def spoiled(change):
    """Write the file anew with other metadata and the right checksum of its tensors."""

    def spoil(path):
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata())
        save_file(load_file(path), path, metadata | change)

    return spoil


SPOILED = {
    "nested": spoiled({"cell": "[" * 10**5}),
    "junk bottlenecks": spoiled(
        {"cell": '{"type": "TrainingCell", "dataset": "digits", "bottlenecks": "ab"}'}
    ),
    "no bottlenecks": spoiled({"cell": '{"type": "TrainingCell", "dataset": "digits", "bottlenecks": null}'}),
    "data null": spoiled({"data": "null"}),
    "data a list": spoiled({"data": "[1]"}),
    "data junk": spoiled({"data": '{"images": 3, "mean": "x", "std": {}}'}),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "text": lambda path: path.write_text("<html>"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_spoiled_weights_are_trained_again(store, how):
    context = Context(store.cache)
    model = TRAINING.build(context.dataset("digits"))
    trained_weights.save(TRAINING, model.state_dict(), context)
    path = trained_weights.path_of(TRAINING, context)
    assert trained_weights.load(TRAINING, context, model) is not None
    SPOILED[how](path)
    with pytest.warns(UserWarning, match="is not used, the weights are trained again"):
        assert trained_weights.load(TRAINING, context, model) is None


HOSTILE_ROWS = [
    "[" * 10**5,
    "null",
    '{"rows": [1]}',
    '{"rows": [{"settings": [], "figures": {}, "machine": {"kind": "cpu", "device": [], "threads": 1, '
    '"date": ""}}]}',
    '{"rows": [{"settings": {"method": "engine", "victims": 1e999, "optimizer": "adam", "model": 3}, '
    '"figures": {"ms": "x"}, "machine": {"kind": "cpu", "device": "x", "threads": 1, "date": "d"}}]}',
]


@pytest.mark.parametrize("text", HOSTILE_ROWS)
def test_damaged_benchmarks_are_left_out(tmp_path, text):
    (tmp_path / "benchmarks" / "x").mkdir(parents=True)
    (tmp_path / "benchmarks" / "x" / "throughput.json").write_text(text)
    rows = benchmarks.latest(benchmarks.read(tmp_path / "benchmarks"))
    assert all(isinstance(row.machine["device"], str) for row in rows)
    assert cost.read([tmp_path], cost.Machine("x", 1)).seconds(CELL) is None


def test_a_store_may_be_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file", tmp_path / "cache")
    assert store.get(CELL) is None and store.status([CELL]).missing == (CELL,)
    assert list(store.results("attack")) == []
