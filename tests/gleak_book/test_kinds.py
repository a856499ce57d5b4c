"""The book's own kinds: counted, estimated, read by whoever imports them, and named to whoever does not."""

import subprocess
import sys
from collections import Counter

import pytest
from gleak_book.kinds import AnimationExperiment, ClassCountsExperiment, GradientTracksExperiment

from gleak_lib import datasets
from gleak_lib.attacks import ATTACKS
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackExperiment, TrainingExperiment, run
from gleak_lib.experiments.runner.cost import Costs, Machine, Measured

TRAINING = TrainingExperiment("digits")
IG = ATTACKS["ig"].replace(max_steps=10, stop_after=0, stop_below=0)


def test_images_are_counted_by_class_and_split(store):
    (result,) = run([ClassCountsExperiment("digits")], store, device="cpu", progress=False)
    digits = datasets.load("digits")
    for name in ("train", "val", "test"):
        counted = Counter(getattr(digits, name).labels.tolist())
        assert result.figures["counts"][name] == [counted[label] for label in range(10)]
    assert (result.figures["num_classes"], result.figures["victims_only"]) == (10, False)


def test_what_they_cost():
    assert AnimationExperiment(TRAINING, attack=IG, victims=2).work({}).size == 20
    assert ClassCountsExperiment("digits").work({}).size == 1
    cell, machine = GradientTracksExperiment(AttackExperiment(TRAINING, 0, IG), tail=2), Machine("this", 2)
    attacked, watched = (Measured(one.work({}), machine, s) for one, s in ((cell.attacked, 6), (cell, 7)))
    assert Costs([attacked], machine).seconds(cell) == pytest.approx(6)
    assert Costs([attacked, watched], machine).seconds(cell) == pytest.approx(7)


def test_what_they_refuse():
    with pytest.raises(ParameterError, match="victim_seed must be an integer of at least 0, got -1"):
        AnimationExperiment(TRAINING, victim_seed=-1)


READ = """
import sys, warnings
from gleak_lib.experiments import Store
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print(len(list(Store(sys.argv[1]).results("census"))), *(warning.message for warning in said))
import gleak_book.kinds
print(len(Store(sys.argv[1]).frame("census")))
"""


def test_another_process_computes_them_and_reads_them_once_they_are_imported(store):
    run([ClassCountsExperiment("digits")], store, device="cpu", progress=False, workers=1)
    command = [sys.executable, "-c", READ, str(store.folder)]
    before, after = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert before.startswith("0 ") and before.endswith(
        "There is no storable class 'CensusCell': import the module that defines it first "
        "(kinds that only chapters of the book run are in gleak_book.kinds). It is left out."
    )
    assert "damaged" not in before and after == "1"
