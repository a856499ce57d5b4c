"""Movies show the very steps of `invert`; label experiments agree with a count by hand."""

from itertools import pairwise

import pytest
import torch

from gleak_lib import attacks, datasets
from gleak_lib.attacks import ATTACKS, Given
from gleak_lib.bottlenecks import CVB
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import encode
from gleak_lib.experiments.specs.animation import AnimationExperiment, shown
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import from_json
from gleak_lib.experiments.specs.label_inference import LabelInferenceExperiment
from gleak_lib.experiments.specs.training import TrainingExperiment

ATTACK = ATTACKS["ig"].replace(max_steps=6)


@pytest.mark.parametrize("bottlenecks", [(), (CVB(1),)])
def test_a_movie_has_the_losses_of_invert(tmp_path, bottlenecks):
    training = TrainingExperiment("digits", bottlenecks=bottlenecks, seed=2)
    cell = AnimationExperiment(training, attack=ATTACK, victims=2, frames=20, seed=5)
    assert from_json(encode(cell)) == cell
    output = cell.run(Context(tmp_path))
    assert output.figures["steps"] == list(range(7))
    dataset = datasets.load("digits")
    images, labels = datasets.victims(dataset, 2, 0)
    generator = torch.Generator().manual_seed(5)
    model = training.build(dataset).train()
    seen = attacks.observe(model, images, labels, generator=generator, mean=dataset.mean, std=dataset.std)
    found = attacks.invert(seen, ATTACK, generator=generator)
    torch.testing.assert_close(torch.tensor(output.figures["loss"][:6]), found.trace)
    frames = torch.from_numpy(output.examples["frames"]).unflatten(0, (7, 2))
    expected = (found.images * 255).round().to(torch.uint8)
    for victim, step in enumerate(found.trace.argmin(0).tolist()):  # the best iterate is one of the frames
        difference = frames[step, victim].int() - expected[victim].int()
        assert int(difference.abs().max()) <= 1
    assert output.examples["truth"].shape == (2, *dataset.input_shape)


def test_frames_lie_closer_at_the_beginning():
    steps = shown(3000, 30)
    assert (steps[0], steps[-1]) == (0, 3000)
    assert len(steps) <= 30
    gaps = [b - a for a, b in pairwise(steps)]
    assert all(later >= earlier - 1 for earlier, later in pairwise(gaps))  # whole steps are rounded
    assert gaps[-1] > 100 * gaps[0]
    assert shown(1, 30) == [0, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"victims": 9}, "A movie shows 1 to 8 victims, got 9"),
        ({"frames": 101}, "A movie has 2 to 100 frames, got 101"),
        ({"attack": ATTACKS["dlg"]}, r"labels=Known\(\)"),
        ({"attack": ATTACK.replace(restarts=2)}, "restarts=1"),
        ({"attack": ATTACK.replace(noise=Given())}, r"noise=Resample\(\)"),
        ({"attack": ATTACKS["analytic"]}, "a closed form has none"),
    ],
)
def test_what_a_movie_refuses(values, message):
    with pytest.raises(ParameterError, match=message):
        AnimationExperiment(TrainingExperiment("digits"), **values)


def test_rounds_do_not_change_the_attacked_weights_twice():
    training = TrainingExperiment("digits")
    assert (
        AnimationExperiment(training).training
        == AttackExperiment(training).training
        == LabelInferenceExperiment(training).training
    )
    assert AnimationExperiment(training).needs is None


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
