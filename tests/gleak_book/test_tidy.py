"""A folder of results that is tidied keeps what chapters show, and every figure."""

import json

import numpy as np
import pytest
from gleak_book import tidy
from toy_cells import Toy

from gleak_lib.attacks import ATTACKS
from gleak_lib.chapters import profiles
from gleak_lib.errors import StoreError
from gleak_lib.experiments import AttackExperiment, Experiment, TrainingExperiment
from gleak_lib.experiments.store import pictures
from gleak_lib.experiments.store.document import CHECKSUM, intact

NOISE = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), np.uint8)
FIGURES = {"a": [1 / 3, None, 2], "b": {"c": "inf", "d": 1e-9}}
CHAPTER = """# %% tags=["parameters"]
profile: str = "quick"

# %%
from gleak_lib.attacks import ATTACKS
from gleak_lib.chapters import open_store
from gleak_lib.experiments import AttackExperiment, TrainingExperiment, run

# %% tags=["experiment"]
from gleak_lib.attacks import ATTACKS
from gleak_lib.experiments import AttackExperiment, TrainingExperiment
trainings = [TrainingExperiment("digits", seed=seed) for seed in SEEDS]
experiments = [AttackExperiment(training, attack=ATTACKS["ig"]) for training in trainings]

# %%
results = run(experiments, open_store(profile))
results[0].images("truth").shape
"""


def _pictures(store):
    return {path.stem for path in (store.folder / pictures.FOLDER).glob("*.png")}


def _name(cell):
    return f"{cell.kind}/{cell.key}"


def _values(path):
    """What a file holds, without the checksum, which earlier versions did not store."""
    return {name: value for name, value in json.loads(path.read_text()).items() if name != CHECKSUM}


def test_a_changed_result_is_not_given_a_new_checksum(filled):
    path = filled.path(Toy(1))
    path.write_text(path.read_text().replace("0.333333", "0.333334"))
    with pytest.raises(StoreError, match=f"{Toy(1).key}.json was changed after it was stored"):
        tidy.keep(filled.folder, set())
    assert not intact(json.loads(path.read_text()))


@pytest.fixture
def filled(store):
    """Three results on the same originals."""
    for number in (1, 2, 3):
        store.put(Toy(number), FIGURES, {}, {"truth": NOISE, "reconstruction": NOISE ^ number})
    return store


def test_only_what_is_shown_keeps_its_pictures(filled):
    before = _values(filled.path(Toy(3)))
    tidy.keep(filled.folder, {_name(Toy(2))})
    assert len(_pictures(filled)) == 2  # the originals, and what was found
    for number in (1, 2, 3):
        result = filled.get(Toy(number))
        assert result.figures["b"]["c"] == float("inf") and result.figures["a"] == [0.333333, None, 2]
        assert (result.examples is None) == (number != 2)
    assert _values(filled.path(Toy(3))) == before | {"examples": {}}
    np.testing.assert_array_equal(filled.get(Toy(2)).examples["reconstruction"], NOISE ^ 2)
    files = {path: path.read_bytes() for path in filled.folder.rglob("*.*")}
    tidy.keep(filled.folder, {_name(Toy(2))})
    assert files == {path: path.read_bytes() for path in filled.folder.rglob("*.*")}
    with pytest.raises(StoreError, match=f"delete toy/{Toy(3).key}.json in the folder of results"):
        filled.get(Toy(3)).images("truth")


def test_nothing_is_taken_out_where_something_shown_is_damaged(filled):
    entry = json.loads(filled.path(Toy(2)).read_text())["examples"]["reconstruction"]
    pictures.file(filled.folder, entry).write_bytes(b"")
    before = {path: path.read_bytes() for path in filled.folder.rglob("*.*")}
    with pytest.raises(StoreError, match="missing or damaged"):
        tidy.keep(filled.folder, {_name(Toy(1)), _name(Toy(2))})
    assert {path: path.read_bytes() for path in filled.folder.rglob("*.*")} == before


@pytest.mark.slow
def test_chapters_say_what_they_show(store, tmp_path, monkeypatch, capsys):
    cells: list[Experiment] = [
        AttackExperiment(TrainingExperiment("digits", seed=seed), attack=ATTACKS["ig"]) for seed in (0, 1)
    ]
    for cell in cells:
        store.put(cell, FIGURES, {}, {"truth": NOISE, "reconstruction": NOISE ^ 1})
    source = tmp_path / "toy.py"
    source.write_text(CHAPTER.replace("SEEDS", "(0, 1)"))
    monkeypatch.setattr(tidy, "sources", lambda folder=None: {"toy": source})
    monkeypatch.setattr(profiles, "load", lambda name, profile: {"profile": profile})
    assert tidy.main([str(store.folder)]) == 0
    assert "toy: shows pictures of 1 results" in capsys.readouterr().out
    assert [store.get(cell).examples is None for cell in cells] == [False, True]
    assert len(_pictures(store)) == 2

    source.write_text(CHAPTER.replace("SEEDS", "(1, 5)"))  # nothing is computed for it
    store.put(cells[1], FIGURES, {}, {"truth": NOISE})
    assert tidy.main([str(store.folder)]) == 1
    told = capsys.readouterr()
    assert "toy: keeps all pictures it might show, of 2 results, since" in told.out
    assert "1 of its 2 experiments are not stored" in told.out
    assert "Run toy and tidy again" in told.err
    assert [store.get(cell).examples is None for cell in cells] == [True, False]


def test_a_folder_that_is_not_there(tmp_path, capsys):
    assert tidy.main([str(tmp_path / "nowhere")]) == 2
    assert "There is no folder" in capsys.readouterr().err
