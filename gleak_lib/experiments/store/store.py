"""Finished cells as small JSON files that people can read and compare; nothing is ever unpickled."""

import contextlib
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gleak_lib.errors import StoreError
from gleak_lib.experiments import encoding, paths
from gleak_lib.experiments.atomic import read_json, write_atomically
from gleak_lib.experiments.specs import shapes
from gleak_lib.experiments.specs.base import Cell, from_json
from gleak_lib.experiments.specs.finite import require_finite
from gleak_lib.experiments.store import pictures
from gleak_lib.experiments.store.document import intact, plain, rounded, text
from gleak_lib.experiments.store.frames import frame
from gleak_lib.experiments.store.result import Result

if TYPE_CHECKING:
    from pandas import DataFrame


class DamagedResultWarning(UserWarning):
    """A stored file that cannot be used; its cell counts as missing and is computed again."""


class Status(NamedTuple):
    """Which of the cells asked for are done, missing, failed or damaged."""

    done: tuple[Cell, ...]
    missing: tuple[Cell, ...]
    failed: tuple[Cell, ...]
    damaged: tuple[Cell, ...]

    @property
    def lacking(self) -> tuple[Cell, ...]:
        """Those that a run would compute."""
        return (*self.missing, *self.failed, *self.damaged)


class Store:
    """A folder with one file a finished cell: `<kind>/<key>.json`, and example images in `pictures/`.

    Files are written atomically, so that a killed run leaves whole files only, and several writers of one
    cell do not disturb each other.

    Args:
        folder: where results lie; it is made when the first is stored.
        cache: where trained weights lie; None means `GLEAK_CACHE`, else the user's cache folder.
    """

    def __init__(self, folder: str | Path, cache: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self.cache = Path(cache) if cache else paths.cache_folder()

    def path(self, cell: Cell) -> Path:
        """Return the file of a cell's result; it need not exist."""
        own, *former = (self.folder / cell.kind / f"{key}.json" for key in encoding.keys(cell))
        return own if own.exists() else next((path for path in former if path.exists()), own)

    def get(self, cell: Cell) -> Result | None:
        """Return the stored result, or None where there is none.

        A file that is damaged in whatever way, was changed after it was stored, or is of another cell is
        warned of (`DamagedResultWarning`) and counts as missing: a run computes it again.
        """
        try:
            return self._read(cell)
        except StoreError as error:
            warnings.warn(f"{error} It counts as missing.", DamagedResultWarning, stacklevel=2)
            return None

    def results(self, kind: str) -> Iterator[Result]:
        """Yield all finished cells of a kind ("attack", "training" ...) in the order of their keys.

        A file that cannot be used is warned of (`DamagedResultWarning`) and left out. One that is stored
        under two spellings (`encoding.keys`) comes once.
        """
        for path in sorted((self.folder / kind).glob("*.json")):
            try:
                result = self.read(path)
                if path == self.path(result.cell):
                    yield result
            except StoreError as error:
                warnings.warn(f"{error} It is left out.", DamagedResultWarning, stacklevel=2)

    def read(self, path: Path) -> Result:
        """Return the result in one of the store's files.

        Raises:
            FileNotFoundError: If there is none.
            StoreError: If it is damaged, was changed after it was stored, or does not belong there.
        """
        stored = read_json(path)
        with _damage(path):
            cell = from_json(stored["cell"])
        if (result := self._read(cell, path)) is None:
            raise FileNotFoundError(f"{path} is not there.")
        return result

    def frame(self, experiments: str | Iterable[Cell] = "attack", *, scaling: str = "minmax") -> "DataFrame":
        """Return `frame` of what is stored.

        Args:
            experiments: those to look for, what is missing is left out; or a kind, for all of it.
            scaling: as for `frame`.
        """
        found = self.results(experiments) if isinstance(experiments, str) else map(self.get, experiments)
        return frame([result for result in found if result is not None], scaling=scaling)

    def put(
        self,
        cell: Cell,
        figures: dict[str, Any],
        provenance: dict[str, Any],
        examples: dict[str, np.ndarray] | None = None,
    ) -> Result:
        """Store a finished cell, forget that it ever failed, and return what `get` will give.

        Raises:
            StoreError: the folder cannot be written, or figures are not finite or of another type than their
                kind's.
        """
        require_finite(cell, figures)
        path = self.path(cell)
        stored = {
            "key": path.stem,
            "about": cell.describe(),
            "cell": encoding.encode(cell),
            "figures": rounded(figures),
            "provenance": rounded(provenance),
            "examples": pictures.save(self.folder, examples or {}),
        }
        if problem := _misfit(cell, stored["figures"], stored["provenance"]):
            raise StoreError(f"{cell.describe()} gave what cannot be stored: {problem}.")
        write_atomically(path, text(stored))
        self._failure(cell).unlink(missing_ok=True)
        found = self._read(cell)
        assert found is not None
        return found

    def put_failure(self, cell: Cell, error: BaseException) -> None:
        """Write down that a cell failed, and why."""
        stored = {
            "key": cell.key,
            "about": cell.describe(),
            "cell": encoding.encode(cell),
            "error": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exception(error),
        }
        write_atomically(self._failure(cell), text(stored))

    def failed(self, cell: Cell) -> str | None:
        """Return the error of a cell that failed and was not finished since, else None."""
        try:
            return str(read_json(self._failure(cell))["error"])
        except FileNotFoundError:
            return None
        except (StoreError, TypeError, KeyError):
            return "unknown error (its record is damaged)"

    def status(self, cells: Iterable[Cell]) -> Status:
        """Sort cells by their state; files are read in full, nothing is computed or warned of."""
        found: dict[str, list[Cell]] = {name: [] for name in Status._fields}
        for cell in dict.fromkeys(cells):
            try:
                done = self._read(cell) is not None
                state = "done" if done else "failed" if self.failed(cell) else "missing"
            except StoreError:
                state = "damaged"
            found[state].append(cell)
        return Status(**{name: tuple(those) for name, those in found.items()})

    def _failure(self, cell: Cell) -> Path:
        return self.folder / "failed" / f"{cell.key}.json"

    def _read(self, cell: Cell, path: Path | None = None) -> Result | None:
        path = path or self.path(cell)
        try:
            stored = read_json(path)
        except FileNotFoundError:
            return None
        with _damage(path):
            whole = intact(stored)
            asked = from_json(stored["cell"]) == cell and stored["key"] == path.stem in encoding.keys(cell)
            figures, provenance, kept = stored["figures"], stored["provenance"], stored["examples"]
            problem = _misfit(cell, figures, provenance)
        if not asked:
            raise StoreError(
                f"{path} holds the result of other values (was it renamed, or a default changed?)."
            )
        if problem or not whole:
            problem = problem or "it was changed after it was stored, its checksum differs"
            raise StoreError(f"{path} is damaged: {problem}.")
        return Result(cell, plain(figures), plain(provenance), pictures.load(path, kept))


def _misfit(cell: Cell, figures: Any, provenance: Any) -> str | None:
    return shapes.misfit(figures, cell.shapes, "figures") or shapes.misfit(
        provenance, shapes.PROVENANCE, "provenance"
    )


@contextlib.contextmanager
def _damage(path: Path, what: str = "is damaged") -> Iterator[None]:
    """Turn whatever a damaged file makes the block raise into a `StoreError`: there is no end of that."""
    try:
        yield
    except Exception as error:
        raise StoreError(f"{path} {what} ({type(error).__name__}: {error}).") from error
