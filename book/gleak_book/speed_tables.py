"""More tables of the chapter "Speed": all attacks, a peer's loop, federated rounds, memory."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from gleak_lib.experiments.store.benchmarks import Row
from gleak_lib.extras import require

from gleak_book.speed import PEER, ROUNDS, machine, reference, table, timed

if TYPE_CHECKING:
    from pandas import DataFrame


def attacks(rows: Sequence[Row]) -> "DataFrame":
    """Return a line a model and attack: machine, model, attack, victims, loop and engine (ms), times."""
    lines = []
    for row in rows:
        if row.benchmark == "attacks" and row.settings.get("method") == "engine":
            loop = reference(row, rows, "model", "attack", "victims")
            figures = timed(row, loop)
            lines.append(
                {
                    "machine": machine(row),
                    "kind": row.machine["kind"],
                    **{name: row.settings[name] for name in ("model", "attack", "victims")},
                    "loop": np.nan if loop is None else loop.figures.get("ms", np.nan),
                    "engine": figures["ms"],
                    "times": figures["times"],
                }
            )
    return table(lines, ("kind", "model", "attack", "victims", "loop", "engine", "times"))


def peer(rows: Sequence[Row]) -> "DataFrame":
    """Return the peer's loop beside ours: machine, method, victims, steps, ms, times (the peer), ssim."""
    lines = []
    for row in rows:
        if row.benchmark == "peer" and "method" in row.settings:
            other = reference(row, rows, "victims", "steps", method=PEER)
            line = {"machine": machine(row), "kind": row.machine["kind"]}
            line |= {name: row.settings[name] for name in ("method", "victims", "steps")}
            lines.append(line | timed(row, other) | {"ssim": row.figures.get("ssim", np.nan)})
    return table(lines, ("kind", "method", "victims", "steps", "ms", "times", "ssim"))


def rounds(rows: Sequence[Row]) -> "DataFrame":
    """Return seconds a federated round.

    Returns:
        Columns machine, model, images, trainings, waiting (what idle threads do), method, seconds, times (the
        loop over clients), minutes (of 300 rounds, extrapolated).
    """
    lines = []
    for row in rows:
        if row.benchmark == "federated" and "seconds" in row.figures:
            loop = reference(row, rows, "model", "images", "trainings", "waiting")
            seconds = row.figures["seconds"]
            line = {"machine": machine(row), "kind": row.machine["kind"]}
            line |= {name: row.settings[name] for name in ("model", "images", "trainings", "method")}
            line["waiting"] = row.settings.get("waiting", "–")
            times = np.nan if loop is None else loop.figures["seconds"] / seconds
            lines.append(line | {"seconds": seconds, "times": times, "minutes": seconds * ROUNDS / 60})
    names = ("kind", "model", "images", "trainings", "waiting", "method", "seconds", "times", "minutes")
    return table(lines, names)


def samples(rows: Sequence[Row]) -> "DataFrame":
    """Return memory over the steps: columns line (what, machine), step, mb."""
    points = [
        {"line": f"{what}, {machine(row)}", "step": step, "mb": mb}
        for row, what, series in _series(rows)
        for step, mb in series
    ]
    return require("pandas", "metrics").DataFrame(points, columns=["line", "step", "mb"])


def memory(rows: Sequence[Row]) -> "DataFrame":
    """Return memory after a fifth of the steps and at the end: what grows by then would go on growing.

    Returns:
        Columns machine, memory, steps, settled (MB after a fifth), last (MB), growth (MB per 1,000 steps, the
        least-squares line from there on).
    """
    lines = []
    for row, what, series in _series(rows):
        late = series[series[:, 0] >= series[-1, 0] / 5]
        slope = np.polyfit(late[:, 0], late[:, 1], 1)[0] if len(late) > 1 else np.nan
        line = {"machine": machine(row), "kind": row.machine["kind"], "memory": what}
        line |= {"steps": int(series[-1, 0]), "settled": late[0, 1], "last": late[-1, 1]}
        lines.append(line | {"growth": 1000 * slope})
    return table(lines, ("kind", "memory", "steps", "settled", "last", "growth"))


def _series(rows: Sequence[Row]) -> Iterator[tuple[Row, str, np.ndarray]]:
    """Of each memory row and kind of memory: N x 2, steps and MB."""
    for row in rows:
        found = row.figures.get("samples", []) if row.benchmark == "memory" else []
        for field, what in (("resident_mb", "resident"), ("cuda_mb", "on the GPU")):
            if found and field in found[0]:
                yield row, what, np.array([[sample["step"], sample[field]] for sample in found], dtype=float)
