"""Tables and figures of the chapter "Ours beside theirs": every row, its mark, and why ours differs."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gleak_lib.experiments import AttackExperiment, Result, TrainingExperiment, frame, tables
from gleak_lib.extras import require

from gleak_book import paper_rows
from gleak_book.beside import FIGURES, BestResults, PaperRow
from gleak_book.beside_reasons import REASONS
from gleak_book.paper_experiments import (
    DIFFERS,
    DIFFERS_SO_FAR,
    MARKS,
    NO_FIGURE,
    NOT_RUN,
    REPRODUCED,
    Extent,
    attack_extent,
    mark,
    steps,
    training_extent,
)
from gleak_book.paper_rows import NAMES
from gleak_book.source_form import attack_remarks, training_remarks

if TYPE_CHECKING:
    from pandas import DataFrame

UNKNOWN, AS_ABOVE = "not known", "as above"


def table(rows: Sequence[PaperRow], best: BestResults, *, scaling: str = "minmax") -> "DataFrame":
    """Return a line a row of the paper, with the best stored figures beside; NaN where there are none.

    Returns:
        Columns table, dataset, model, attack, defense, setting, label; victims, steps (of the attack; NaN),
        rounds (trained at most), seeds; attack_remark and training_remark (how our images were prepared, if
        not as in the paper's code, see `source_form`); for each v of ssim, asr, accuracy: v, v_std, v_paper,
        v_difference, v_mark (see `paper_experiments.mark`); lpips and lpips_paper.
    """
    lines = []
    for row in rows:
        line: dict[str, Any] = {
            name: getattr(row, name) for name in ("table", "dataset", "model", "attack", "defense", "setting")
        }
        line["label"] = f"{row.dataset}, {paper_rows.MODELS.get(row.model, row.model.upper())}"
        attacked, attack_scale, of_attack = _attacked(row, best, scaling)
        trained, training_scale, of_training = _trained(row, best)
        line |= attack_scale | training_scale
        ours = attacked | trained
        line |= {"lpips": ours.get("lpips", math.nan), "lpips_paper": row.paper.get("lpips", math.nan)}
        extents: dict[str, Extent] = {"ssim": of_attack, "asr": of_attack, "accuracy": of_training}
        for name in FIGURES:
            theirs = row.paper.get(name, math.nan)
            line[name] = ours.get(name, math.nan)
            line[f"{name}_std"] = ours.get(f"{name}_std", math.nan)
            line[f"{name}_paper"] = theirs
            line[f"{name}_difference"] = line[name] - theirs
            line[f"{name}_mark"] = mark(name, line[name], theirs, extents[name])
        lines.append(line)
    return require("pandas", "metrics").DataFrame(lines)


def two_forms(
    rows: Sequence[PaperRow],
    best: BestResults,
    other: Callable[[PaperRow], PaperRow | None],
    names: tuple[str, str],
    *,
    scaling: str = "minmax",
) -> "DataFrame":
    """Return a line a setting that was attacked in two forms at the full protocol, beside the paper.

    A setting that stands in several tables comes once.

    Args:
        rows, best, scaling: as for `table`.
        other: gives a row's other form, None where it has none (`beside.one_channel`, `beside.in_bits`).
        names: of the rows' own form and of the other.

    Returns:
        Columns row; for each v of ssim and asr: v_paper and v with each name; each name, `reproduced` or
        `differs` for SSIM and ASR together.
    """
    pairs = [(row, changed) for row in rows if (changed := other(row))]
    sides = [
        table([pair[place] for pair in pairs], best, scaling=scaling).to_dict("records") for place in (0, 1)
    ]
    lines: dict[str, dict[str, Any]] = {}
    for both in zip(*sides, strict=True):
        fates = dict(zip(names, map(_fate, both), strict=True))
        if set(fates.values()) <= {REPRODUCED, DIFFERS}:
            line: dict[str, Any] = {"row": row_name(both[0])}
            for value in ("ssim", "asr"):
                line[f"{value}_paper"] = both[0][f"{value}_paper"]
                line |= {f"{value}_{name}": one[value] for name, one in zip(names, both, strict=True)}
            lines.setdefault(line["row"], line | fates)
    columns = ["row", *(f"{value}_{of}" for value in ("ssim", "asr") for of in ("paper", *names))]
    return require("pandas", "metrics").DataFrame(list(lines.values()), columns=[*columns, *names])


def core_hours(rows: Sequence[PaperRow], best: BestResults) -> dict[str, float]:
    """Return the core hours of `attacks` and `trainings` that ran at the full protocol, each counted once.

    Hours are seconds by threads, as provenances have them: a core that had other work counts in full.
    """
    attacks = {row.attacked: best.attacks.get(row.attacked) for row in rows if row.attacked}
    trainings = {row.trained: best.trainings.get(row.trained, ()) for row in rows if row.trained}
    found: dict[str, list[Result]] = {"attacks": [], "trainings": []}
    for result in filter(None, attacks.values()):
        assert isinstance(result.experiment, AttackExperiment)
        if attack_extent(result.experiment) == "full":
            found["attacks"].append(result)
    for seeds in filter(None, trainings.values()):
        experiment = seeds[0].experiment
        assert isinstance(experiment, TrainingExperiment)
        if training_extent(experiment.protocol.rounds, len(seeds)) == "full":
            found["trainings"] += seeds
    return {
        name: sum(one.provenance["seconds"] * one.provenance["threads"] for one in results) / 3600
        for name, results in found.items()
    }


def full_trainings(frame: "DataFrame") -> "DataFrame":
    """Return a line an accuracy of the full protocol; a training that stands in several tables comes once.

    Args:
        frame: of `table`.

    Returns:
        Columns row, accuracy, accuracy_std, accuracy_paper, accuracy_difference, accuracy_mark.
    """
    lines = {
        row_name(line | {"attack": ""}): line
        for line in frame.to_dict("records")
        if line["accuracy_mark"] in (REPRODUCED, DIFFERS)
    }
    columns = [f"accuracy{of}" for of in ("", "_std", "_paper", "_difference", "_mark")]
    found = [{"row": name} | {column: line[column] for column in columns} for name, line in lines.items()]
    return require("pandas", "metrics").DataFrame(found, columns=["row", *columns])


def counts(frame: "DataFrame") -> "DataFrame":
    """Return by table its rows and how many of their figures have which mark; the last line is all tables."""
    names = list(dict.fromkeys(frame["table"]))
    parts = [(name, frame[frame["table"] == name]) for name in names] + [("all", frame)]
    lines = []
    for name, part in parts:
        marks = [m for figure in FIGURES for m in part[f"{figure}_mark"] if m != NO_FIGURE]
        found = {m: marks.count(m) for m in MARKS}
        lines.append({"table": name, "rows": len(part), "figures": len(marks)} | found)
    return require("pandas", "metrics").DataFrame(lines)


def reproduced(frame: "DataFrame") -> "DataFrame":
    """Return the lines of `table` whose attacks are reproduced, see `attack_counts`."""
    return frame.loc[[_fate(line) == REPRODUCED for line in frame.to_dict("records")]]


def differences(frame: "DataFrame") -> "DataFrame":
    """Return a line a figure that differs, at full or reduced scale, with what is known of why.

    Where that is the same as in the line before, it says so.
    """
    lines, before = [], ""
    for line in frame.to_dict("records"):
        for name in FIGURES:
            if line[f"{name}_mark"] in (DIFFERS, DIFFERS_SO_FAR):
                known = " ".join(reason.text for reason in REASONS if reason.fits(name, line)) or UNKNOWN
                lines.append(
                    {
                        "table": line["table"],
                        "row": row_name(line),
                        "figure": tables.HEADINGS.get(name, name.upper()),
                        "ours": line[name],
                        "paper": line[f"{name}_paper"],
                        "why": AS_ABOVE if known == before != UNKNOWN else known,
                    }
                )
                before = known
    columns = ["table", "row", "figure", "ours", "paper", "why"]
    return require("pandas", "metrics").DataFrame(lines, columns=columns)


def row_name(line: dict[str, Any]) -> str:
    """Return one text for a row: images, model, defense, attack, setting."""
    parts = (line["label"], NAMES[line["defense"]], line["attack"], line["setting"])
    return ", ".join(part for part in parts if part and part != "–")


def attack_counts(frame: "DataFrame") -> "DataFrame":
    """Return by table how many rows report an attack, and what became of them; the last line is all tables.

    A row is reproduced if all its privacy figures (SSIM and ASR, as far as it has them) are.

    Returns:
        Columns table, rows, full (run at the full protocol), reproduced, differs, smaller (run at a smaller
        scale), missing (not run).
    """
    names = list(dict.fromkeys(frame["table"]))
    parts = [(name, frame.loc[frame["table"] == name]) for name in names] + [("all", frame)]
    lines = []
    for name, part in parts:
        fates = [_fate(line) for line in part.to_dict("records")]
        fates = [fate for fate in fates if fate]
        found = {fate: fates.count(fate) for fate in (REPRODUCED, DIFFERS, "smaller", "missing")}
        full = found[REPRODUCED] + found[DIFFERS]
        lines.append({"table": name, "rows": len(fates), "full": full} | found)
    return require("pandas", "metrics").DataFrame(lines)


def _fate(line: dict[str, Any]) -> str:
    """What became of a row's attack; nothing where it reports none."""
    marks = {line[f"{name}_mark"] for name in ("ssim", "asr")} - {NO_FIGURE}
    if not marks:
        return ""
    if NOT_RUN in marks:
        return "missing"
    if not marks <= {REPRODUCED, DIFFERS}:
        return "smaller"
    return DIFFERS if DIFFERS in marks else REPRODUCED


Found = tuple[dict[str, float], dict[str, Any], Extent]


def _attacked(row: PaperRow, best: BestResults, scaling: str) -> Found:
    result = best.attacks.get(row.attacked) if row.attacked else None
    if result is None:
        return {}, {"victims": np.nan, "steps": np.nan, "attack_remark": ""}, "less"
    experiment = result.experiment
    assert isinstance(experiment, AttackExperiment)
    scale: dict[str, Any] = {"victims": experiment.victims, "steps": steps(experiment.attack)}
    scale["attack_remark"] = ", ".join(attack_remarks(experiment))
    found = tables.attack_table(frame([result], scaling=scaling), "kind").iloc[0].to_dict()
    return found, scale, attack_extent(experiment)


def _trained(row: PaperRow, best: BestResults) -> Found:
    results = best.trainings.get(row.trained, ()) if row.trained else ()
    if not results:
        return {}, {"rounds": np.nan, "seeds": np.nan, "training_remark": ""}, "less"
    experiment = results[0].experiment
    assert isinstance(experiment, TrainingExperiment)
    rounds, seeds = experiment.protocol.rounds, len(results)
    scale: dict[str, Any] = {"rounds": rounds, "seeds": seeds}
    scale["training_remark"] = ", ".join(training_remarks(experiment))
    return (
        tables.training_table(frame(results), "kind").iloc[0].to_dict(),
        scale,
        training_extent(rounds, seeds),
    )
