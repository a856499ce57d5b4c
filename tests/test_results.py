"""The stored results of the repository as a whole: small, and with every picture that they refer to."""

import json

import gleak_book.kinds  # noqa: F401 (what they give is stored, too)

from gleak_lib.experiments import Store, encoding, from_json, paths
from gleak_lib.experiments.store import pictures
from gleak_lib.experiments.store.document import intact

LARGEST = 25e6  # bytes in all


def test_results_are_small_and_their_pictures_are_all_there():
    folder = paths.root() / "results"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST, "make tidy"
    assert {path.suffix for path in files} <= {".json", ".png", ".webp"}, "make tidy"
    stored = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/*.json"))]
    kept = [
        one
        for entry in stored
        if isinstance(entry, dict)
        for one in dict(entry.get("examples") or {}).values()
    ]
    assert kept
    used = {pictures.file(folder, one) for one in kept}
    assert used == set((folder / pictures.FOLDER).iterdir())


def test_every_stored_result_is_found_under_its_key():
    folder = paths.root() / "results"
    store, twice = Store(folder), []
    for path in sorted(folder.glob("*/*.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored, dict) and "cell" in stored:
            cell = from_json(stored["cell"])
            assert path.stem in encoding.keys(cell) and intact(stored)
            if store.path(cell) != path:
                twice.append(path)
                assert store.path(cell).exists()
    assert len(twice) == 3, "trainings that two chapters wrote with other options of one defense"
