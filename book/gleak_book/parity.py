"""The authors' released attack beside ours, from the stored rows of `benchmarks/parity.py`.

A row's end compares the SSIM of the same victims, both scored by our metric. So a difference from a paper's
table can be told apart from a difference from its code.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gleak_lib.experiments import paths
from gleak_lib.extras import require
from gleak_lib.metrics import intervals

from gleak_book import paper
from gleak_book.benchmark_rows import BENCHMARKS, Row, latest, read

if TYPE_CHECKING:
    from pandas import DataFrame

BENCHMARK = "parity"
FEWEST = 16  # victims from which a row's two means are compared
CASE = ("images", "model", "attack", "tv")
PRINTED = {  # network -> defense and settings as in the paper's Table X
    "cnn": ("none", ""),
    "cnn + CVB(1, 5)": ("cvb", "P=1;k=5;s=1/2;beta=1e-1"),
    "cnn + PRECODE(1, 8)": ("precode", "P=1;K=8"),
}
NAMES = {"ig": "IG", "ignore": "Ignore"}
SETS = {"cifar10": "CIFAR-10", "mnist": "MNIST"}
COLUMNS = ("images", "model", "attack", "seeds", "victims", "ssim", "ssim_theirs", "ssim_paper")
COLUMNS += ("difference", "low", "high", "p", "apart", "ms", "ms_theirs", "busy")


def stored() -> list[Row]:
    """Return the rows that were stored, on all machines."""
    return latest(row for row in read(paths.results_folder("cpu") / BENCHMARKS) if row.benchmark == BENCHMARK)


def table(rows: Sequence[Row]) -> "DataFrame":
    """Return a line a row that has begun, in the order in which they are run.

    Args:
        rows: of one machine or several; of the same case and seed the one with most victims counts, and the
            pairs of all seeds (of weights and victims) are taken together.

    Returns:
        Columns images, model, attack (with its weight of the total variation), seeds (that have begun),
        victims (that both sides have finished), ssim and ssim_theirs (means over these), ssim_paper (Table X,
        NaN where it has none), difference with the ends low and high of its paired 95 % interval, p
        (Wilcoxon's signed ranks, two sides), apart (the largest difference of the first losses), ms and
        ms_theirs (a victim's step), busy (whether the machine had more to do at the time).
    """
    best: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in rows:
        if row.settings.get("what") != "end":
            continue
        seeds = best.setdefault(tuple(row.settings.get(name) for name in CASE), {})
        seed = row.settings["seed"]
        if seed not in seeds or _pairs(row) > _pairs(seeds[seed]):
            seeds[seed] = row
    lines = [_line(list(seeds.values()), _time(list(seeds.values()), rows)) for seeds in best.values()]
    return require("pandas", "metrics").DataFrame(lines, columns=list(COLUMNS))


def shown(frame: "DataFrame") -> "DataFrame":
    """Return `table` as it is read, of the rows with enough victims.

    Returns:
        Columns images, model, attack, victims, ssim, ssim_theirs, ssim_paper, difference (with its interval,
        then p), ms (ours and theirs, a star where the machine was busy).
    """
    columns = [
        "images",
        "model",
        "attack",
        "victims",
        "ssim",
        "ssim_theirs",
        "ssim_paper",
        "difference",
        "ms",
    ]
    lines = []
    for line in frame.loc[frame["victims"] >= FEWEST].to_dict("records"):
        interval = f"({_signed(line['low'])} to {_signed(line['high'])})"
        difference = f"{_signed(line['difference'])} {interval}, {line['p']:.2f}"
        ms = f"{line['ms']:.1f} / {line['ms_theirs']:.1f}{'*' if line['busy'] else ''}"
        lines.append({name: line[name] for name in columns} | {"difference": difference, "ms": ms})
    return require("pandas", "metrics").DataFrame(lines, columns=columns)


def hardware(rows: Sequence[Row]) -> str:
    """Return the line under the table: machines, days, our code and theirs."""
    lines = []
    for row in rows:
        where = f"{machine(row)}, torch {row.machine.get('torch')}"
        peers = row.machine.get("peers") or {}
        theirs = ", ".join(f"{name} {str(commit)[:12]}" for name, commit in peers.items())
        ours = " to ".join(str(row.machine[name]) for name in ("begun", "commit") if row.machine.get(name))
        lines.append(f"{where}, {str(row.machine['date'])[:10]}; ours {ours}, {theirs}")
    return f"Run on: {'; '.join(dict.fromkeys(lines))}."


def machine(row: Row) -> str:
    """Return a machine's name: the device, on a CPU with its threads."""
    threads = row.machine["threads"]
    cores = "1 thread" if threads == 1 else f"{threads} threads"
    return f"{row.machine['device']}, {cores}" if row.machine["kind"] == "cpu" else row.machine["device"]


def _line(seeds: Sequence[Row], time: tuple[float, float, bool]) -> dict[str, Any]:
    settings = seeds[0].settings
    theirs = np.concatenate([np.array(row.figures.get("ssim_theirs", []), dtype=float) for row in seeds])
    ours = np.concatenate([row.figures.get("ssim_ours", [])[: _pairs(row)] for row in seeds])
    difference = ours - theirs
    low, high = intervals.mean(difference) if len(difference) else (np.nan, np.nan)
    return {
        "images": SETS.get(settings["images"], settings["images"]),
        "model": settings["model"],
        "attack": f"{NAMES.get(settings['attack'], settings['attack'])}, λ {settings['tv']:g}",
        "seeds": len(seeds),
        "victims": len(theirs),
        "ssim": ours.mean() if len(ours) else np.nan,
        "ssim_theirs": theirs.mean() if len(theirs) else np.nan,
        "ssim_paper": _paper(settings),
        "difference": difference.mean() if len(difference) else np.nan,
        "low": low,
        "high": high,
        "p": wilcoxon(difference),
        "apart": max(row.figures.get("apart", np.nan) for row in seeds),
        **dict(zip(("ms", "ms_theirs", "busy"), time, strict=True)),
    }


def wilcoxon(differences: np.ndarray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; 1 where nothing differs, NaN for no pairs."""
    if not len(differences):
        return float("nan")
    if not np.any(differences):
        return 1.0
    return float(require("scipy.stats", "metrics").wilcoxon(differences).pvalue)


def _pairs(row: Row) -> int:
    return len(row.figures.get("ssim_theirs", []))


def _time(seeds: Sequence[Row], rows: Sequence[Row]) -> tuple[float, float, bool]:
    """Milliseconds of both: of a run that only timed, else those of the first seed's attacks themselves."""
    row = seeds[0]
    case = [row.settings.get(name) for name in CASE]
    for other in rows:
        timed = other.settings.get("what") == "time" and row.machine["device"] == other.machine["device"]
        if timed and [other.settings.get(name) for name in CASE] == case:
            return other.figures["ms_ours"], other.figures["ms_theirs"], _busy(other.figures["load"])
    figures = row.figures
    steps, theirs = sum(figures.get("steps_ours", [])), sum(figures.get("steps_theirs", []))
    return (
        1e3 * figures["seconds_ours"] / steps if steps else np.nan,
        1e3 * sum(figures["seconds_theirs"]) / theirs if theirs else np.nan,
        _busy([*figures.get("load_ours", []), *figures.get("load_theirs", [])]),
    )


def _busy(load: Sequence[float]) -> bool:
    """Whether more than the one process that is measured, and half of another, was running."""
    return max(load, default=0.0) > 1.5


def _paper(settings: dict[str, Any]) -> float:
    defense, params = PRINTED.get(settings["model"], ("", ""))
    attack = "ig" if settings["attack"] == "ig" else "ig+ignore"
    lines = paper.table("cvb_tables_viii_to_xii").fillna({"params": ""})
    wanted = {"table": "X", "dataset": settings["images"], "model": "cnn", "attack": attack}
    wanted |= {"defense": defense, "params": params}
    found = lines[np.logical_and.reduce([lines[name] == value for name, value in wanted.items()])]
    return float(found["ssim"].iloc[0]) if len(found) else float("nan")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
