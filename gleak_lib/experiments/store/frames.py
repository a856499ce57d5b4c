"""Results as one tidy table: every field of an experiment and every number that was found is a column."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gleak_lib.attacks.inversion import Inversion
from gleak_lib.defenses import Defense
from gleak_lib.errors import StoreError
from gleak_lib.experiments.specs.base import Experiment
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require
from gleak_lib.federated import Protocol

if TYPE_CHECKING:
    from pandas import DataFrame


class Results(tuple[Result, ...]):
    """Results in the order in which they were asked for; `results[experiment]` is that experiment's."""

    def __getitem__(self, which: Any) -> Any:
        """Return the result at a place or of an experiment.

        Raises:
            StoreError: If the experiment is not among them.
        """
        if not isinstance(which, Experiment):
            return super().__getitem__(which)
        if "found" not in vars(self):
            self.found = {result.experiment: result for result in self}
        if which not in self.found:
            raise StoreError(f"There is no result of {which.describe()} among these {len(self)}.")
        return self.found[which]

    def frame(
        self,
        experiments: Experiment | Iterable[Any] | Mapping[Any, Any] | None = None,
        *,
        scaling: str = "minmax",
        label: str | Sequence[str] = "label",
    ) -> "DataFrame":
        """Return `frame` of some of these results, None for all.

        Args:
            experiments: one, a list, or a dict whose values are such; its keys become the first columns.
            scaling, label: as for `frame`.
        """
        if experiments is None:
            return frame(self, scaling=scaling)
        if isinstance(experiments, Mapping):
            groups = {key: [self[one] for one in _several(part)] for key, part in experiments.items()}
            return frame(groups, scaling=scaling, label=label)
        return frame([self[one] for one in _several(experiments)], scaling=scaling)


def frame(
    results: Iterable[Result] | Mapping[Any, Result | Iterable[Result]],
    *,
    scaling: str = "minmax",
    label: str | Sequence[str] = "label",
) -> "DataFrame":
    """Return a tidy table: of attacks a row per image, of other experiments what `Experiment.rows` says.

    Columns are the kind, every field of the experiment and of its parts (bottlenecks and defenses as text; of
    two fields with one name the inner one is called after its part, too, as `training_seed`), settings of the
    attack and the protocol where they differ between the rows, what was found (for attacks victim, image,
    true_label, ssim, psnr, mse, lpips, success (an SSIM of at least 0.5), loss, steps, loss_at_truth, ...),
    seconds of the experiment, and its key. What an experiment lacks is NaN.

    Args:
        results: or a dict of them, whose keys become the first columns.
        scaling: of the scores, "minmax" or "none", see `metrics.score`.
        label: name of the column of keys, several for keys that are tuples; a field of that name gives way.

    Raises:
        MissingDependencyError: If pandas is not installed.
    """
    rows: list[dict[str, Any]] = []
    if isinstance(results, Mapping):
        names = [label] if isinstance(label, str) else list(label)
        for key, those in results.items():
            values: Any = (key,) if isinstance(label, str) else key
            keys: dict[str, Any] = dict(zip(names, values, strict=True))
            rows += [keys | row | keys for result in _several(those) for row in _rows(result, scaling)]
    else:
        rows = [row for result in results for row in _rows(result, scaling)]
    table = require("pandas", "metrics").DataFrame(rows)
    inner = {name for row in rows for name in row if isinstance(name, _Setting)}
    alike = [name for name in inner if table[name].nunique(dropna=False) < 2]
    return table.drop(columns=alike).rename(columns=str)


class _Setting(str):
    """Name of a column that is left out where all rows have one value."""


def _rows(result: Result, scaling: str) -> Iterator[dict[str, Any]]:
    columns = result.experiment.rows(result.figures, scaling)
    lists = {name: values for name, values in columns.items() if isinstance(values, list)}
    same = {name: value for name, value in columns.items() if name not in lists}
    known = {"kind": result.experiment.kind, **_fields(result.experiment)}
    origin = {"seconds": result.provenance.get("seconds"), "key": result.experiment.key}
    for values in zip(*lists.values(), strict=True) if lists else [()]:
        row = same | dict(zip(lists, values, strict=bool(lists)))
        found = {n: float("nan") if v is None else v for n, v in row.items()}
        yield known | found | origin


def _fields(noun: Any) -> dict[str, Any]:
    """Return the fields of an experiment and of its parts, the outer ones first."""
    found: dict[str, Any] = {}
    parts = [("", noun)]
    for holder, part in parts:  # which grows meanwhile
        for field, value in _values(part).items():
            name = holder if field == "name" else field
            if isinstance(value, (Experiment, Inversion, Protocol)):
                parts.append((field, value))
            elif not (name == "rounds" and name in found):
                always = isinstance(part, Experiment) or name in (holder, "rounds")
                name = f"{holder}_{name}" if name in found else name
                found[name if always else _Setting(name)] = _text(value)
    return found


def _values(part: Any) -> dict[str, Any]:
    if isinstance(part, Inversion):
        return part.settings
    return {field.name: getattr(part, field.name) for field in dataclasses.fields(part) if field.compare}


def _text(value: Any) -> Any:
    if isinstance(value, Defense):
        return str(value)
    return " + ".join(map(str, value)) or "none" if isinstance(value, tuple) else value


def _several(given: Any) -> list[Any]:
    return [given] if isinstance(given, (Experiment, Result)) else list(given)
