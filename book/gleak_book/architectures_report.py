"""Tables and figures of the chapter "Other architectures", ours beside 001 Tables V and XI."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gleak_lib.experiments import frame, tables
from gleak_lib.extras import require

from gleak_book import architectures, paper, paper_cells
from gleak_book.architectures import TITLES, Setting
from gleak_book.paper_cells import Results

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor


def scores_table(parameters: Mapping[str, Any], results: Results, dataset: str) -> "DataFrame":
    """Return a row a model and defense on one image set, ours with the figures of Table XI.

    Accuracies of models that are not trained at this scale are missing.
    """
    pandas = require("pandas", "metrics")
    chosen = _of(parameters, dataset)
    frames = [
        paper_cells.table([row], scale, results, scaling=parameters["scaling"]) for row, scale in chosen
    ]
    table = pandas.concat(frames, ignore_index=True)
    table["label"] = [setting.label for setting in chosen]
    table["rounds"] = table["rounds"].replace(0, np.nan)
    table["steps"] = [scale.steps for _, scale in chosen]
    return table


def two_tables(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return the rows for which Tables V and XI disagree, each beside ours where that image set was run."""
    theirs = paper.table("cvb_table_v")
    own = {
        (setting.row.dataset, setting.row.model, setting.row.defense): line
        for dataset in parameters["datasets"]
        for setting, line in zip(
            _of(parameters, dataset), _lines(scores_table(parameters, results, dataset)), strict=True
        )
    }
    rows = []
    for line in theirs.to_dict("records"):
        key = (line["dataset"], line["model"], line["defense"])
        row = {r.defense: r for r in architectures.rows(*key[:2])}[key[2]]
        if any(abs(row.paper[name] - line[name]) > 1e-9 for name in ("ssim", "asr")):
            ours = own.get(key, {})
            rows.append(
                {
                    "label": f"{TITLES[key[1]]}, {'CVB' if key[2] == 'cvb' else 'none'}, {key[0]}",
                    "ssim_v": line["ssim"],
                    "ssim_xi": row.paper["ssim"],
                    "ssim": ours.get("ssim", np.nan),
                    "asr_v": line["asr"],
                    "asr_xi": row.paper["asr"],
                    "asr": ours.get("asr", np.nan),
                }
            )
    return require("pandas", "metrics").DataFrame(rows)


def matched_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return by model what Ignore matches of the last image set's CVB model: entries, all, their share."""
    rows = []
    for row, scale in _of(parameters, parameters["datasets"][-1]):
        if row.defense == "cvb":
            figures = results[paper_cells.attack(row, scale)].figures
            matched, entries = figures["entries_matched"], figures["entries_total"]
            rows.append(
                {
                    "label": TITLES[row.model],
                    "matched": matched,
                    "entries": entries,
                    "share": 100 * matched / entries,
                }
            )
    return require("pandas", "metrics").DataFrame(rows)


def prior_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a model and weight of the prior: scores of IG without bottleneck on the last image set."""
    tried = architectures.priors(**parameters)
    found = {f"{model}, {tv:g}": results[cell] for (model, tv), cell in tried.items()}
    table = tables.attack_table(frame(found, scaling=parameters["scaling"]))
    table["model"] = [TITLES[model] for model, _ in tried]
    table["tv"] = [f"{tv:g}" for _, tv in tried]
    paper = {
        model: architectures.rows(parameters["datasets"][-1], model)[0].paper
        for model in parameters["models"]
    }
    for name in ("ssim", "asr"):
        table[f"{name}_paper"] = [paper[model].get(name, np.nan) for model, _ in tried]
    return table


def tradeoff(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return ours and the paper's models for `plots.utility` (Fig. 11a)."""
    lines = []
    for dataset in parameters["datasets"]:
        table = scores_table(parameters, results, dataset)
        for setting, line in zip(_of(parameters, dataset), _lines(table), strict=True):
            about = {
                "dataset": dataset,
                "model": TITLES[setting.row.model],
                "defended": setting.row.defense != "none",
            }
            for panel, ending in (("ours", ""), ("paper", "_paper")):
                values = {name: line[f"{name}{ending}"] for name in ("ssim", "accuracy")}
                lines.append({"panel": panel, **about, **values})
    frame = require("pandas", "metrics").DataFrame(lines)
    return frame.sort_values("panel", kind="stable", ignore_index=True)


def pictures(
    parameters: Mapping[str, Any], results: Results, dataset: str
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the originals that all models were attacked with, and what was found behind each (Fig. 10)."""
    found = {s.label: results[paper_cells.attack(s.row, s.scale)] for s in _of(parameters, dataset)}
    images = {label: result.images("reconstruction") for label, result in found.items()}
    count = min(len(one) for one in images.values())
    originals = next(iter(found.values())).images("truth")[:count]
    return originals, {label: one[:count] for label, one in images.items()}


def caption(parameters: Mapping[str, Any], dataset: str) -> str:
    """Return what belongs above a table: profile, images, weights, and how much is run of each model."""
    weights = f"weights after {parameters['rounds']} rounds" if parameters["rounds"] else "fresh weights"
    scaled = "min–max scaled" if parameters["scaling"] == "minmax" else "as they are"
    each = "; ".join(
        f"{TITLES[model]}: {scale.victims} victims, at most {scale.steps:,} steps, λ={scale.tv:g}, "
        + (f"{scale.training_rounds} rounds" if scale.training_rounds else "not trained")
        for model, scale in architectures.scales(**parameters).items()
    )
    return f"Profile {parameters['profile']}: {dataset}, {weights}, images scored {scaled}. {each}."


def _of(parameters: Mapping[str, Any], dataset: str) -> list[Setting]:
    return [s for s in architectures.settings(**parameters) if s.row.dataset == dataset]


def _lines(frame: "DataFrame") -> list[dict[str, Any]]:
    return frame.to_dict("records")
