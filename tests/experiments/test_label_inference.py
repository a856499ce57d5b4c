"""Labels that experiments infer agree with a count by hand."""

import pytest

from gleak_lib import datasets
from gleak_lib.attacks import ATTACKS
from gleak_lib.errors import UnknownNameError
from gleak_lib.experiments import (
    AttackExperiment,
    Context,
    LabelInferenceExperiment,
    TrainingExperiment,
    from_json,
)
from gleak_lib.experiments.encoding import encode


@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_labels_found_are_as_many_as_there_are_classes(tmp_path, batch_size, distinct):
    training = TrainingExperiment("digits")
    cell = LabelInferenceExperiment(
        training, victims=8, batch_size=batch_size, distinct=distinct, victim_seed=1
    )
    assert from_json(encode(cell)) == cell
    figures = cell.run(Context(tmp_path)).figures
    _, labels = datasets.victims(
        datasets.load("digits"), 8, 1, batch_size=batch_size, distinct_labels=distinct
    )
    classes = [len(row.unique()) for row in labels.reshape(8, batch_size)]
    assert figures["classes"] == classes
    if distinct:
        assert classes == [batch_size] * 8
    # the rule names each class once, so it finds no more labels than there are classes
    assert all(a <= c / batch_size + 1e-9 for a, c in zip(figures["accuracy"], classes, strict=True))
    if batch_size == 1:
        assert figures["accuracy"] == [1.0] * 8


@pytest.mark.parametrize("batch_size", [4, 25])
def test_labels_found_by_counts_whatever_the_batch(tmp_path, batch_size):
    cell = LabelInferenceExperiment(
        TrainingExperiment("digits"), victims=8, batch_size=batch_size, victim_seed=1, rule="counts"
    )
    assert from_json(encode(cell)) == cell
    assert "by counts" in cell.describe()
    figures = cell.run(Context(tmp_path)).figures
    assert min(figures["classes"]) < batch_size, "labels repeat"
    assert sum(figures["accuracy"]) / 8 > 0.98
    with pytest.raises(UnknownNameError, match="label rule 'count'. Did you mean 'counts'"):
        LabelInferenceExperiment(TrainingExperiment("digits"), rule="count")


def test_an_attack_stores_how_many_labels_of_a_large_batch_it_inferred(tmp_path):
    attack = ATTACKS["ig"].replace(max_steps=1)
    cell = AttackExperiment(
        TrainingExperiment("digits"),
        attack=attack,
        victims=2,
        batch_size=12,
        share_labels=False,
        victim_seed=1,
    )
    assert cell.run(Context(tmp_path)).figures["label_accuracy"] > 0.98
