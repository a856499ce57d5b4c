"""Results that keep the pictures which the published chapters show, and no others.

    python -m gleak_book.tidy [FOLDER]

executes every chapter at the profile at which it is published, notes whose pictures it asks for, and takes
all others out of the folder (the checkout's `results/`, where none is named). Figures stay as they are. It
computes nothing: where a chapter cannot be executed, since an experiment is missing, all pictures of its
experiments stay.
"""

import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from gleak_lib.chapters import execute, profiles
from gleak_lib.chapters.declared import experiments
from gleak_lib.chapters.sources import sources
from gleak_lib.errors import GleakError, StoreError
from gleak_lib.experiments import Experiment, encoding, paths
from gleak_lib.experiments.atomic import read_json, write_atomically
from gleak_lib.experiments.store import Store, pictures
from gleak_lib.experiments.store.document import intact, text

TELL = "from gleak_lib.experiments.store import result; print(*result.SHOWN, sep='\\n')"


def shown(folder: Path, *, log: Callable[[str], None]) -> tuple[set[str], list[str]]:
    """Return "kind/key" of the results in a folder whose pictures stay, and the chapters that failed.

    Args:
        folder: of the results.
        log: is given a line for each chapter.
    """
    found: set[str] = set()
    failed = []
    for name, source in sources().items():
        values = profiles.load(name, profiles.published(name) or "cpu")
        asked = experiments(name, values, source)
        try:
            here = _asked_for(source, values, folder, asked)
        except GleakError as error:
            here = {f"{experiment.kind}/{key}" for experiment in asked for key in encoding.keys(experiment)}
            failed.append(name)
            log(f"{name}: keeps all pictures it might show, of {len(asked)} results, since {error}")
        else:
            log(f"{name}: shows pictures of {len(here)} results")
        found |= here
    return found, failed


def _asked_for(
    source: Path, values: dict[str, Any], folder: Path, experiments: Collection[Experiment]
) -> set[str]:
    """Execute a chapter, of which everything is stored, and return what it asked pictures of."""
    if lacking := len(experiments) - len(Store(folder).status(experiments).done):
        raise StoreError(f"{lacking} of its {len(experiments)} experiments are not stored.")
    with tempfile.TemporaryDirectory(prefix="gleak-") as scratch:
        out = Path(scratch) / "out.ipynb"
        execute.execute(source, out, values, environment={paths.RESULTS: str(folder.resolve())}, last=TELL)
        outputs = read_json(out)["cells"][-1]["outputs"]
    return set("".join(text for output in outputs for text in output["text"]).split())


def keep(folder: Path, results: Collection[str]) -> None:
    """Take the pictures of all other results out of a folder.

    Args:
        folder: of the results.
        results: "kind/key" of those whose pictures stay.

    Raises:
        StoreError: pictures that are to stay are missing or damaged; the folder is as it was, then.
    """
    stored = {path: read_json(path) for path in sorted(folder.glob("*/*.json"))}
    stored = {
        path: entry for path, entry in stored.items() if isinstance(entry, dict) and entry.get("examples")
    }
    if changed := [path for path, entry in stored.items() if not intact(entry)]:
        raise StoreError(f"{changed[0]} was changed after it was stored: it would be believed again.")
    kept = {}
    for path, entry in stored.items():
        shown = f"{path.parent.name}/{path.stem}" in results
        kept[path] = entry["examples"] if shown and pictures.load(path, entry["examples"]) else {}
    for path, entry in stored.items():
        if kept[path] != entry["examples"]:
            write_atomically(path, text(entry | {"examples": kept[path]}))
    used = {pictures.file(folder, one) for entry in kept.values() for one in entry.values()}
    for path in (folder / pictures.FOLDER).glob("*.*"):
        if path not in used:
            path.unlink()


def main(arguments: Sequence[str]) -> int:
    """Tidy a folder of results and say how large it was and is; exit status 1 where a chapter failed."""
    folder = Path(arguments[0]) if arguments else paths.results_folder("cpu")
    try:
        if not folder.is_dir():
            raise StoreError(f"There is no folder {folder}.")
        before = _size(folder)
        results, failed = shown(folder, log=lambda line: print(line, flush=True))
        keep(folder, results)
    except GleakError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{folder}: {before / 1e6:.1f} MB before, {_size(folder) / 1e6:.1f} MB now")
    if failed:
        print(f"Run {', '.join(failed)} and tidy again: pictures may stay that nobody sees.", file=sys.stderr)
    return int(bool(failed))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
