"""Tables of the chapter "Speed", from the stored rows of the benchmarks; the chapter computes nothing.

Every table has a column `machine`, and where no GPU has been measured a last line that says so. Ratios
compare rows of one machine.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gleak_lib.experiments import paths
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.store.benchmarks import BENCHMARKS, Row, of_one_code, read
from gleak_lib.extras import require

if TYPE_CHECKING:
    from pandas import DataFrame

NOT_MEASURED = "a GPU: not measured"
ROUNDS = 300  # of a federated training at full scale (001 §V-B)
COARSE = ("graph, tf32", "graph, bf16")  # not in float32
USUAL = {"cpu": "fast", "cuda": "graph"}  # what `invert` runs without being asked for more
PEER = "breaching 0.1.2"

# in the order in which the engine came about
METHODS = {
    "loop": "plain loop, one victim after the other",
    "vmap": "one forward pass for all victims (torch.func.vmap)",
    "written out": "our rules for weight gradients, written out",
    "fast": "weight gradients in factors",
    "static": "the same on static buffers",
    "graph": "static buffers, one CUDA graph",
    "compiled": "compiled",
    "graph, compiled": "one CUDA graph, compiled",
    "graph, tf32": "one CUDA graph, TF32",
    "graph, bf16": "one CUDA graph, bfloat16",
}


class Goal(NamedTuple):
    """What was to be reached for 128 victims of the cnn, and for which machines."""

    name: str
    kind: str
    figure: str  # ms, times or step
    most: bool  # whether a smaller figure is better
    value: float

    def concerns(self, row: Row) -> bool:
        """Return whether a row's machine is meant: two cores, or an H200."""
        if self.kind == "cpu":
            return row.machine["kind"] == "cpu" and row.machine["threads"] == 2
        return row.machine["kind"] == "cuda" and "H200" in row.machine["device"]


GOALS = (
    Goal("2 CPU cores: ms a victim's step", "cpu", "ms", True, 0.2),
    Goal("2 CPU cores: times the plain loop", "cpu", "times", False, 13),
    Goal("H200: ms a step of all 128", "cuda", "step", True, 0.5),
)


def cells(**_parameters: Any) -> list[Cell]:
    """Return nothing: the chapter shows what the benchmarks have stored."""
    return []


def stored() -> list[Row]:
    """Return what each machine measured with its newest version of the code."""
    return of_one_code(read(paths.results_folder("cpu") / BENCHMARKS))


def machine(row: Row) -> str:
    """Return a machine's name: the device, on a CPU with its threads."""
    threads = row.machine["threads"]
    cores = "1 thread" if threads == 1 else f"{threads} threads"
    return f"{row.machine['device']}, {cores}" if row.machine["kind"] == "cpu" else row.machine["device"]


def hardware(rows: Iterable[Row], benchmark: str) -> str:
    """Return the line under a table: machines, torch, dates, code of a benchmark's rows."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        if row.benchmark == benchmark:
            parts.setdefault(machine(row), []).append(row)
    lines = []
    for name, found in parts.items():
        torch = ", ".join(sorted({f"torch {row.machine.get('torch')}" for row in found}))
        days = sorted({str(row.machine["date"])[:10] for row in found})
        code = ", ".join(sorted({str(row.machine.get("commit")) for row in found}))
        lines.append(f"{name}: {torch}, {' to '.join(dict.fromkeys((days[0], days[-1])))}, code {code}.")
    return "Hardware: " + (" ".join(lines) or "nothing measured yet.")


def steps(rows: Sequence[Row], *, models: Sequence[str] | None = None) -> "DataFrame":
    """Return a line a measurement of an attack's step.

    Returns:
        Columns machine, kind, model, victims, method, ms (a victim's step), per_s (victims' steps a second),
        times (the plain loop on the same machine), peak_mb (on a GPU), failed (why there is no figure).
    """
    found = [row for row in rows if row.benchmark == "throughput"]
    found = [row for row in found if models is None or row.settings["model"] in models]
    order = list(models or dict.fromkeys(row.settings["model"] for row in found))
    lines = [
        {
            "machine": machine(row),
            "kind": row.machine["kind"],
            "model": row.settings["model"],
            "victims": row.settings["victims"],
            "method": row.settings["method"],
            **timed(row, reference(row, found, "model")),
            "peak_mb": row.figures.get("peak_mb", np.nan),
            "failed": row.figures.get("failed"),
        }
        for row in found
    ]
    lines.sort(
        key=lambda r: (order.index(r["model"]), [*METHODS, r["method"]].index(r["method"]), r["victims"])
    )
    columns = ("kind", "model", "victims", "method", "ms", "per_s", "times", "peak_mb", "failed")
    return table(lines, columns)


def cost(frame: "DataFrame") -> "DataFrame":
    """Return of `steps` the usual method's lines, with the column `line` (machine and model) for a figure."""
    usual = frame[[USUAL.get(k) == m for k, m in zip(frame["kind"], frame["method"], strict=True)]]
    names = zip(usual["model"], usual["machine"], strict=True)
    return usual.assign(line=[f"{model}, {where}" for model, where in names])


