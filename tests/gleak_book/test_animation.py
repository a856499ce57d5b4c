"""Animations show the very steps of `invert`."""

from itertools import pairwise

import pytest
import torch
from gleak_book.kinds import AnimationExperiment
from gleak_book.kinds.animation import shown

from gleak_lib import attacks, datasets
from gleak_lib.attacks import ATTACKS, Given
from gleak_lib.bottlenecks import CVB
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import (
    AttackExperiment,
    Context,
    LabelInferenceExperiment,
    TrainingExperiment,
    from_json,
)
from gleak_lib.experiments.encoding import encode

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
