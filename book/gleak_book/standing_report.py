"""Tables and figures of the chapter "What stands"."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from gleak_lib import attacks as engine
from gleak_lib.client_setup import differences
from gleak_lib.errors import unknown
from gleak_lib.experiments import intervals, tables
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require
from gleak_lib.metrics.success import SUCCESSFUL

from gleak_book import standing
from gleak_book.standing import PUBLISHED, Entry

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

Results = Mapping[Cell, Result]
FAMILIES = {
    "none": "none",
    "DP": "DP",
    "compression": "compression",
    "batch": "batches",
    "PRECODE": "PRECODE",
    "CVB": "CVB",
}
SCALES = ("DP", "compression", "batches")  # families whose settings are steps of one scale
OTHERS, COMBINED = "other changes of the gradient", "combined"
CAPTIONS = ("fresh", "trained", "utility")
ENDS = {"value": "", "low": "_low", "high": "_high"}
PARTS = ("ssim", "asr", "asr_low", "asr_high", "text")
SHOWN = {"published": "under IG or Ignore", "best": "under the best attack"}


class Outcome(NamedTuple):
    """What one attack found on all models: a value an image each."""

    ssim: np.ndarray
    distance: np.ndarray  # of the gradient, what the attacker sees


class Verdict(NamedTuple):
    """The attacks on one protection, compared.

    Attributes:
        published: SSIM under the attack that the papers report.
        name, best: the attack with the largest mean SSIM, and its SSIM.
        chosen: SSIM if the attacker believes, image by image, the attack whose gradient is nearest.
    """

    published: np.ndarray
    name: str
    best: np.ndarray
    chosen: np.ndarray


COLUMNS = [
    *("label", "family", "setting", "attack"),
    *(f"{name}_{part}" for name in Verdict._fields if name != "name" for part in PARTS),
]


def verdict(attacks: Mapping[str, Sequence[AttackCell]], results: Results, scaling: str) -> Verdict:
    """Return what the strongest attack on a protection finds, and what an attacker would believe."""
    found = {name: _outcome([results[cell] for cell in cells], scaling) for name, cells in attacks.items()}
    best = max(found, key=lambda name: float(found[name].ssim.mean()))
    nearest = engine.best([torch.from_numpy(one.distance) for one in found.values()]).numpy()
    chosen = np.stack([one.ssim for one in found.values()])[nearest, np.arange(len(nearest))]
    return Verdict(found[PUBLISHED].ssim, best, found[best].ssim, chosen)


def table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a line a protection: what leaks of fresh weights, utility, and cost.

    Returns:
        label, family, setting; the columns of `_leak` for fresh weights; accuracy (percent, mean over the
        models, `_std`), gain (points against no protection, model by model), epsilon (text), kilobytes (of a
        gradient), seconds (of a round), and both relative to no protection; NaN where nothing was trained.
    """
    lines = []
    for entry in standing.entries(parameters):
        line = _about(entry) | _leak(verdict(entry.fresh, results, parameters["scaling"]))
        trained = [results[cell] for cell in entry.trainings] if entry.utility else []
        known = [np.nan if (a := r.figures["accuracy"]) is None else a for r in trained]
        accuracy = 100 * np.array(known or [np.nan] * parameters["seeds"])
        sent = results[standing.traffic(entry, parameters)].figures
        seconds = [r.provenance["seconds"] / max(1, r.figures["rounds"]) for r in trained]
        line |= {
            "accuracies": accuracy,
            "accuracy": float(accuracy.mean()),
            "accuracy_std": float(accuracy.std()),
            "epsilon": _epsilon(trained),
            "kilobytes": sent["bytes"] / 1000,
            "seconds": float(np.median(seconds)) if seconds else np.nan,
        }
        lines.append(line)
    frame = require("pandas", "metrics").DataFrame(lines)
    without = frame["accuracies"].iloc[0]
    frame["gain"] = [float((a - without).mean()) for a in frame["accuracies"]]
    frame["gain_std"] = [float((a - without).std()) for a in frame["accuracies"]]
    for name in ("kilobytes", "seconds"):
        frame[f"relative_{name}"] = frame[name] / frame[name].iloc[0]
    return frame.drop(columns="accuracies")


def trained_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a line a protection whose trained weights are attacked: label and the columns of `_leak`."""
    lines = [
        _about(entry) | _leak(verdict(entry.trained, results, parameters["scaling"]))
        for entry in standing.entries(parameters)
        if entry.trained
    ]
    return require("pandas", "metrics").DataFrame(lines, columns=COLUMNS)


def attacks_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return mean SSIM on fresh weights: a line a protection, a column an attack; NaN where not tried."""
    lines = []
    for entry in standing.entries(parameters):
        found = {
            n: _outcome([results[c] for c in cells], parameters["scaling"])
            for n, cells in entry.fresh.items()
        }
        lines.append({"label": entry.label} | {name: float(one.ssim.mean()) for name, one in found.items()})
    return require("pandas", "metrics").DataFrame(lines)


