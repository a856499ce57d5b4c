"""The stored risk of layers is what the defense cuts its slices by."""

import pytest
from gleak_book.kinds import LeakageRiskExperiment

from gleak_lib import datasets
from gleak_lib.defenses import LeakageRisk, SlicePerturbation, slice_layout
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import Context, TrainingExperiment, encoding, run

ROOT = datasets.RootSet("digits", 4, seed=1)
TRAINING = TrainingExperiment("digits", "lenet4")


def test_risks_are_stored_and_give_the_layout(store, tmp_path):
    cell = LeakageRiskExperiment(TRAINING, ROOT)
    (result,) = run([cell], store, device="cpu", progress=False)
    assert encoding.decode(encoding.encode(cell)) == cell
    figures = result.figures
    risk = LeakageRisk(*(tuple(figures[name]) for name in ("layers", "sizes", "risk", "error")))
    assert risk.layers == ("stage1.0", "stage2.0", "stage3.0", "stage4.0", "head.1") and min(risk.values) > 0
    assert cell.rows(figures, "none")["layer"] == list(risk.layers)
    context = Context(tmp_path)
    dataset = context.dataset("digits")
    model = TRAINING.build(dataset).train()
    defense = SlicePerturbation(root=ROOT, slices=20, block=8).prepare(model, dataset)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    assert defense.layout == slice_layout(sizes, 20, risk=risk, block=8)


def test_what_cannot_be_had():
    with pytest.raises(ParameterError, match="norm must be a finite number of at least 1, got 0.5"):
        LeakageRiskExperiment(TRAINING, ROOT, norm=0.5)
    with pytest.raises(ParameterError, match="names images of mnist"):
        LeakageRiskExperiment(TRAINING, datasets.RootSet("mnist")).check(datasets.load("digits"))
