"""Finished experiments as small JSON files that people can read and compare; nothing is ever unpickled."""

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
from gleak_lib.experiments.specs.base import Experiment, from_json
from gleak_lib.experiments.specs.finite import require_finite
from gleak_lib.experiments.store import pictures
from gleak_lib.experiments.store.document import intact, plain, rounded, text
from gleak_lib.experiments.store.frames import frame
from gleak_lib.experiments.store.result import Result

if TYPE_CHECKING:
    from pandas import DataFrame


class DamagedResultWarning(UserWarning):
    """A stored file that cannot be used; its experiment counts as missing and is computed again."""


class Status(NamedTuple):
    """Which of the experiments asked for are done, missing, failed or damaged."""

    done: tuple[Experiment, ...]  #: with a result
    missing: tuple[Experiment, ...]  #: never computed
    failed: tuple[Experiment, ...]  #: ended with an error, which `gleak show KEY` prints
    damaged: tuple[Experiment, ...]  #: with a file that cannot be used

    @property
    def lacking(self) -> tuple[Experiment, ...]:
        """Those that a run would compute."""
        return (*self.missing, *self.failed, *self.damaged)


class Store:
    """A folder with one file a finished experiment: `<kind>/<key>.json`, and example images in `pictures/`.

    Files are written atomically, so that a killed run leaves whole files only, and several writers of one
    experiment do not disturb each other.

    Args:
        folder: where results lie; it is made when the first is stored.
        cache: where trained weights lie; None means `GLEAK_CACHE`, else the user's cache folder.
    """

    def __init__(self, folder: str | Path, cache: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self.cache = Path(cache) if cache else paths.cache_folder()

    def path(self, experiment: Experiment) -> Path:
        """Return the file of an experiment's result; it need not exist."""
        own, *former = (self.folder / experiment.kind / f"{key}.json" for key in encoding.keys(experiment))
        return own if own.exists() else next((path for path in former if path.exists()), own)

    def get(self, experiment: Experiment) -> Result | None:
        """Return the stored result, or None where there is none.

        A file that is damaged in whatever way, was changed after it was stored, or is of another experiment
        is warned of (`DamagedResultWarning`) and counts as missing: a run computes it again.
        """
        try:
            return self._read(self.path(experiment), experiment)
        except StoreError as error:
            warnings.warn(f"{error} It counts as missing.", DamagedResultWarning, stacklevel=2)
            return None

    def results(self, kind: str) -> Iterator[Result]:
        """Yield all finished experiments of a kind ("attack", "training" ...) in the order of their keys.

        A file that cannot be used, be it that nobody has imported its class, is warned of
        (`DamagedResultWarning`) and left out. One that is stored under two spellings (`encoding.keys`) comes
        once.
        """
        for path in sorted((self.folder / kind).glob("*.json")):
            try:
                result = self.read(path)
                if path == self.path(result.experiment):
                    yield result
            except StoreError as error:
                warnings.warn(f"{error} It is left out.", DamagedResultWarning, stacklevel=2)

    def read(self, path: Path) -> Result:
        """Return the result in one of the store's files.

        Raises:
            FileNotFoundError: If there is none.
            NotImportedError: If no imported module defines its class, or one in it.
            StoreError: If it is damaged, was changed after it was stored, or does not belong there.
        """
        if (result := self._read(path)) is None:
            raise FileNotFoundError(f"{path} is not there.")
        return result

    def frame(
        self, experiments: str | Iterable[Experiment] = "attack", *, scaling: str = "minmax"
    ) -> "DataFrame":
        """Return `frame` of what is stored.

        Args:
            experiments: those to look for, what is missing is left out; or a kind, for all of it.
            scaling: as for `frame`.
        """
        found = self.results(experiments) if isinstance(experiments, str) else map(self.get, experiments)
        return frame([result for result in found if result is not None], scaling=scaling)

    def put(
        self,
        experiment: Experiment,
        figures: dict[str, Any],
        provenance: dict[str, Any],
        examples: dict[str, np.ndarray] | None = None,
    ) -> Result:
        """Store a finished experiment, forget that it ever failed, and return what `get` will give.

        Raises:
            StoreError: the folder cannot be written, or figures are not finite, or no plain values.
        """
        require_finite(experiment, figures)
        path = self.path(experiment)
        stored = {
            "key": path.stem,
            "about": experiment.describe(),
            "cell": encoding.encode(experiment),
            "figures": rounded(figures),
            "provenance": rounded(provenance),
            "examples": pictures.save(self.folder, examples or {}, gallery=experiment.gallery),
        }
        write_atomically(path, text(stored))
        self._failure(experiment).unlink(missing_ok=True)
        found = self._read(path, experiment)
        assert found is not None
        return found

    def put_failure(self, experiment: Experiment, error: BaseException) -> None:
        """Write down that an experiment failed, and why."""
        stored = {
            "key": experiment.key,
            "about": experiment.describe(),
            "cell": encoding.encode(experiment),
            "error": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exception(error),
        }
        write_atomically(self._failure(experiment), text(stored))

    def failed(self, experiment: Experiment) -> str | None:
        """Return the error of an experiment that failed and was not finished since, else None."""
        try:
            return str(read_json(self._failure(experiment))["error"])
        except FileNotFoundError:
            return None
        except (StoreError, TypeError, KeyError):
            return "unknown error (its record is damaged)"

    def status(self, experiments: Iterable[Experiment]) -> Status:
        """Sort experiments by their state; files are read in full, nothing is computed or warned of."""
        found: dict[str, list[Experiment]] = {name: [] for name in Status._fields}
        for experiment in dict.fromkeys(experiments):
            try:
                done = self._read(self.path(experiment), experiment) is not None
                state = "done" if done else "failed" if self.failed(experiment) else "missing"
            except StoreError:
                state = "damaged"
            found[state].append(experiment)
        return Status(**{name: tuple(those) for name, those in found.items()})

    def _failure(self, experiment: Experiment) -> Path:
        return self.folder / "failed" / f"{experiment.key}.json"

    def _read(self, path: Path, asked: Experiment | None = None) -> Result | None:
        try:
            stored = read_json(path)
        except FileNotFoundError:
            return None
        with _damage(path):
            whole = intact(stored)
            experiment = from_json(stored["cell"])
            belongs = stored["key"] == path.stem in encoding.keys(experiment)
            figures, provenance, kept = stored["figures"], stored["provenance"], stored["examples"]
        if not belongs or asked not in (None, experiment):
            raise StoreError(
                f"{path} holds the result of other values (was it renamed, or a default changed?)."
            )
        if not whole:
            raise StoreError(f"{path} is damaged: it was changed after it was stored, its checksum differs.")
        return Result(asked or experiment, plain(figures), plain(provenance), pictures.load(path, kept))


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes the block raise into a `StoreError`: there is no end of that."""
    try:
        yield
    except encoding.NotImportedError as error:
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:
        raise StoreError(f"{path} is damaged ({type(error).__name__}: {error}).") from error
