"""The authors' released attack beside ours, from the stored rows of `benchmarks/parity.py`.

A row's end compares the SSIM of the same victims, both scored by our metric. So a difference from a paper's
table can be told apart from a difference from its code.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gleak_lib.experiments import intervals, paths
from gleak_lib.extras import require

from gleak_book import paper
from gleak_book.benchmark_rows import BENCHMARKS, Row, latest, read

if TYPE_CHECKING:
    from pandas import DataFrame

BENCHMARK = "parity"
FEWEST = 16  # victims from which a row's two means are compared
CLOSE = 0.05  # SSIM within which a mean is a table's, as everywhere in the chapter
LEVEL = 0.05  # of the test
CASE = ("images", "model", "attack", "tv")
PRINTED = {  # network -> defense and settings as in the paper's Table X
    "cnn": ("none", ""),
    "cnn + CVB(1, 5)": ("cvb", "P=1;k=5;s=1/2;beta=1e-1"),
    "cnn + PRECODE(1, 8)": ("precode", "P=1;K=8"),
}
NAMES = {"ig": "IG", "ignore": "Ignore"}
SETS = {"cifar10": "CIFAR-10", "mnist": "MNIST"}
COLUMNS = ("images", "model", "attack", "victims", "ssim", "ssim_theirs", "ssim_paper")
COLUMNS += ("difference", "low", "high", "p", "apart", "ms", "ms_theirs", "busy")


def stored() -> list[Row]:
    """Return the rows that were stored, on all machines."""
    return latest(row for row in read(paths.results_folder("cpu") / BENCHMARKS) if row.benchmark == BENCHMARK)


def table(rows: Sequence[Row]) -> "DataFrame":
    """Return a line a row that has begun, in the order in which they are run.

    Args:
        rows: of one machine or several; of the same case the one with most victims counts.

    Returns:
        Columns images, model, attack (with its weight of the total variation), victims (that both sides have
        finished), ssim and ssim_theirs (means over these), ssim_paper (Table X, NaN where it has none),
        difference with the ends low and high of its paired 95 % interval, p (Wilcoxon's signed ranks, two
        sides), apart (the largest difference of the first losses), ms and ms_theirs (a victim's step), busy
        (whether the machine had more to do at the time).
    """
    best: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        case = tuple(row.settings.get(name) for name in CASE)
        if row.settings.get("what") == "end" and (case not in best or _pairs(row) > _pairs(best[case])):
            best[case] = row
    lines = [_line(row, _time(row, rows)) for row in best.values()]
    return require("pandas", "metrics").DataFrame(lines, columns=list(COLUMNS))


def shown(frame: "DataFrame") -> "DataFrame":
    """Return `table` as it is read, of the rows with enough victims.

    Returns:
        Columns images, model, attack, ssim, ssim_theirs, difference (with its interval, then p), ms (ours and
        theirs, a star where the machine was busy).
    """
    columns = ["images", "model", "attack", "ssim", "ssim_theirs", "difference", "ms"]
    lines = []
    for line in _done(frame):
        interval = f"({_signed(line['low'])} to {_signed(line['high'])})"
        difference = f"{_signed(line['difference'])} {interval}, {line['p']:.2f}"
        ms = f"{line['ms']:.1f} / {line['ms_theirs']:.1f}{'*' if line['busy'] else ''}"
        lines.append({name: line[name] for name in columns} | {"difference": difference, "ms": ms})
    return require("pandas", "metrics").DataFrame(lines, columns=columns)


def caption(frame: "DataFrame") -> str:
    """Return what `shown` shows, in a sentence or two."""
    done = _done(frame)
    if not done:
        return f"The authors' attack beside ours: no row has {FEWEST} victims yet."
    text = (
        "The authors' attack beside ours on freshly initialized weights: mean SSIM over the same "
        f"{_victims(done)} victims a row, min-max scaled, up to 20,000 steps with the released stop rule; "
        "the paired difference with its 95 % interval and the p of Wilcoxon's signed-rank test."
    )
    busy = any(line["busy"] for line in done)
    return text + (" A star: the machine had other work at the time, which slows both." if busy else "")


def report(frame: "DataFrame") -> str:
    """Return in words, as Markdown, what `table` says: the start, the end, and where a table differs."""
    begun = [line for line in frame.to_dict("records") if not np.isnan(line["apart"])]
    if not begun:
        return "The authors' code has not been run beside ours yet."
    done = _done(frame)
    apart = max(line["apart"] for line in begun)
    text = [
        "**The start.** In double precision and with the same noise, the first 25 losses of ours and theirs "
        f"are at most {_power(apart)} apart (absolute), in {_rows(len(begun))}.",
        _end(done),
    ]
    against = [f"- {_against_paper(line)}" for line in done if not np.isnan(line["ssim_paper"])]
    if against:
        text.append(f"**The paper's table** (X; within {CLOSE:g} counts as the same):")
        text.append("\n".join(against))
    waiting = [f"{_name(line)} ({line['victims']})" for line in begun if line["victims"] < FEWEST]
    if waiting:
        text.append(f"Begun, with fewer than {FEWEST} victims so far: {'; '.join(waiting)}.")
    return "\n\n".join(text)


def hardware(rows: Sequence[Row]) -> str:
    """Return the line under the table: machines, days, our code and theirs."""
    lines = []
    for row in rows:
        where = f"{machine(row)}, torch {row.machine.get('torch')}"
        peers = row.machine.get("peers") or {}
        theirs = ", ".join(f"{name} {str(commit)[:12]}" for name, commit in peers.items())
        ours = " to ".join(str(row.machine[name]) for name in ("begun", "commit") if row.machine.get(name))
        lines.append(f"{where}, {str(row.machine['date'])[:10]}; ours {ours}, {theirs}")
    return "Run on: " + ("; ".join(dict.fromkeys(lines)) + "." if lines else "nothing yet.")


def machine(row: Row) -> str:
    """Return a machine's name: the device, on a CPU with its threads."""
    threads = row.machine["threads"]
    cores = "1 thread" if threads == 1 else f"{threads} threads"
    return f"{row.machine['device']}, {cores}" if row.machine["kind"] == "cpu" else row.machine["device"]


def _line(row: Row, time: tuple[float, float, bool]) -> dict[str, Any]:
    figures, settings = row.figures, row.settings
    theirs = np.array(figures.get("ssim_theirs", []), dtype=float)
    ours = np.array(figures.get("ssim_ours", []), dtype=float)[: len(theirs)]
    difference = ours - theirs
    low, high = intervals.mean(difference) if len(difference) else (np.nan, np.nan)
    return {
        "images": SETS.get(settings["images"], settings["images"]),
        "model": settings["model"],
        "attack": f"{NAMES.get(settings['attack'], settings['attack'])}, λ {settings['tv']:g}",
        "victims": len(theirs),
        "ssim": ours.mean() if len(ours) else np.nan,
        "ssim_theirs": theirs.mean() if len(theirs) else np.nan,
        "ssim_paper": _paper(settings),
        "difference": difference.mean() if len(difference) else np.nan,
        "low": low,
        "high": high,
        "p": wilcoxon(difference),
        "apart": figures.get("apart", np.nan),
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


def _time(row: Row, rows: Sequence[Row]) -> tuple[float, float, bool]:
    """Milliseconds of both: of a run that only timed, else those of the attacks themselves."""
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


def _end(done: list[dict[Any, Any]]) -> str:
    if not done:
        return f"**The end.** No row has {FEWEST} victims yet."
    most, least = max(abs(line["difference"]) for line in done), min(line["p"] for line in done)
    text = (
        f"**The end.** With {_victims(done)} victims a row, the mean SSIM of ours and theirs is at most "
        f"{most:.3f} apart, and the smallest p of {_rows(len(done))} is {least:.2f} (Wilcoxon's signed ranks "
        "over the same victims)"
    )
    apart = [_name(line) for line in done if line["p"] < LEVEL]
    if not apart:
        return text + ": no row tells ours from theirs."
    chance = f"by chance alone {LEVEL * len(done):.1f} of {len(done)} would be"
    return text + f". Below {LEVEL:g}: {'; '.join(apart)}; {chance}."


def _against_paper(line: dict[Any, Any]) -> str:
    """Say whether the paper's table is what its code gives."""
    ours, theirs, printed = line["ssim"], line["ssim_theirs"], line["ssim_paper"]
    text = f"{_name(line)}: the authors' code gives {theirs:.2f}, ours {ours:.2f}, the paper's table says "
    text += f"{printed:.2f}. "
    if abs(theirs - printed) <= CLOSE:
        return text + "The code gives the table's figure."
    if abs(ours - theirs) <= CLOSE:
        return text + "So it is the authors' own code that differs from the table, and ours does as it does."
    return text + "The code gives neither the table's figure nor ours."


def _done(frame: "DataFrame") -> list[dict[Any, Any]]:
    """The rows with enough victims."""
    return [line for line in frame.to_dict("records") if line["victims"] >= FEWEST]


def _victims(lines: list[dict[Any, Any]]) -> str:
    counts = sorted({line["victims"] for line in lines})
    return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))


def _name(line: dict[Any, Any]) -> str:
    return f"{line['images']}, {line['model']}, {line['attack']}"


def _rows(count: int) -> str:
    return "one row" if count == 1 else f"{count} rows"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _power(value: float) -> str:
    """Return a number with a power of ten."""
    if value == 0:
        return "0"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} · 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
