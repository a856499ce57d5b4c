"""The figures of a training on classes of different sizes."""

import numpy as np
import pytest

from gleak_lib import metrics
from gleak_lib.errors import MissingDependencyError
from gleak_lib.experiments import TrainingExperiment, frame, run, tables
from gleak_lib.federated import Protocol


@pytest.fixture
def hospital(tmp_path, monkeypatch):
    """A user's own archive in MedMNIST's layout: 40 gray images, 3 of 4 of class 0, and 8 test images."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 40), ("test", 8)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 4 == 3).astype(np.uint8).reshape(-1, 1)
    np.savez(tmp_path / "my_hospital.npz", **arrays)
    monkeypatch.setenv("GLEAK_DATA", str(tmp_path))
    return "my_hospital"


def test_a_training_stores_what_a_large_class_cannot_hide(store, hospital):
    cell = TrainingExperiment(hospital, protocol=Protocol(rounds=1, clients=2))
    result = run([cell], store)[0]
    assert result.figures["accuracy"] == 0.75  # one round: everything is class 0
    assert result.figures["balanced_accuracy"] == 0.5
    assert 0 <= result.figures["auc"] <= 1
    table = tables.training_table(frame({"cnn": result}))
    assert table.loc[0, "balanced_accuracy"] == 50


def test_trainings_work_without_scikit_learn(store, hospital, monkeypatch):
    def missing(*_):
        raise MissingDependencyError("scikit-learn is not installed.")

    monkeypatch.setattr(metrics, "balanced_accuracy", missing)
    result = run([TrainingExperiment(hospital, protocol=Protocol(rounds=0, clients=2))], store)[0]
    assert "auc" not in result.figures
    table = tables.training_table(frame({"cnn": result}))
    assert np.isnan(table.loc[0, "auc"]) and np.isnan(table.loc[0, "balanced_accuracy"])
    html = tables.show(table, columns=["label", "auc"]).to_html()
    assert ">–<" in html