def brought(frame: "DataFrame", model: str, victims: int) -> "DataFrame":
    """Return of `steps` what each method brought for one model: the loop, and `victims` at once.

    Returns:
        Columns machine, what, ms, times.
    """
    chosen = (frame["model"] == model) & ((frame["victims"] == victims) | (frame["method"] == "loop"))
    part = frame.loc[chosen | frame["model"].isna()]
    what = [METHODS.get(str(name), np.nan) for name in part["method"]]
    return part.assign(what=what).loc[:, ["machine", "what", "ms", "times"]]


def goals(frame: "DataFrame", rows: Sequence[Row], *, model: str = "cnn", victims: int = 128) -> "DataFrame":
    """Return a line a goal and machine: the best method's figure in float32, beside what was to be reached.

    Returns:
        Columns goal, value (with ≤ or ≥), machine, method, measured (NaN where nothing was), reached.
    """
    lines = []
    for goal in GOALS:
        sign = "≤" if goal.most else "≥"
        line = {"goal": goal.name, "value": f"{sign} {goal.value:g}", "machine": "–", "method": "–"}
        line |= {"measured": np.nan, "reached": "not measured"}
        names = dict.fromkeys(machine(row) for row in rows if goal.concerns(row))
        for name in names or [None]:
            found = [
                {"machine": name, "method": one["method"], "measured": _reached(goal, one, victims)}
                for one in frame.to_dict("records")
                if (one["machine"], one["model"], one["victims"]) == (name, model, victims)
                and one["method"] not in ("loop", *COARSE)
            ]
            found = [one for one in found if not np.isnan(one["measured"])]
            if not found:
                lines.append(line | {"machine": name or "–"})
                continue
            best = sorted(found, key=lambda one: one["measured"], reverse=not goal.most)[0]
            met = best["measured"] <= goal.value if goal.most else best["measured"] >= goal.value
            lines.append(line | best | {"reached": "yes" if met else "no"})
    return require("pandas", "metrics").DataFrame(lines)


def _reached(goal: Goal, line: dict[Any, Any], victims: int) -> float:
    if goal.figure == "step":
        return line["ms"] * victims
    return line["times" if goal.figure == "times" else "ms"]


def timed(row: Row, loop: Row | None) -> dict[str, float]:
    """Return ms a victim's step, victims' steps a second, and how many times the loop's; NaN for a gap."""
    ms = row.figures.get("ms") or np.nan
    base = np.nan if loop is None else loop.figures.get("ms") or np.nan
    return {"ms": ms, "per_s": 1000 / ms, "times": base / ms}


def reference(row: Row, rows: Iterable[Row], *same: str, method: str = "loop") -> Row | None:
    """Return the row of the same machine, benchmark and settings with another method, or None.

    A loop takes one victim after the other, so that its time a victim is the same for any number of them.
    """
    for other in rows:
        if (
            other.benchmark == row.benchmark
            and other.settings.get("method") == method
            and machine(other) == machine(row)
            and all(other.settings.get(name) == row.settings.get(name) for name in same)
        ):
            return other
    return None


def table(lines: list[dict[str, Any]], columns: Sequence[str]) -> "DataFrame":
    """Return a table by machine, GPUs last; without a line of a GPU, its last line says so."""
    lines = sorted(lines, key=lambda line: (line["kind"] == "cuda", line["machine"]))
    if not any(line["kind"] == "cuda" for line in lines):
        lines = [*lines, {"machine": NOT_MEASURED, "kind": "cuda"}]
    return require("pandas", "metrics").DataFrame(lines, columns=["machine", *columns])
