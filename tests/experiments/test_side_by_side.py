"""Attacks that differ in their weights are one task, and each keeps a result of its own."""

from dataclasses import replace

import pytest

from gleak_lib.attacks import LBFGS, Attack, CombineUpdates
from gleak_lib.bottlenecks import CVB
from gleak_lib.defenses import PruneSmall
from gleak_lib.errors import AttackError, StoreError
from gleak_lib.experiments import AttackExperiment, Context, Store, TrainingExperiment, run
from gleak_lib.experiments.runner.planner import plan
from gleak_lib.experiments.runner.worker import compute
from gleak_lib.experiments.specs import attack as spec
from gleak_lib.experiments.specs.together import side_by_side
from gleak_lib.federated import Protocol

SHORT = Attack("short", priors=()).replace(max_steps=4, lr=0.1)


def weights(seed, init="xavier_normal", **options):
    return TrainingExperiment("digits", "lenet", {"init": init, **options}, seed=seed)


def on(training, **changes):
    seed = training.seed
    return AttackExperiment(
        training, attack=SHORT, victims=1, **{"victim_seed": seed, "seed": seed} | changes
    )


ALIKE = [on(weights(seed, init)) for seed in range(2) for init in ("xavier_normal", "kaiming_uniform")]


def groups(cells, device="cpu"):
    return sorted(len(group) for group in side_by_side(cells, device))


def test_runs_that_differ_in_weights_victims_and_seeds_are_one_task(tmp_path):
    (task,) = plan(ALIKE, Context(tmp_path))
    assert task.experiments == tuple(ALIKE)


@pytest.mark.parametrize(
    "other",
    [
        on(weights(0, activation="relu")),
        replace(ALIKE[0], attack=SHORT.replace(max_steps=5)),
        replace(ALIKE[0], attack=SHORT.replace(optimizer=LBFGS())),
        replace(ALIKE[0], batch_size=2),
        replace(ALIKE[0], defense=PruneSmall(0.2)),
        replace(ALIKE[0], share_labels=False),
        replace(ALIKE[0], mode="eval"),
        replace(ALIKE[0], training=replace(weights(0), dataset="mnist")),
    ],
)
def test_what_differs_otherwise_is_apart(other):
    assert groups([*ALIKE, other]) == [1, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 1},
        {"updates": 2},
        {"cleaning": (CombineUpdates(),)},
        {"attack": SHORT.replace(statistics_weight=0.1)},
        {"batch_size": 3},
    ],
)
def test_each_of_these_runs_alone(change):
    assert groups([replace(cell, **change) for cell in ALIKE]) == [1, 1, 1, 1]


def test_neither_bottlenecks_nor_own_models_are_stacked():
    noisy = [on(replace(weights(seed), bottlenecks=(CVB(1),))) for seed in range(2)]
    own = [on(TrainingExperiment("digits", "nets:small", seed=seed)) for seed in range(2)]
    assert groups([*noisy, *own]) == [1, 1, 1, 1]


def test_a_gpu_takes_larger_runs_and_no_more_than_fit():
    larger = [replace(cell, victims=60) for cell in ALIKE]
    assert groups(larger) == [1, 1, 1, 1]
    assert groups([*larger, replace(on(weights(9)), victims=60)], "cuda") == [1, 4]


def test_together_and_alone_give_the_same_figures(tmp_path):
    context = Context(tmp_path)
    together = compute(ALIKE, context)
    for cell, found in zip(ALIKE, together, strict=True):
        (alone,) = compute([cell], context)
        assert found.provenance["together"] == len(ALIKE) and "together" not in alone.provenance
        for name in ("loss", "steps", "labels", "loss_at_truth", "gradient_distance"):
            assert found.output.figures[name] == pytest.approx(alone.output.figures[name], rel=1e-4, abs=1e-6)
        scores, expected = (o.output.figures["scores"]["none"] for o in (found, alone))
        assert scores["psnr"] == pytest.approx(expected["psnr"], abs=1e-3)


def test_every_cell_is_stored_and_a_failed_one_alone_is_missing(tmp_path, monkeypatch):
    store, scored, calls = Store(tmp_path / "results"), spec.Seen.scored, []

    def failing(self, *found):
        calls.append(self)
        if len(calls) == 2:
            raise AttackError("nothing was found")
        return scored(self, *found)

    monkeypatch.setattr(spec.Seen, "scored", failing)
    with pytest.raises(StoreError, match="1 of 4 experiments failed; the 3 finished ones are stored"):
        run(ALIKE, store, device="cpu", progress=False)
    assert [store.get(cell) is not None for cell in ALIKE] == [True, False, True, True]
    monkeypatch.undo()
    assert len(run(ALIKE, store, device="cpu", progress=False)) == 4


def test_where_they_cannot_run_together_each_says_its_own(tmp_path, monkeypatch):
    def refused(*_given, **_options):
        raise AttackError("not together")

    monkeypatch.setattr(spec.attacks, "invert_together", refused)
    assert all(found.output.figures["loss"] for found in compute(ALIKE, Context(tmp_path)))


def test_trained_weights_are_not_of_one_task(tmp_path):
    cells = [on(replace(weights(seed), protocol=Protocol(rounds=2)), rounds=2) for seed in range(2)]
    assert groups(cells) == [1, 1]