def for_plot(frame: "DataFrame") -> "DataFrame":
    """Return the columns that `plots.intervals` takes: success under the published and the best attack."""
    lines = []
    for line in frame.to_dict("records"):
        for name, method in SHOWN.items():
            values = {part: line[f"{name}_asr{end}"] for part, end in ENDS.items()}
            lines.append({"label": line["label"], "method": method} | values)
    return require("pandas", "metrics").DataFrame(lines)


def tradeoff(parameters: Mapping[str, Any], frame: "DataFrame") -> "DataFrame":
    """Return what `plots.tradeoff` takes: accuracy gained against SSIM, under both attacks.

    Settings are named by what not all of their family have in common.

    Args:
        parameters: of the chapter.
        frame: from `table`.
    """
    frame = frame.assign(joined=frame["family"].isin(SCALES))
    for family, lines in frame.groupby("family"):
        if len(lines) > 1:
            separator = " + " if family == COMBINED else ", "
            frame.loc[lines.index, "setting"] = differences(lines["setting"], separator)
    columns = ["family", "setting", "joined", "gain"]
    parts = [
        frame[[*columns, f"{name}_ssim"]]
        .set_axis([*columns[:-1], "x", "y"], axis="columns")
        .assign(row=method, column=parameters["dataset"])
        for name, method in SHOWN.items()
    ]
    return require("pandas", "metrics").concat(parts, ignore_index=True)


def pictures(
    parameters: Mapping[str, Any], results: Results, number: int = 0
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals of model `number`, and what the best attack made of each protection.

    Protections by batches are left out: their victims stand in another order.
    """
    found = {}
    for entry in standing.entries(parameters):
        if entry.protection.batch_size == 1:
            name = verdict(entry.fresh, results, parameters["scaling"]).name
            found[entry.label] = results[entry.fresh[name][number]]
    originals = next(iter(found.values())).images("truth")
    return originals, {label: result.images("reconstruction") for label, result in found.items()}


def caption(parameters: Mapping[str, Any], what: str) -> str:
    """Return what belongs above a table: profile, victims, models, weights.

    Args:
        parameters: of the chapter.
        what: `fresh` or `trained` (the attacks on these weights), or `utility` (the trainings).

    Raises:
        UnknownNameError: neither of them.
    """
    if what not in CAPTIONS:
        raise unknown("kind of caption", what, CAPTIONS)
    models, victims = parameters["seeds"], parameters["victims"]
    about = f"Profile {parameters['profile']}, {parameters['dataset']}"
    if what == "utility":
        return f"{about}: {models} trainings each, {parameters['training_rounds']} rounds at most."
    weights = "fresh weights" if what == "fresh" else f"weights after {parameters['training_rounds']} rounds"
    return (
        f"{about}: {victims * models} images on {models} models, {weights}, {parameters['steps']:,} steps. "
        "In brackets 95 % intervals over the images."
    )


def _leak(found: Verdict) -> dict[str, Any]:
    """Return a verdict's scores: `published`, `best` and `chosen`, each with `_ssim`, `_asr` and so on."""
    line: dict[str, Any] = {"attack": found.name}
    for name in ("published", "best", "chosen"):
        values: np.ndarray = getattr(found, name)
        hits = int((values >= SUCCESSFUL).sum())
        low, high = (100 * bound for bound in intervals.share(hits, len(values)))
        asr = 100 * hits / len(values)
        line |= {f"{name}_ssim": float(values.mean()), f"{name}_asr": asr}
        line |= {f"{name}_asr_low": low, f"{name}_asr_high": high}
        line[f"{name}_text"] = intervals.said(asr, low, high)
    return line


def _outcome(results: Sequence[Result], scaling: str) -> Outcome:
    ssim, distance = [], []
    for result in results:
        cell: Any = result.cell
        ssim.append(np.array(result.figures["scores"][scaling]["ssim"], dtype=float))
        known = [np.nan if d is None else d for d in result.figures["gradient_distance"]]
        distance.append(np.repeat(np.array(known, dtype=float), cell.batch_size))
    return Outcome(np.concatenate(ssim), np.concatenate(distance))


def _about(entry: Entry) -> dict[str, str]:
    name, _, more = entry.label.partition(" ")
    family = COMBINED if " + " in more else FAMILIES.get(name, OTHERS)
    setting = entry.label if family in (OTHERS, COMBINED) else more
    return {"label": entry.label, "family": family, "setting": setting}


def _epsilon(trained: Sequence[Result]) -> str:
    """Largest epsilon of all clients and models with three digits, nothing where there is none."""
    found = [max(r.figures["epsilon"]) for r in trained if r.figures.get("epsilon") is not None]
    return f"{max(found):,.3g}" if found else tables.MISSING
