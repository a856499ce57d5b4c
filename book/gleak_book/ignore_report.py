"""Tables and figures of the chapter "The Ignore attack", ours beside 001 Tables I and II."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gleak_lib import models
from gleak_lib.experiments import tables
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require

from gleak_book import ignore, paper

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

Results = Mapping[Cell, Result]


def similarity_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a position, round and parameter group: similarity of gradients under other noise."""
    rows = []
    for (position, r), cell in ignore.spreads(**parameters).items():
        figures = results[cell].figures
        for group, values in zip(figures["groups"], figures["similarity"], strict=True):
            rows.append(
                {
                    "position": position,
                    "rounds": r,
                    "gradients": ignore.paper_name(group),
                    "similarity": float(np.mean(values)),
                    "similarity_std": float(np.std(values)),
                }
            )
    return require("pandas", "metrics").DataFrame(rows)


def noise_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a position and round: the bottleneck's sigma, its mu, and what the noise leaves."""
    rows = []
    for (position, r), cell in ignore.spreads(**parameters).items():
        figures = results[cell].figures
        kept = models.before_decoder(figures["groups"])
        similarity = [
            np.mean(v) for g, v in zip(figures["groups"], figures["similarity"], strict=True) if g in kept
        ]
        rows.append(
            {
                "P": position,
                "weights": f"after {r} rounds" if r else "fresh",
                "sigma": figures["sigma"][0],
                "mu": figures["mu"][0],
                "ratio": figures["mu"][0] / figures["sigma"][0],
                "similarity": float(np.mean(similarity)),
            }
        )
    return require("pandas", "metrics").DataFrame(rows)


def mask_table(parameters: Mapping[str, Any], results: Results, rounds: int) -> "DataFrame":
    """Return Table I for the weights after `rounds`: ours, with the paper's ASR where it has the row."""
    rows = ignore.table_i(**parameters)[rounds]
    ours = tables.attack_table({row.label: results[row.cell] for row in rows}, scaling=parameters["scaling"])
    ours.insert(0, "P", [row.position or "–" for row in rows])
    ours.insert(1, "gradients", [row.matched for row in rows])
    theirs = {row.label: paper_asr(row, parameters) for row in rows}
    frame = require("pandas", "metrics").DataFrame({"label": list(theirs), "asr": list(theirs.values())})
    return paper.beside(ours, frame, values=["asr"])


def placement_table(parameters: Mapping[str, Any], results: Results, rounds: int) -> "DataFrame":
    """Return Table II for the weights after `rounds`: the strongest of both attacks, accuracy, parameters.

    Without a bottleneck the attack is IG, with one Ignore, as in 001 §V-B.
    """
    chosen = {
        row.position: row.cell
        for row in ignore.table_i(**parameters)[rounds]
        if row.mask == ("before the decoder" if row.position else "all")
    }
    scores = tables.attack_table(
        {ignore.name_of(p): results[cell] for p, cell in chosen.items()}, scaling=parameters["scaling"]
    )
    trained = ignore.trainings(**parameters)
    accuracy = tables.training_table(
        {ignore.name_of(p): [results[c] for c in cells] for p, cells in trained.items()}
    )
    ours = scores.merge(accuracy[["label", "accuracy", "accuracy_std"]], on="label")
    ours["increase"] = 100 * (ours["parameters"] / ours["parameters"].iloc[0] - 1)
    theirs = paper.table("cvb_table_ii")
    theirs["label"] = [ignore.name_of(None if p == "none" else int(p)) for p in theirs["position"]]
    if not _is_the_papers(parameters):
        theirs = theirs.iloc[:0]
    return paper.beside(ours, theirs, values=["ssim", "asr", "accuracy", "parameters"])


def repeated_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return IG and Ignore on the last weights, several models pooled, and the ASR of each model."""
    groups = {
        label: [results[cell] for cell in cells] for label, cells in ignore.repeats(**parameters).items()
    }
    table = tables.attack_table(groups, scaling=parameters["scaling"])
    alone = [
        [tables.attack_table({"": one}, scaling=parameters["scaling"])["asr"].item() for one in found]
        for found in groups.values()
    ]
    table["each"] = [", ".join(f"{asr:.1f}" for asr in one) for one in alone]
    return table


def pictures(
    parameters: Mapping[str, Any], results: Results, rounds: int
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals, and what IG and Ignore made of them at each position (Fig. 7)."""
    rows = [row for row in ignore.table_i(**parameters)[rounds] if row.mask in ("all", "before the decoder")]
    originals = results[rows[0].cell].images("truth")
    return originals, {_attack_name(row): results[row.cell].images("reconstruction") for row in rows}


def loss_traces(
    parameters: Mapping[str, Any], results: Results, rounds: int
) -> "dict[str, tuple[Tensor, Tensor]]":
    """Return the loss traces of the same rows, for `plots.traces`."""
    rows = [row for row in ignore.table_i(**parameters)[rounds] if row.mask in ("all", "before the decoder")]
    return {_attack_name(row): results[row.cell].trace() for row in rows}


def caption(parameters: Mapping[str, Any], rounds: int) -> str:
    """Return what belongs above a table: profile, images, weights, steps, scaling."""
    weights = f"weights after {rounds} federated rounds" if rounds else "fresh weights"
    scaled = "each image min–max scaled before scoring"
    return (
        f"Profile {parameters['profile']}: {parameters['victims']} victims from {parameters['dataset']}, "
        f"{weights}, at most {parameters['steps']:,} steps, "
        f"{scaled if parameters['scaling'] == 'minmax' else 'images scored as they are'}."
    )


def _attack_name(row: ignore.Row) -> str:
    attack = "IG" if row.mask == "all" else "Ignore"
    return f"{attack}, {ignore.name_of(row.position)}"


def _is_the_papers(parameters: Mapping[str, Any]) -> bool:
    """Whether the chapter runs the model and images of 001 Tables I and II."""
    theirs = {"dataset": "cifar10", "model": "cnn", "bottleneck": "precode"}
    return all(parameters[name] == value for name, value in theirs.items())


def paper_asr(row: ignore.Row, parameters: Mapping[str, Any]) -> float:
    """Return the ASR of 001 Table I for a row, NaN where it has none."""
    if not _is_the_papers(parameters):
        return np.nan
    theirs = paper.table("cvb_table_i")
    position = "none" if row.position is None else str(row.position)
    partial = "single or partial sets beyond GE" if row.position == 2 else row.mask
    for line in theirs.to_dict("records"):
        if str(line["precode_position"]) != position:
            continue
        names = (row.matched, partial if row.mask.startswith("all but") else "")
        if (row.mask == "all" and line["attack"] == "ig") or line["matched_gradients"] in names:
            return float(line["asr"])
    return np.nan
