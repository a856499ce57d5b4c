"""What is stored, and what is not believed."""

import json
import os
import threading
import warnings

import numpy as np
import pytest
from toy_cells import Toy

from gleak_lib.chapters import open_store
from gleak_lib.errors import StoreError, UnknownNameError
from gleak_lib.experiments import DamagedResultWarning, Store, paths
from gleak_lib.experiments.store import pictures
from gleak_lib.experiments.store.document import rounded

CELL = Toy(2.5)
FIGURES = {
    "b": 1 / 3,
    "a": [1e-9 / 7, float("nan"), float("-inf"), 2],
    "c": {"d": [[1, 2], [3, 4]], "e": "text"},
}
EXAMPLES = {"truth": np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)}


def test_what_was_put_is_got(store):
    assert store.get(CELL) is None
    put = store.put(CELL, FIGURES, {"seconds": 0.5}, EXAMPLES)
    got = store.get(CELL)
    assert got.experiment == CELL and got.figures == put.figures and got.provenance == {"seconds": 0.5}
    assert got.figures["a"][1] is None and got.figures["a"][2:] == [float("-inf"), 2]
    assert got.figures["c"] == FIGURES["c"]
    np.testing.assert_array_equal(got.examples["truth"], EXAMPLES["truth"])
    assert got.images("truth").max() == 11 / 255
    with pytest.raises(StoreError, match="keeps no images named 'color'"):
        got.images("color")


def test_files_can_be_compared_line_by_line(store):
    store.put(CELL, FIGURES, {})
    text = store.path(CELL).read_text()
    assert json.loads(text)["figures"]["b"] == 0.333333
    assert '"a": [ 1.42857e-10, null, "-inf", 2 ]' in " ".join(text.split())
    assert "[1,2],\n" in text and text.endswith("}\n")
    keys = list(json.loads(text))
    assert keys == sorted(keys)


def test_rounding_is_stable_and_refuses_what_is_no_figure():
    assert rounded(rounded(1 / 3)) == rounded(1 / 3) == 0.333333
    assert rounded({1: (np.float32(0.1), np.int64(3), np.bool_(True), None)}) == {"1": [0.1, 3, True, None]}
    with pytest.raises(StoreError, match="plain numbers"):
        rounded(np.zeros(3))


def test_temporary_files_are_gone(store):
    store.put(CELL, FIGURES, {}, EXAMPLES)
    assert [path.name for path in store.path(CELL).parent.iterdir()] == [f"{CELL.key}.json"]
    assert [path.suffix for path in _pictures(store)] == [".png"]


def _pictures(store):
    return sorted((store.folder / pictures.FOLDER).iterdir())


def _truncate(path):
    path.write_bytes(path.read_bytes()[:100])


def _edit(**changes):
    def edit(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


DAMAGES = {
    "truncated": (_truncate, "is damaged"),
    "empty": (lambda path: path.write_text(""), "is damaged"),
    "binary": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is damaged"),
    "a list": (lambda path: path.write_text("[1]"), "is damaged"),
    "no figures": (_edit(figures=None), "is damaged"),
    "another key": (_edit(key="0" * 16), "holds the result of other values"),
    "another experiment": (_edit(cell={"type": "Toy", "value": 3.5}), "holds the result of other values"),
    "another figure": (
        _edit(figures={"b": 0.333334}),
        "was changed after it was stored, its checksum differs",
    ),
    "another checksum": (_edit(checksum="0" * 16), "its checksum differs"),
    "nested": (lambda path: path.write_text("[" * 100_000), "RecursionError"),
    "a NaN": (lambda path: path.write_text('{"key": NaN}'), "NaN is no JSON"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is a folder, not a file"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is a pipe, not a file"),
    "a link to nothing": (lambda path: (path.unlink(), path.symlink_to("x")), "is a link to nothing"),
    "unknown class": (_edit(cell={"type": "Bomb"}), "no storable class 'Bomb'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_reported_and_counts_as_missing(store, damage):
    other = Toy(7.0)
    store.put(CELL, FIGURES, {}, EXAMPLES)
    store.put(other, FIGURES, {})
    spoil, message = DAMAGES[damage]
    spoil(store.path(CELL))
    with pytest.warns(DamagedResultWarning, match=f"{CELL.key}.*{message}.*counts as missing"):
        assert store.get(CELL) is None
    assert store.status([CELL, other]).damaged == (CELL,)
    assert store.get(other) is not None
    if store.path(CELL).is_dir():
        store.path(CELL).rmdir()  # a folder is nothing that anything may be written over
    store.put(CELL, FIGURES, {}, EXAMPLES)
    assert store.get(CELL) is not None


def test_failure_is_kept_until_success(store):
    try:
        raise ValueError("no luck")
    except ValueError as error:
        store.put_failure(CELL, error)
    assert store.failed(CELL) == "ValueError: no luck"
    assert store.status([CELL]).failed == (CELL,)
    store.put(CELL, FIGURES, {})
    assert store.failed(CELL) is None and store.status([CELL]).done == (CELL,)
    store.put_failure(CELL, ValueError("again"))
    (store.folder / "failed" / f"{CELL.key}.json").write_text("{")
    assert "damaged" in store.failed(CELL)


def test_status_sorts_each_cell_once(store):
    done, missing = Toy(1.0), Toy(2.0)
    store.put(done, {}, {})
    assert store.status([done, missing, done]) == ((done,), (missing,), (), ())


def test_concurrent_writers_and_readers_see_whole_files(store):
    errors = []

    def work(number):
        try:
            for _ in range(20):
                store.put(CELL, FIGURES | {"writer": number}, {}, EXAMPLES)
                assert store.get(CELL).figures["b"] == 0.333333
        except BaseException as error:
            errors.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert len(list(store.path(CELL).parent.iterdir())) == len(_pictures(store)) == 1


def test_where_results_go(monkeypatch, tmp_path):
    monkeypatch.delenv(paths.RESULTS, raising=False)
    monkeypatch.setattr(paths, "package_root", lambda: tmp_path)
    assert open_store("cpu").folder == open_store("paper").folder == tmp_path / "results"
    assert open_store("quick").folder == tmp_path / "_build" / "quick" / "results"
    monkeypatch.setenv(paths.RESULTS, str(tmp_path / "mine"))
    monkeypatch.setenv(paths.CACHE, str(tmp_path / "cache"))
    assert open_store("quick").folder == tmp_path / "mine"
    assert open_store("quick").cache == Store("x").cache == tmp_path / "cache"
    with pytest.raises(
        UnknownNameError, match=r"Unknown profile 'qick'. Did you mean 'quick'\?.*cpu, paper, quick"
    ):
        open_store("qick")


def test_outside_a_checkout(monkeypatch, tmp_path):
    monkeypatch.delenv(paths.RESULTS, raising=False)
    monkeypatch.setattr(paths, "package_root", lambda: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="needs a checkout.*GLEAK_RESULTS"):
        open_store("cpu")
    (tmp_path / "book").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "gleak"\n')
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert open_store("cpu").folder == tmp_path / "results"
