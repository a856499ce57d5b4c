"""Slice perturbation in stored trainings."""

from gleak_lib import datasets
from gleak_lib.defenses import SlicePerturbation
from gleak_lib.experiments import TrainingExperiment, encoding, run
from gleak_lib.federated import Compensation, Protocol


def test_each_training_has_a_layout_of_its_own(store, monkeypatch):
    seen = []
    prepare = SlicePerturbation.prepare

    def spy(self, model, dataset):
        found = prepare(self, model, dataset)
        seen.append(found.layout)
        return found

    monkeypatch.setattr(SlicePerturbation, "prepare", spy)
    root = datasets.RootSet("digits", 4, seed=1)
    defense = SlicePerturbation(0.3, 1e-6, slices=50, root=root, block=8)
    protocol = Protocol(
        rounds=1, clients=20, clients_per_round=3, optimizer="sgd", val_fraction=0.0, partition="by_class",
        samples_per_class=(1, 2), aggregation=Compensation(defense.entry_variance),
    )  # fmt: skip
    cells = [
        TrainingExperiment("digits", "lenet4", protocol=protocol, defense=defense, seed=seed)
        for seed in (0, 1)
    ]
    assert all(encoding.decode(encoding.encode(cell)) == cell for cell in cells)
    results = run(cells, store, device="cpu", progress=False)
    assert len(results) == 2 and len(seen) == 2 and seen[0] != seen[1] and None not in seen
    for one in results:
        figures = one.figures
        assert len(figures["train_loss"]) == len(figures["test_accuracy"]) == 2
        assert not {"val_loss", "val_accuracy"} & set(figures), "nothing was held out to validate on"
