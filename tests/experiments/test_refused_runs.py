"""Cells that cannot run, disks that take nothing: a run says so before it computes anything."""

import sys
import time

import pytest

from gleak_lib import memory
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import GleakError, MissingDependencyError, ParameterError, StoreError, UnknownNameError
from gleak_lib.experiments import AttackExperiment, Context, Store, TrainingExperiment, atomic, run
from gleak_lib.experiments.runner import estimate
from gleak_lib.experiments.specs.label_inference import LabelInferenceExperiment
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityExperiment
from gleak_lib.federated import Protocol


@pytest.fixture(autouse=True)
def no_published_results(monkeypatch):
    monkeypatch.setattr(estimate, "folders", lambda store: [store.folder])  # to read them all takes time


TRAINING = TrainingExperiment("digits", protocol=Protocol(rounds=1))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda: AttackExperiment(TRAINING, victim_seed=2**32),
            ParameterError,
            "must be .* at most 4294967295",
        ),
        (
            lambda: TrainingExperiment("digits", seed=2**64),
            ParameterError,
            "seed must be an integer and at most",
        ),
        (lambda: TrainingExperiment("digits", seed=10**5000), ParameterError, "thousands of digits"),
        (lambda: TrainingExperiment("digits@99999"), ParameterError, "at most 4096"),
        (lambda: TrainingExperiment("../x"), UnknownNameError, "Unknown dataset '../x'"),
        (lambda: TrainingExperiment(3), UnknownNameError, "Unknown dataset 3"),
        (
            lambda: NoiseSensitivityExperiment(TRAINING, draws=0),
            ParameterError,
            "draws must be an integer of at least 1",
        ),
        (
            lambda: NoiseSensitivityExperiment(TRAINING, victims=-1),
            ParameterError,
            "victims must be an integer of",
        ),
        (
            lambda: LabelInferenceExperiment(TRAINING, victims=2.0),
            ParameterError,
            "victims must be an integer of",
        ),
        (
            lambda: LabelInferenceExperiment(TRAINING, victim_seed=-1),
            ParameterError,
            "victim_seed must be an integer",
        ),
        (lambda: PRECODE(beta=-1), ParameterError, "beta must be finite and not negative, got -1"),
        (lambda: CVB(beta=float("nan")), ParameterError, "beta must be finite and not negative, got nan"),
        (lambda: CVB(scale=float("inf")), ParameterError, "scale must be positive and finite, got inf"),
        (
            lambda: PRECODE(k=10**12).build((3136,)),
            ParameterError,
            "PRECODE with k=1000000000000 behind 3136",
        ),
        (lambda: CVB(kernel_size=10**9 + 1).build((16, 14, 14)), ParameterError, "Training a CVB with"),
    ],
)
def test_cells_and_bottlenecks_refuse(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_a_bottleneck_larger_than_the_memory_is_not_built(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 16 * 10**9)
    with pytest.raises(ParameterError, match=r"behind 3136 features would need 150\.5 GB of memory"):
        PRECODE(k=10**6).build((3136,))


BAD_CELLS = {
    "victims beyond the set": (
        AttackExperiment(TRAINING, victims=10**6),
        ParameterError,
        "digits has 1433 training",
    ),
    "labels beyond the set": (
        LabelInferenceExperiment(TRAINING, victims=720, batch_size=2),
        ParameterError,
        "has 1433 training",
    ),
    "a position too far": (
        TrainingExperiment("digits", bottlenecks=PRECODE(9)),
        ParameterError,
        "asks for position 9",
    ),
    "images too small": (TrainingExperiment("digits@3"), GleakError, "digits@3"),
    "BatchNorm of one image": (
        AttackExperiment(TrainingExperiment("digits", "mlp")),
        GleakError,
        "BatchNorm in training mode sees one",
    ),
    "no such option": (
        TrainingExperiment("digits", options={"wdth": 3}),
        ParameterError,
        "has no option 'wdth'",
    ),
    "another type": (
        AttackExperiment(TRAINING, attack=None),
        ParameterError,
        "attack must be Inversion, got None",
    ),
    "a truth for a number": (
        AttackExperiment(TRAINING, share_labels=1),
        ParameterError,
        "share_labels must be bool, got 1",
    ),
}


@pytest.mark.parametrize("what", BAD_CELLS)
def test_a_cell_that_cannot_run_stops_the_run_before_it_begins(tmp_path, what):
    cell, error, match = BAD_CELLS[what]
    store = Store(tmp_path / "results", tmp_path / "weights")
    with pytest.raises(error, match=match):
        run([TRAINING, cell], store, device="cpu", progress=False)
    assert not list(tmp_path.glob("*/*/*.json")) and not list(tmp_path.glob("weights/*"))


def test_who_computes_is_named_once(tmp_path):
    with pytest.raises(ParameterError, match="one of executor, workers and scheduler"):
        run([TRAINING], Store(tmp_path), workers=2, scheduler="tcp://head:8786", progress=False)


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "2"])
def test_a_number_of_workers_that_is_none(tmp_path, count):
    with pytest.raises(ParameterError, match=f"workers must be a whole number of processes, got {count!r}"):
        run([TRAINING], Store(tmp_path), device="cpu", workers=count, progress=False)


def test_a_scheduler_without_dask_says_which_extra_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"distributed is not installed: .*gleak\[sweeps\]"):
        run([TRAINING], Store(tmp_path), device="cpu", progress=False, scheduler="tcp://head:8786")


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_results_that_cannot_be_written_are_noticed_before_anything_is_computed(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file cannot be written \(File exists\): nothing was computed"):
        run([TRAINING], Store(tmp_path / "file", tmp_path / "weights"), device="cpu", progress=False)
    monkeypatch.setattr(atomic.tempfile, "TemporaryFile", full)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\): nothing was"):
        run([TRAINING], Store(tmp_path / "results", tmp_path / "weights"), device="cpu", progress=False)
    assert not (tmp_path / "weights").exists()


def test_a_disk_that_becomes_full_is_one_sentence_and_leaves_no_temporary_file(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(StoreError, match=r"a\.json cannot be written: No space left on device\."):
        atomic.write_atomically(tmp_path / "a.json", b"content")
    assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_kept_are_not_trained(tmp_path):
    (tmp_path / "weights").write_text("")
    store = Store(tmp_path / "results", tmp_path / "weights")
    cells = [AttackExperiment(TRAINING, rounds=1, victims=1, seed=seed) for seed in range(2)]
    began = time.process_time()
    with pytest.raises(StoreError, match=r"weights cannot be written .*weights have to be kept there"):
        run(cells, store, device="cpu", progress=False)
    with pytest.raises(StoreError, match="trained weights have to be kept there"):
        TRAINING.trained(Context(store.cache))
    assert time.process_time() - began < 30 and not list(tmp_path.glob("results/*/*.json"))


def test_a_folder_in_the_place_of_weights(tmp_path):
    store = Store(tmp_path / "results", tmp_path / "weights")
    (store.cache / f"{TRAINING.at(1).key}.safetensors").mkdir(parents=True)
    with pytest.raises(StoreError, match="safetensors is a folder: remove it"):
        TRAINING.at(1).trained(Context(store.cache))
