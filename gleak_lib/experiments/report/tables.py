"""Results as pandas tables: rows of ours, the paper's figures beside them, and a form for reading."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gleak_lib.errors import ParameterError, StoreError
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.fields import count, duration
from gleak_lib.experiments.specs.scores import LPIPS
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require
from gleak_lib.metrics import intervals
from gleak_lib.metrics.intervals import MISSING

if TYPE_CHECKING:
    from pandas import DataFrame
    from pandas.io.formats.style import Styler

DIGITS = {"mse": 4, "ssim": 2, "psnr": 2, "lpips": 2, "asr": 1, "loss": 4}
DIGITS |= {"loss_at_truth": 4, "noise_correlation": 2, "stuck": 0, "above_truth": 0}
DIGITS |= {"accuracy": 2, "balanced_accuracy": 2, "auc": 3}
HEADINGS = {
    "above_truth": "above truth %",
    "asr": "ASR %",
    "loss_at_truth": "loss at the truth",
    "noise_correlation": "noise recovered (r)",
    "psnr": "PSNR dB",
    "stuck": "stuck %",
    "accuracy": "accuracy %",
    "balanced_accuracy": "balanced accuracy %",
}
MIDDLES = dict.fromkeys(("loss", "steps", "loss_at_truth"), np.median) | {"noise_correlation": np.mean}
SIZES = {"matched": "entries_matched", "entries": "entries_total", "parameters": "parameters"}
STUCK = 2.0
RANGE = re.compile(r"(?<=\d)–(?=[\d−])")  # a narrow column may break a line before it, and not within


def attack_table(frame: "DataFrame", by: str | Sequence[str] = "label") -> "DataFrame":
    """Return one row per value of `by`: scores as mean and deviation over all images, ASR in percent.

    The 95 % intervals count the images of one batch as found or missed together (`intervals.nested`,
    `intervals.share_of_groups`), and all else as independent, which the same images under several seeds are
    not: there they are too narrow.

    Args:
        frame: of attacks, see `experiments.frame`.
        by: one or several of its columns.

    Returns:
        Columns `by`, attack, dataset, rounds, victims, seeds, ssim, ssim_std, ssim_low, ssim_high, psnr,
        psnr_std, mse, mse_std, lpips, lpips_std (NaN unless all results have it, see `scores.perceptual`),
        asr, asr_low, asr_high, loss, steps (medians), loss_at_truth (median: what the attack's loss is at the
        true images and noise), above_truth and stuck (percent of victims whose loss is above that, and above
        `STUCK` times that) and noise_correlation (mean, of attacks that recover the noise), these four NaN
        where a stored result is older than they are; matched, entries, parameters; ssim_text and asr_text,
        with their intervals.

    Raises:
        StoreError: If the frame has other rows than those of attacks, or none.
    """
    rows = []
    for place, images in _groups(frame, by, "ssim"):
        victims = images.drop_duplicates(["key", "victim"])
        row = {name: common(images[name]) for name in ("attack", "dataset", "rounds")}
        row |= {"victims": len(victims), "seeds": images["key"].nunique()}
        for name in ("ssim", "psnr", "mse", LPIPS):
            known = name in images and (name != LPIPS or images[name].notna().all())
            row[name], row[f"{name}_std"] = mean_std(images[name]) if known else (np.nan, np.nan)
        batch = images.groupby(["key", "victim"]).ngroup().to_numpy()
        row["ssim_low"], row["ssim_high"] = intervals.nested(images["ssim"].to_numpy(float), batch)
        found = images["success"].to_numpy(bool)
        bounds = (found.mean(), *intervals.share_of_groups(found, batch))
        row |= {name: 100 * value for name, value in zip(("asr", "asr_low", "asr_high"), bounds, strict=True)}
        for name, middle in MIDDLES.items():
            row[name] = float(middle(victims[name].to_numpy(float))) if name in victims else np.nan
        row["above_truth"], row["stuck"] = _above_truth(victims, 1.0), _above_truth(victims, STUCK)
        row |= {name: common(images[found]) for name, found in SIZES.items()}
        for name, digits in {"ssim": 2, "asr": 0}.items():
            value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
            row[f"{name}_text"] = intervals.said(value, low, high, digits)
        rows.append(place | row)
    return require("pandas", "metrics").DataFrame(rows)


def _above_truth(victims: "DataFrame", times: float) -> float:
    if "loss_at_truth" not in victims:
        return np.nan
    if 0 in victims.groupby("key")["loss_at_truth"].count().tolist():  # older than that figure
        return np.nan
    return 100 * float((victims["loss"] > times * victims["loss_at_truth"]).mean())


def means(frame: "DataFrame", values: Sequence[str], by: str | Sequence[str]) -> "DataFrame":
    """Return one row per value of the columns `by`: mean `v` and deviation `v_std` of each value.

    Deviations divide by the number of rows (ddof 0).

    Raises:
        StoreError: If the frame lacks a column.
    """
    rows = []
    for place, those in _groups(frame, by, *values):
        for name in values:
            place[name], place[f"{name}_std"] = mean_std(those[name])
        rows.append(place)
    return require("pandas", "metrics").DataFrame(rows)


def training_table(frame: "DataFrame", by: str | Sequence[str] = "label") -> "DataFrame":
    """Return one row per value of `by`: accuracy in percent, mean and deviation over seeds.

    Args:
        frame: of trainings, see `experiments.frame`.
        by: one or several of its columns.

    Returns:
        Columns `by`, dataset, rounds (mean number run), best_round (mean), seeds, accuracy (of the best
        round on the test images), accuracy_std (over the seeds, ddof 0), the same for balanced_accuracy
        (percent) and auc (a share; both NaN where a stored result is older than they are), parameters.

    Raises:
        StoreError: If the frame has other rows than those of trainings, or none.
    """
    rows = []
    for place, seeds in _groups(frame, by, "best_round"):
        row = {"dataset": common(seeds["dataset"]), "rounds": float(np.mean(seeds["rounds_run"]))}
        row |= {"best_round": float(np.mean(seeds["best_round"])), "seeds": len(seeds)}
        for name, unit in {"accuracy": 100, "balanced_accuracy": 100, "auc": 1}.items():
            values = unit * seeds[name].to_numpy(float) if name in seeds else np.array([])
            row[name], std = mean_std(values)
            row[f"{name}_std"] = std if len(seeds) > 1 else np.nan
        rows.append(place | row | {"parameters": common(seeds["parameters"])})
    return require("pandas", "metrics").DataFrame(rows)


def note(results: Iterable[Result], profile: str) -> str:
    """Return the line that belongs under every table: images, victims, weights, seeds, device, time, date.

    The time is that of all experiments one after the other, as they were computed; each counts once.
    """
    found = {result.experiment: result for result in results}
    attacked = [one for one in found if isinstance(one, AttackExperiment)]
    trained = [one for one in found if isinstance(one, TrainingExperiment)]
    parts = [f"profile {profile}", common(one.dataset_name for one in found)]
    if attacked:
        parts.append(f"victims {common(one.victims for one in attacked)}")
        rounds = sorted({one.rounds for one in attacked})
        shown = common(f"after {count(r, 'round')}" if r else "fresh" for r in rounds)
        parts.append(f"attacked weights: {shown}")
    if trained:
        parts.append(f"trained at most rounds {common(one.protocol.rounds for one in trained)}")
    seeds = {one.seed for one in trained}, {(one.training.seed, one.seed) for one in attacked}
    parts.append(count(max(map(len, seeds)), "seed"))
    origins = [result.provenance for result in found.values()]
    parts.append(common(origin.get("device") for origin in origins))
    if known := [origin["seconds"] for origin in origins if origin.get("seconds") is not None]:
        parts.append(f"{len(known)} experiments in {duration(sum(known))}")
    parts.append(common(str(origin.get("date", ""))[:10] for origin in origins))
    return " · ".join(str(part) for part in parts if part)


def show(
    frame: "DataFrame",
    *,
    caption: str = "",
    columns: Mapping[str, str] | Sequence[str] | None = None,
    digits: Mapping[str, int] | None = None,
) -> "Styler":
    """Return a table to be read: no index, mean ± deviation in one cell, an en dash for what is missing.

    Args:
        frame: any of the tables here.
        caption: what it shows; it belongs to say the profile (see `note`).
        columns: which columns, in this order, and what they are called; None shows all. A column `v_std` is
            shown with `v`.
        digits: decimals by column, beyond the usual ones.

    Raises:
        ParameterError: a column that the table lacks.
        MissingDependencyError: jinja2 is not installed.
    """
    require("jinja2", "book")
    headings = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns or frame}
    if lacking := [name for name in headings if name not in frame]:
        raise ParameterError(f"The table lacks {', '.join(lacking)}; it has {', '.join(frame)}.")
    if columns is None:
        headings = {name: _heading(name) for name in headings if not name.endswith("_std")}
    known = DIGITS | dict(digits or {})
    text = {
        heading: [
            _cell(row.get(name), row.get(f"{name}_std"), known.get(_base(name)), name.endswith("_difference"))
            for row in frame.to_dict("records")
        ]
        for name, heading in headings.items()
    }
    numeric = [
        heading
        for name, heading in headings.items()
        if require("pandas", "metrics").api.types.is_numeric_dtype(frame[name])
    ]
    shown = require("pandas", "metrics").DataFrame(text)
    styler = shown.style.hide(axis="index").set_properties(subset=numeric, **{"text-align": "right"})
    content = f"{caption}{list(text)}{numeric}".encode()  # the same name at each run, another for each table
    styler = styler.set_uuid(hashlib.sha256(content).hexdigest()[:8]).set_table_attributes(
        'class="dataframe"'
    )
    return styler.set_caption(caption) if caption else styler


def quote(frame: "DataFrame", column: str, digits: int | None = None, **row: Any) -> str:
    """Return one entry of a table as prose says it, a dash where the table has no such row.

    So a sentence takes its numbers from what it speaks about, at every profile.

    Args:
        frame: any of the tables here.
        column: whose entry.
        digits: decimals; None: the column's usual ones.
        row: values by column that name the row, for instance `label="none"`.

    Raises:
        ParameterError: a column that the table lacks, or several rows that fit.
    """
    if lacking := [name for name in (column, *row) if len(frame) and name not in frame]:
        raise ParameterError(f"The table lacks {', '.join(lacking)}; it has {', '.join(frame)}.")
    found = [line for line in frame.to_dict("records") if all(line[k] == v for k, v in row.items())]
    if len(found) > 1:
        raise ParameterError(f"{len(found)} rows fit {row}: name more columns.")
    digits = DIGITS.get(_base(column)) if digits is None else digits
    return _cell(found[0][column], None, digits, False) if found else MISSING


def _cell(value: Any, std: Any, digits: int | None, signed: bool) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return MISSING
    if isinstance(value, (bool, str)):
        return RANGE.sub("–\u2060", str(value))
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    whole = isinstance(value, (int, np.integer)) or (digits is None and float(value).is_integer())
    form = f"{'+' if signed else ''},{'d' if whole else f'.{2 if digits is None else digits}f'}"
    text = format(int(value) if whole else float(value), form).replace("-", "−")
    spread = isinstance(std, (int, float)) and not np.isnan(std)
    return f"{text}\u00a0±\u00a0{std:.{2 if digits is None else digits}f}" if spread else text


def _base(column: str) -> str:
    for ending in ("_paper", "_difference"):
        column = column.removesuffix(ending)
    return column


def _heading(column: str) -> str:
    base = _base(column)
    name = HEADINGS.get(base)
    name = name or (base.upper() if base in DIGITS and base not in ("loss",) else base.replace("_", " "))
    return name + {"_paper": " (paper)", "_difference": " (difference)"}.get(column[len(base) :], "")


def _groups(frame: "DataFrame", by: str | Sequence[str], *needed: str) -> Iterator[tuple[dict, "DataFrame"]]:
    """Yield the values of `by` and the rows that have them, in the order in which they first come."""
    names = [by] if isinstance(by, str) else list(by)
    lacking = [name for name in (*names, *needed) if name not in frame or frame[name].isna().all()]
    if lacking:
        raise StoreError(f"The frame lacks {', '.join(lacking)}; it has {', '.join(frame) or 'no row'}.")
    for values, rows in frame.groupby(names, sort=False, dropna=False):
        place: dict[str, Any] = dict(zip(names, tuple(values), strict=True))  # type: ignore[arg-type]
        yield place, rows


def mean_std(values: Any) -> tuple[float, float]:
    """Return mean and deviation (ddof 0) of what is not missing."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if not values.size:
        return np.nan, np.nan
    with np.errstate(invalid="ignore"):  # the deviation of an infinite PSNR is NaN
        return float(values.mean()), float(values.std())


def common(values: Iterable[Any]) -> Any:
    """Return the one value of all, or all that there are in one text."""
    found = list(dict.fromkeys(values))
    return found[0] if len(found) == 1 else ", ".join(map(str, found))
