"""The chapter "How gradients leak": the experiments that it declares."""

from itertools import pairwise

import pytest
from gleak_book.kinds import AnimationExperiment

from gleak_lib.attacks import ATTACKS, Resample
from gleak_lib.bottlenecks import CVB
from gleak_lib.chapters import experiments
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackExperiment, LabelInferenceExperiment

CHAPTER = {
    "profile": "cpu",
    "dataset": "cifar10",
    "datasets": ["mnist", "cifar10"],
    "victims": 4,
    "steps": 30,
}
CHAPTER |= {"plateau": 7, "lbfgs_steps": 10, "batch_images": 8, "batch_sizes": [1, 2, 4], "batch_steps": 20}
CHAPTER |= {"label_batches": 6, "movie_victims": 6, "frames": 5, "victim_seed": 3}


def declared(kind=AttackExperiment, **changes):
    return [
        cell for cell in experiments("01_how_gradients_leak", CHAPTER | changes) if isinstance(cell, kind)
    ]


def differences(one, other):
    pair = [a.settings | {"labels": a.labels, "kind": a.kind} for a in (one, other)]
    return {n for n in {**pair[0], **pair[1]} if n != "name" and pair[0].get(n) != pair[1].get(n)}


def test_each_rung_of_the_ladder_changes_what_it_says():
    cells = declared()[:8]
    attacks = [cell.attack for cell in cells]
    steps = [differences(a, b) for a, b in pairwise(attacks)]
    assert steps[0] == {"labels"}
    assert steps[1] >= {"labels", "lr", "clip"}
    assert steps[2] == {"label_weight", "label_form", "clip"}
    assert steps[4:] == [{"distance"}, {"signed"}, {"tv"}]
    assert differences(attacks[4], attacks[2]) >= {"kind", "lr"}
    assert not differences(attacks[4], attacks[2]) & {"distance", "label_weight", "clip", "labels", "tv"}
    assert attacks[-1] == ATTACKS["ig"].replace(max_steps=30, drop_after=7)
    assert {a.schedule.max_steps for a in attacks if a.kind == "lbfgs"} == {10}
    assert len({(c.training, c.victims, c.victim_seed, c.seed) for c in cells}) == 1  # the same victims


def test_the_paper_ignores_stochastic_gradients_on_the_cvb_only():
    found = [cell for cell in declared() if cell.victims * cell.batch_size == 4]
    protected = [cell for cell in found if cell.training.bottlenecks]
    assert len(found) == 8 + 2 * (4 + 5) - 3 and len(protected) == 2 * 5  # three are rungs of the ladder, too
    for cell in found:
        specs, attack = cell.training.bottlenecks, cell.attack
        assert specs == ((CVB(1, 5, 0.5, beta=0.1),) if cell in protected else ())
        assert attack.match.layers == ("before-decoder" if specs else "all")
        assert cell.training.statistics == ("original" if cell.training.dataset == "mnist" else "resized")
    assert sum(cell.attack.noise == Resample(each_evaluation=True) for cell in protected) == 4
    assert sum(cell.attack.settings.get("label_form") == "paper-code" for cell in found) == 2 * 2


def test_batches_share_the_same_images():
    found = {cell.batch_size: cell.victims for cell in declared() if cell.victims * cell.batch_size == 8}
    assert found == {1: 8, 2: 4, 4: 2}


def test_labels_are_inferred_by_every_rule_that_takes_the_batch():
    found = declared(LabelInferenceExperiment)
    assert len(found) == 2 * (2 * 3 + 3)
    assert {cell.batch_size for cell in found if cell.rule == "counts"} == {2, 4, 16}
    assert all(cell.rule == "gradinversion" for cell in found if cell.distinct)


def test_the_animation_shows_victims_of_the_ladder():
    (movie,) = declared(AnimationExperiment)
    assert (movie.victims, movie.attack) == (4, declared()[7].attack)  # of the victims, no more


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_sizes": [1, 3]}, r"batch_images=8 cannot be shared in batches of \[3\]"),
        ({"batch_sizes": [0]}, "batch_sizes must be 1 to"),
        ({"frames": 1}, "frames must be 2 to"),
        ({"victims": 0}, "victims must be 1 to"),
    ],
)
def test_what_the_chapter_refuses(changes, message):
    with pytest.raises(ParameterError, match=message):
        declared(**changes)
