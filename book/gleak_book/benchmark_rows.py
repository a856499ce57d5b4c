"""Stored rows of `benchmarks/*.py`: one folder a device, one file a benchmark, one line a row.

A row has `settings` (what was measured), `figures` (what came out) and `machine` (where, with which code,
when). So results of several machines lie side by side, and a run on one never touches another's.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gleak_lib.errors import StoreError
from gleak_lib.experiments.atomic import read_json

BENCHMARKS = "benchmarks"  # folder beside stored results
MACHINE = {"kind": str, "device": str, "threads": int, "date": str}  # what every row says of it


class Row(NamedTuple):
    """One measurement.

    Attributes:
        benchmark: the file's name: throughput, attacks, federated, memory, peer.
        settings: model, victims, method and the like.
        figures: milliseconds, megabytes and the like; `failed` says why there are none.
        machine: kind (cpu or cuda), device, threads, torch, python, code (a digest), commit, date.
    """

    benchmark: str
    settings: dict[str, Any]
    figures: dict[str, Any]
    machine: dict[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        """What was measured, and on what device with how many threads."""
        settings = tuple(sorted((name, str(value)) for name, value in self.settings.items()))
        return self.benchmark, settings, self.machine["device"], self.machine["threads"]


def read(folder: Path) -> list[Row]:
    """Return all rows under `results/benchmarks`; files that are damaged or something else are left out.

    Args:
        folder: has one folder a device; it need not exist.
    """
    rows = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            for row in read_json(path)["rows"]:
                found = Row(path.stem, dict(row["settings"]), dict(row["figures"]), dict(row["machine"]))
                if all(isinstance(found.machine.get(name), kind) for name, kind in MACHINE.items()):
                    rows.append(found)
        except (StoreError, ValueError, TypeError, KeyError):
            continue
    return rows


def latest(rows: Iterable[Row]) -> list[Row]:
    """Return the last measurement of each thing on each machine, in the order of the first."""
    return list(_last(rows, lambda row: row.key).values())


def of_one_code(rows: Iterable[Row]) -> list[Row]:
    """Return of each benchmark and machine what its newest row's version of the code measured.

    Figures that are compared with each other so come from the same code.
    """
    rows = latest(rows)

    def where(row: Row) -> tuple[Any, ...]:
        return row.benchmark, row.machine["device"], row.machine["threads"]

    newest = _last(rows, where)
    return [row for row in rows if row.machine.get("code") == newest[where(row)].machine.get("code")]


def _last(rows: Iterable[Row], key: Callable[[Row], tuple[Any, ...]]) -> dict[tuple[Any, ...], Row]:
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        if key(row) not in found or str(row.machine["date"]) >= str(found[key(row)].machine["date"]):
            found[key(row)] = row
    return found
