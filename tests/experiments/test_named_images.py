"""Cells whose victims or options name images of any split."""

import dataclasses

import pytest
import torch

from gleak_lib import datasets, federated
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackCell, TrainingCell, serial
from gleak_lib.federated import Protocol

DIGITS = datasets.load("digits")
TRAINING = TrainingCell("digits")


def test_victims_of_another_split_and_one_per_class():
    plain = AttackCell(TRAINING, victims=10)
    cell = dataclasses.replace(plain, split="test", one_per_class=True)
    images, labels = cell.drawn(DIGITS)
    expected = datasets.victims(DIGITS, 10, 0, split="test", one_per_class=True)
    assert torch.equal(images, expected[0]) and sorted(labels.tolist()) == list(range(10))
    assert len({cell.key, plain.key, dataclasses.replace(cell, one_per_class=False).key}) == 3
    assert dataclasses.replace(cell, split="train", one_per_class=False).key == plain.key
    assert serial.decode(serial.encode(cell)) == cell
    assert "10 victims of the split test, one per class" in cell.describe()
    with pytest.raises(ParameterError, match="need 11 classes"):
        dataclasses.replace(cell, victims=11).check(DIGITS)
    with pytest.raises(ParameterError, match="A client holds training images only, got split='test'"):
        dataclasses.replace(cell, client=0)
    with pytest.raises(UnknownNameError, match="Unknown split 'tests'"):
        dataclasses.replace(plain, split="tests")  # type: ignore[arg-type]


def test_options_can_name_a_root_set_and_a_protocol_an_aggregator():
    root = datasets.RootSet("digits", 20)
    cell = TrainingCell("digits", "cnn", options=(("root", root),))
    assert serial.decode(serial.encode(cell)) == cell
    assert cell.key != TrainingCell("digits", "cnn", options=(("root", datasets.RootSet("digits", 30)),)).key
    spelled = dataclasses.replace(cell, protocol=Protocol(aggregation=federated.WeightedMean()), options=())
    assert spelled.key == TrainingCell("digits", "cnn").key
    assert serial.encode(spelled)["protocol"]["aggregation"] == {"type": "WeightedMean"}
