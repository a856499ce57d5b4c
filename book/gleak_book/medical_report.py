"""Tables and figures of the chapter "Medical images", ours beside 001 Tables VI and XII."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gleak_lib.experiments import frame, tables
from gleak_lib.experiments.specs.class_counts import ClassCountsCell
from gleak_lib.extras import require

from gleak_book import medical, paper_cells, paper_rows
from gleak_book.paper_cells import Results
from gleak_book.paper_rows import NAMES

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

TITLES = {
    "pneumoniamnist": "Pneumonia",
    "dermamnist": "Derma",
    "retinamnist": "Retina",
    "bloodmnist": "Blood",
}
DOWNLOAD = "needs download"


def title(dataset: str) -> str:
    """Return a set's name for people; one of one's own keeps its name."""
    known = dataset.removesuffix(medical.VICTIMS)
    name = TITLES.get(known, known)
    return name if medical.trainable(dataset) else f"{name} (128 images)"


def classes_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return images by class: columns dataset, class, count, of all splits together."""
    rows = []
    for dataset in parameters["datasets"]:
        counts = results[ClassCountsCell(dataset)].figures["counts"]
        for number, count in enumerate(np.sum(list(counts.values()), axis=0)):
            rows.append({"dataset": title(dataset), "class": number, "count": int(count)})
    return require("pandas", "metrics").DataFrame(rows)


def scores_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return Table XII on fresh weights, ours with the paper's figures: a row a set and defense."""
    chapter = _chapter(parameters)
    pandas, scale = require("pandas", "metrics"), medical.scale_of(chapter)
    sets = [(dataset, medical.rows(dataset, **chapter)) for dataset in parameters["datasets"]]
    frames = [paper_cells.table(rows, scale, results, scaling=parameters["scaling"]) for _, rows in sets]
    table = pandas.concat(frames, ignore_index=True)
    table["label"] = [title(name) for name in table["dataset"]]
    return table


def trained_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return the same attacks on fresh and on trained weights, a row a set, defense and round."""
    cells = medical.attacks(**parameters)
    rows = []
    for (dataset, r), pairs in cells.items():
        for row, cell in pairs:
            scores = tables.attack_table(frame([results[cell]], scaling=parameters["scaling"]), "kind").iloc[
                0
            ]
            about = {"label": title(dataset), "defense": NAMES[row.defense]}
            values = {name: scores[name] for name in ("ssim", "ssim_std", "asr", "loss")}
            rows.append(about | {"weights": _weights(r)} | values)
    table = require("pandas", "metrics").DataFrame(rows)
    return table[table.groupby("label")["weights"].transform("nunique") > 1].reset_index(drop=True)


def accuracy_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a set and defense: accuracy, balanced accuracy, AUC, and the share of the largest class.

    Where only victims are there, the accuracy says what is needed.
    """
    scores = scores_table(parameters, results)
    chapter, rows = _chapter(parameters), []
    settings = [(name, row) for name in parameters["datasets"] for row in medical.rows(name, **chapter)]
    for (dataset, row), line in zip(settings, scores.to_dict("records"), strict=True):
        census = results[ClassCountsCell(dataset)].figures["counts"]["test"]
        about = {
            "label": title(dataset),
            "defense": line["defense"],
            "accuracy": DOWNLOAD,
            "accuracy_paper": line["accuracy_paper"],
            "accuracy_paper_std": line["accuracy_paper_std"],
            "largest": 100 * max(census) / sum(census) if sum(census) else np.nan,
        }
        if medical.trainable(dataset):
            cells = paper_cells.trainings(row, medical.scale_of(chapter))
            found = tables.training_table(frame(results[cell] for cell in cells), "kind").iloc[0].to_dict()
            names = ("accuracy", "balanced_accuracy", "auc")
            about |= {f"{name}{end}": found[f"{name}{end}"] for name in names for end in ("", "_std")}
        rows.append(about)
    return require("pandas", "metrics").DataFrame(rows)


def linkage_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a set, round and defense: how many reconstructions are most alike to their original."""
    rows = []
    for (dataset, r, defense), cell in medical.links(**parameters).items():
        figures = results[cell].figures
        ranks = np.array(figures["ranks"])
        rows.append(
            {
                "label": title(dataset),
                "defense": NAMES[defense],
                "weights": _weights(r),
                "first": f"{int((ranks == 1).sum())} of {len(ranks)}",
                "median": float(np.median(ranks)),
                "candidates": figures["candidates"],
            }
        )
    columns = ["label", "defense", "weights", "first", "median", "candidates"]
    return require("pandas", "metrics").DataFrame(rows, columns=columns)


def tradeoff(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return ours and the paper's models for `plots.utility` (Fig. 11b)."""
    lines = []
    for panel, ending in (("ours", ""), ("paper", "_paper")):
        for line in scores_table(parameters, results).to_dict("records"):
            about = {"dataset": title(line["dataset"].removesuffix(medical.VICTIMS)), "model": "CNN"}
            values = {name: line[f"{name}{ending}"] for name in ("ssim", "accuracy")}
            lines.append({"panel": panel, **about, "defended": line["defense"] != NAMES["none"], **values})
    return require("pandas", "metrics").DataFrame(lines)


def pictures(
    parameters: Mapping[str, Any], results: Results, dataset: str
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return a set's originals, and what each attack found on fresh and on trained weights (Fig. 12)."""
    found = {
        f"{NAMES[row.defense]}, {_weights(r)}": results[cell]
        for (name, r), pairs in medical.attacks(**parameters).items()
        for row, cell in pairs
        if name == dataset
    }
    originals = next(iter(found.values())).images("truth")
    return originals, {label: result.images("reconstruction") for label, result in found.items()}


def bottleneck_table(parameters: Mapping[str, Any]) -> "DataFrame":
    """Return the CVB of each set (001 §VI-E): kernel size and beta."""
    chapter, rows = _chapter(parameters), []
    for dataset in parameters["datasets"]:
        spec = medical.rows(dataset, **chapter)[1].bottlenecks()[0]
        known = bool(paper_rows.read("XII", dataset=dataset.removesuffix(medical.VICTIMS)))
        rows.append(
            {
                "label": title(dataset),
                "kernel_size": spec.kernel_size,  # type: ignore[union-attr]
                "beta": f"{spec.beta:g}",
                "chosen": "Scheliga et al. 2023a, §VI-E" if known else "this chapter's parameters",
            }
        )
    return require("pandas", "metrics").DataFrame(rows)


def caption(parameters: Mapping[str, Any]) -> str:
    """Return what belongs above a table of attacks: profile, victims, steps, scaling."""
    scaled = (
        "each image min–max scaled before scoring"
        if parameters["scaling"] == "minmax"
        else "images scored as they are"
    )
    return (
        f"Profile {parameters['profile']}: {parameters['victims']} victims, at most "
        f"{parameters['steps']:,} steps, {scaled}."
    )


def _weights(rounds: int) -> str:
    return f"after {rounds} rounds" if rounds else "fresh"


def _chapter(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in ("datasets", "rounds")}
