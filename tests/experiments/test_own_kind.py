"""A new kind of experiment is one class: it is run, stored, estimated, and checked for damaged figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from gleak_lib.attacks import ATTACKS
from gleak_lib.experiments import (
    AttackExperiment,
    Context,
    DamagedResultWarning,
    Experiment,
    Output,
    TrainingExperiment,
    Work,
    from_json,
    paths,
    run,
    storable,
)
from gleak_lib.experiments.encoding import encode
from gleak_lib.experiments.runner import cost, estimate
from gleak_lib.experiments.runner.cost import Costs, Machine, Measured


@storable
@dataclass(frozen=True)
class Brightness(Experiment):
    """Mean brightness of the first images of a set."""

    kind: ClassVar[str] = "brightness"

    training: TrainingExperiment
    images: int = 4

    @property
    def subject(self) -> TrainingExperiment:
        return self.training

    def describe(self) -> str:
        return f"brightness of {self.images} images of {self.training.dataset}"

    def work(self, images: Mapping[str, int]) -> Work:
        return Work(((self.kind,),), self.images)

    def run(self, context: Context) -> Output:
        pixels, _ = context.dataset(self.training.dataset).train[: self.images]
        each = pixels.flatten(1).mean(1)
        return Output({"mean": float(each.mean()), "each": each.tolist()})


CELL = Brightness(TrainingExperiment("digits"))


def test_it_is_run_stored_and_read_back(store):
    (result,) = run([CELL], store, device="cpu", progress=False)
    assert result.figures["mean"] == pytest.approx(sum(result.figures["each"]) / 4, rel=1e-5)
    assert result.provenance["data"]["name"] == "digits"  # the training's
    (again,) = store.results("brightness")
    assert again.figures == result.figures and again.experiment == from_json(encode(CELL)) == CELL


def test_the_kind_that_the_book_adds(store):
    text = (paths.root() / "book" / "reproduce.md").read_text(encoding="utf-8")
    code = text.partition("## Add a kind of experiment")[2].partition("```python\n")[2].partition("```")[0]
    attacked = AttackExperiment(CELL.training, attack=ATTACKS["ig"].replace(max_steps=1), victims=1)
    written: dict[str, Any] = {"experiments": [attacked], "store": store}
    exec(code, written)
    (result,) = store.results("brightness")
    pixels = attacked.run(Context(store.cache)).examples["reconstruction"]
    assert result.figures["mean"] == pytest.approx(pixels.mean() / 255, rel=1e-5)
    assert isinstance(result.experiment, written["BrightnessExperiment"])


def test_it_is_estimated_by_what_it_says_of_its_work(store):
    machine = Machine("this", 1)
    known = Costs([Measured(CELL.work({}), machine, 2.0)], machine)
    assert known.seconds(Brightness(TrainingExperiment("digits"), images=12)) == pytest.approx(6.0)
    store.put(CELL, {}, {"device": "this", "threads": 1, "compile": False, "data": None, "seconds": 120.0})
    other = Brightness(TrainingExperiment("digits"), images=8)
    assert cost.read([store.folder], machine).seconds(other) == pytest.approx(240.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimate, "folders", lambda store: [store.folder])
        found = estimate.estimate([other], store, Context(store.cache), machine)
    assert str(found) == "about 4 min on this (1 thread)"


def test_it_refuses_what_its_training_refuses(store):
    with pytest.raises(Exception, match="no option 'wdth'"):
        run(
            [Brightness(TrainingExperiment("digits", options={"wdth": 3}))],
            store,
            device="cpu",
            progress=False,
        )  # type: ignore[arg-type]


def test_damaged_figures_are_noticed(store):
    store.put(CELL, {"mean": 0.5}, {})
    path = store.path(CELL)
    path.write_text(path.read_text().replace('"mean": 0.5', '"mean": "high"'))
    with pytest.warns(DamagedResultWarning, match="it was changed after it was stored"):
        assert store.get(CELL) is None
