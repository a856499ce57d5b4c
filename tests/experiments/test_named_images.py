"""Cells whose victims or options name images of any split."""

import dataclasses
from dataclasses import dataclass

import pytest
import torch

from gleak_lib import datasets, federated
from gleak_lib.attacks import Attack, Schedule
from gleak_lib.defenses import Defense
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackExperiment, Store, TrainingExperiment, encoding, run
from gleak_lib.federated import Protocol

ROOT = datasets.RootSet("digits")


@dataclass(frozen=True)
class Rooted(Defense):
    """Looks at public images."""

    root: datasets.RootSet = ROOT


@dataclass(frozen=True)
class Trimmed(federated.Aggregator):
    """Leaves out a share of the participants."""

    share: float = 0.1

    def aggregate(self, updates, weights, state):
        raise NotImplementedError


DIGITS = datasets.load("digits")
TRAINING = TrainingExperiment("digits")


def test_victims_of_another_split_and_one_per_class():
    plain = AttackExperiment(TRAINING, victims=10)
    cell = dataclasses.replace(plain, split="test", one_per_class=True)
    images, labels = cell.drawn(DIGITS)
    expected = datasets.victims(DIGITS, 10, 0, split="test", one_per_class=True)
    assert torch.equal(images, expected[0]) and sorted(labels.tolist()) == list(range(10))
    assert len({cell.key, plain.key, dataclasses.replace(cell, one_per_class=False).key}) == 3
    assert dataclasses.replace(cell, split="train", one_per_class=False).key == plain.key
    assert encoding.decode(encoding.encode(cell)) == cell
    assert "10 victims of the split test, one per class" in cell.describe()
    with pytest.raises(ParameterError, match="need 11 classes"):
        dataclasses.replace(cell, victims=11).check(DIGITS)
    with pytest.raises(ParameterError, match="A client holds training images only, got split='test'"):
        dataclasses.replace(cell, client=0)
    with pytest.raises(UnknownNameError, match="Unknown split 'tests'"):
        dataclasses.replace(plain, split="tests")  # type: ignore[arg-type]


@pytest.mark.parametrize(("one_per_class", "kept"), [(True, 10), (False, 8)])
def test_of_one_image_per_class_all_pictures_are_kept(one_per_class, kept, tmp_path):
    cell = AttackExperiment(TRAINING, attack=Attack("one step", schedule=Schedule(max_steps=1)), victims=10)
    cell = dataclasses.replace(cell, one_per_class=one_per_class)
    found = run([cell], Store(tmp_path), progress=False)[cell]
    images, _ = cell.drawn(DIGITS)
    for name in ("truth", "reconstruction"):
        assert found.images(name).shape == (kept, *images.shape[1:])
    torch.testing.assert_close(found.images("truth"), images[:kept], atol=1 / 255, rtol=0)


def test_options_can_name_a_root_set_and_a_protocol_an_aggregator():
    root = datasets.RootSet("digits", 20)
    cell = TrainingExperiment("digits", "cnn", options=(("root", root),))
    assert encoding.decode(encoding.encode(cell)) == cell
    assert (
        cell.key
        != TrainingExperiment("digits", "cnn", options=(("root", datasets.RootSet("digits", 30)),)).key
    )
    spelled = dataclasses.replace(cell, protocol=Protocol(aggregation=federated.WeightedMean()), options=())
    assert spelled.key == TrainingExperiment("digits", "cnn").key
    assert encoding.encode(spelled)["protocol"]["aggregation"] == {"type": "WeightedMean"}


def test_a_users_defense_with_a_root_set_and_aggregator_can_be_stored():
    defense = Rooted(datasets.RootSet("digits", 30), on="update")
    protocol = Protocol(aggregation=Trimmed(0.2))
    cell = TrainingExperiment("digits", protocol=protocol, defense=defense)
    assert encoding.decode(encoding.encode(cell)) == cell
    keys = {dataclasses.replace(cell, protocol=p, defense=d).key
            for p in (protocol, Protocol(), Protocol(aggregation=Trimmed()))
            for d in (defense, Rooted(on="update"), Rooted())}  # fmt: skip
    assert len(keys) == 9
    assert repr(protocol.aggregation) == "Trimmed(share=0.2)"
