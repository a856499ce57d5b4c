"""Tables and figures of the chapter "Attacks and defenses side by side", ours beside 001 Table X."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gleak_lib.client_setup import differences
from gleak_lib.experiments import frame, tables
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require

from gleak_book import defenses, paper_cells
from gleak_book.paper_rows import NAMES, Row

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

Results = Mapping[Cell, Result]

PRIVACY_COLUMNS = {
    "dataset": "images",
    "label": "defense",
    "ssim": "SSIM",
    "ssim_paper": "paper's SSIM",
    "ssim_mark": "SSIM is",
    "asr": "ASR %",
    "asr_paper": "paper's ASR %",
    "asr_mark": "ASR is",
    "lpips": "LPIPS",
    "lpips_paper": "paper's LPIPS",
}
UTILITY_COLUMNS = {
    "dataset": "images",
    "label": "defense",
    "accuracy": "accuracy %",
    "gain": "against no defense",
    "accuracy_paper": "paper's accuracy %",
    "gain_paper": "against no defense (paper)",
    "epsilon": "ε",
}
COST_COLUMNS = {
    "label": "defense",
    "parameters": "parameters",
    "kilobytes": "kB a gradient",
    "relative_bytes": "times no defense",
    "seconds": "s a round",
    "relative_seconds": "times no defense ",  # two columns of one heading need two names
}


def table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return Table X: a line an image set and setting, as far as we or the paper have figures for it.

    Returns:
        What `paper_cells.table` gives, `family` (the kind of defense), `gain` and `gain_paper` (accuracy
        minus that without defense, points), and `epsilon` as a text (the largest of the clients', of the
        first seed; empty where nothing is private).
    """
    others = {name: value for name, value in parameters.items() if name != "dataset"}
    scale = defenses.scale_of(parameters)
    frames = []
    for dataset in parameters["datasets"]:
        rows = defenses.lines(dataset, **others)
        frame = paper_cells.table(rows, scale, results, scaling=parameters["scaling"])
        for name in ("accuracy", "accuracy_paper"):
            frame[name.replace("accuracy", "gain")] = frame[name] - frame[name].iloc[0]
        frame["family"] = [NAMES[row.defense] for row in rows]
        frame["epsilon"] = [_epsilon(row, parameters, results) for row in rows]
        frames.append(frame)
    frame = require("pandas", "metrics").concat(frames)
    return frame.loc[frame["ssim"].notna() | frame["ssim_paper"].notna()].reset_index(drop=True)


def tradeoff(parameters: Mapping[str, Any], results: Results, value: str = "ssim") -> "DataFrame":
    """Return what `plots.tradeoff` takes: accuracy gained and the attack's `value`, ours and theirs.

    Settings are named by what changes within their kind of defense.

    Args:
        parameters, results: of the chapter.
        value: `ssim` or `asr`.
    """
    lines = []
    for _, lines_of in table(parameters, results).groupby(["dataset", "family"], sort=False):
        for line, text in zip(lines_of.to_dict("records"), differences(lines_of["setting"]), strict=True):
            for row, ending in ((f"ours ({parameters['profile']})", ""), ("paper", "_paper")):
                place = {"row": row, "column": line["dataset"], "family": line["family"], "setting": text}
                lines.append(place | {"x": line[f"gain{ending}"], "y": line[f"{value}{ending}"]})
    found = require("pandas", "metrics").DataFrame(lines)
    return found.loc[found.groupby("row")["y"].transform("count") > 0].reset_index(drop=True)


def attack_table(parameters: Mapping[str, Any], results: Results, value: str) -> "DataFrame":
    """Return a line a defense and a column an attack, of one score.

    Args:
        parameters, results: of the chapter.
        value: `ssim` or `asr`.

    Returns:
        Columns label and the attacks' names, with `<name>_std` for SSIM; NaN where an attack makes no sense.
    """
    lines: dict[Row, dict[str, Any]] = {}
    for (row, name), cell in defenses.matrix(**parameters).items():
        scores = tables.attack_table(frame([results[cell]], scaling=parameters["scaling"]), "kind").iloc[0]
        line = lines.setdefault(row, {"label": row.label})
        line[name] = scores[value]
        if f"{value}_std" in scores:
            line[f"{name}_std"] = scores[f"{value}_std"]
    return require("pandas", "metrics").DataFrame(list(lines.values()))


def attack_columns(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the headings of `attack_table` in order."""
    names = dict.fromkeys(name for _, name in defenses.matrix(**parameters))
    return {"label": "defense"} | {name: name for name in names}


def cost_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a line a defense: what a client sends and how long a round took, also relative to no defense.

    Returns:
        Columns label, parameters, kilobytes (a gradient), seconds (a round: all clients one after another and
        the evaluation, of the first seed), relative_bytes, relative_seconds.
    """
    scale = defenses.scale_of(parameters)
    lines = []
    for row in _computed(parameters):
        figures = results[defenses.cost(row, parameters)].figures
        trained = results[paper_cells.training(row, scale, scale.seed)]
        lines.append(
            {
                "label": row.label,
                "parameters": figures["parameters"],
                "kilobytes": figures["bytes"] / 1000,
                "seconds": trained.provenance["seconds"] / max(1, trained.figures["rounds"]),
            }
        )
    frame = require("pandas", "metrics").DataFrame(lines)
    for name, source in (("relative_bytes", "kilobytes"), ("relative_seconds", "seconds")):
        frame[name] = frame[source] / frame[source].iloc[0]
    return frame


def pictures(parameters: Mapping[str, Any], results: Results) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals, and the reconstructions at the ends of every family of settings."""
    scale = defenses.scale_of(parameters)
    families: dict[str, list[Row]] = {}
    for row in _computed(parameters):
        families.setdefault(row.defense, []).append(row)
    ends = dict.fromkeys(row for rows in families.values() for row in (rows[0], rows[-1]))
    found = {row.label: results[paper_cells.attack(row, scale)] for row in ends}
    originals = next(iter(found.values())).images("truth")
    return originals, {label: result.images("reconstruction") for label, result in found.items()}


def caption(parameters: Mapping[str, Any], what: str, dataset: str | None = None) -> str:
    """Return what belongs above a table of all image sets, or of one; see `paper_cells.caption`."""
    chapter = {**parameters, "datasets": [dataset] if dataset else parameters["datasets"]}
    return paper_cells.caption(defenses.scale_of(parameters), chapter, what)


def cost_caption(parameters: Mapping[str, Any], results: Results) -> str:
    """Return what belongs above `cost_table`, the device included."""
    scale = defenses.scale_of(parameters)
    trained = [results[paper_cells.training(row, scale, scale.seed)] for row in _computed(parameters)]
    devices = ", ".join(dict.fromkeys(str(r.provenance.get("device")) for r in trained))
    return (
        f"Profile {parameters['profile']}, {parameters['dataset']}: one gradient of a batch of 64 images; "
        f"rounds measured on {devices}, single runs that may have shared the machine with others."
    )


def _computed(parameters: Mapping[str, Any]) -> list[Row]:
    return defenses.computed(**parameters)


def _epsilon(row: Row, parameters: Mapping[str, Any], results: Results) -> str:
    """Epsilon of a row's training with three digits, nothing where there is none."""
    scale = defenses.scale_of(parameters)
    found = results.get(paper_cells.training(row, scale, scale.seed))
    epsilon = None if found is None else found.figures.get("epsilon")
    return "" if epsilon is None else f"{max(epsilon):,.3g}"
