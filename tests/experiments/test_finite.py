"""Figures that are no numbers are refused before they are stored, and so are attacks that found nothing."""

import math

import numpy as np
import pytest
from toy_cells import Toy

from gleak_lib.attacks import ATTACKS
from gleak_lib.errors import AttackError, StoreError
from gleak_lib.experiments import AttackExperiment, Context, Store, TrainingExperiment, run
from gleak_lib.experiments.specs.finite import require_finite

FRESH = TrainingExperiment("digits", model="lenet")
FAILING = AttackExperiment(FRESH, attack=ATTACKS["ig"].replace(tv=1e308, max_steps=2), victims=2)


@pytest.mark.parametrize(
    ("cell", "figures", "message"),
    [
        (FAILING, {"loss": [0.5, math.nan]}, "gave loss = nan, which is no figure"),
        (FAILING, {"loss": [np.float32(math.inf)]}, "gave loss = inf"),
        (FAILING, {"summary": {"none": {"ssim": {"mean": -math.inf}}}}, "summary.none.ssim.mean = -inf"),
        (FAILING, {"trace": {"min": [math.nan]}}, "trace.min = nan"),
        (FAILING, {"loss_at_truth": [math.inf]}, "loss_at_truth = inf"),
        (FRESH, {"val_loss": [math.nan]}, "val_loss = nan"),
        (Toy(1.0), {"square": math.nan}, "toy 1.0 gave square = nan"),
    ],
)
def test_no_figure_is_nan_or_infinite(tmp_path, cell, figures, message):
    with pytest.raises(StoreError, match=message):
        require_finite(cell, figures)
    with pytest.raises(StoreError, match=message):
        Store(tmp_path).put(cell, figures, {})
    assert not any(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("cell", "figures"),
    [
        (FAILING, {"scores": {"none": {"psnr": [math.inf]}}}),
        (FAILING, {"summary": {"none": {"psnr": {"mean": math.inf, "std": math.nan}}}}),
        (FAILING, {"gradient_distance": [math.nan], "loss": [0.0], "label_accuracy": None}),
        (FRESH, {"train_loss": [math.nan, 0.5], "epsilon": [math.inf], "auc": math.nan, "accuracy": None}),
    ],
)
def test_figures_that_may_be_missing_or_infinite(cell, figures):
    require_finite(cell, figures)


def test_a_cell_with_such_a_figure_fails_and_the_others_are_stored(tmp_path):
    store = Store(tmp_path, tmp_path / "cache")
    with pytest.raises(StoreError, match=r"(?s)1 of 2 experiments failed; .*never finite for 2 of 2"):
        run([FAILING, Toy(2.0)], store, device="cpu", progress=False)
    assert store.get(FAILING) is None and store.get(Toy(2.0)) is not None
    assert "AttackError" in store.failed(FAILING)


def test_a_cell_fails_where_its_attack_fails_for_one_victim(tmp_path, monkeypatch):
    from gleak_lib.attacks import engine

    found = engine._result

    def spoiled(*args):
        result = found(*args)
        result.loss[1] = math.inf
        return result

    monkeypatch.setattr(engine, "_result", spoiled)
    cell = AttackExperiment(FRESH, attack=ATTACKS["ig"].replace(max_steps=2), victims=3)
    with (
        pytest.warns(UserWarning, match="never finite for victim 1 of 3"),
        pytest.raises(AttackError, match="failed for 1 of 3 victims: its loss was never finite there"),
    ):
        cell.run(Context(cache=tmp_path))
