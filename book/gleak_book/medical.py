"""Cells of the chapter "Medical images" (001 §VI-E, Tables VI and XII, Figs. 11b and 12)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from gleak_lib.errors import ParameterError
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.class_counts import ClassCountsCell
from gleak_lib.experiments.specs.reidentification import ReidentificationCell

from gleak_book import paper_cells, paper_rows
from gleak_book.paper_cells import Scale
from gleak_book.paper_rows import Row
from gleak_book.source_form import VICTIMS


def rows(
    dataset: str, *, model: str, kernel_size: int, scale: float, beta: float, **_others: Any
) -> list[Row]:
    """Return two rows for an image set: IG without bottleneck, Ignore behind a CVB.

    The CVB is the one that 001 chose for the set (Table XII), else the one of the parameters. The paper's
    figures stay for `dermamnist_victims` and `bloodmnist_victims`, which are the images that it attacked.
    """
    theirs = paper_rows.read("XII", dataset=dataset.removesuffix(VICTIMS))
    if theirs and model == "cnn":
        return [dataclasses.replace(row, dataset=dataset) for row in theirs]
    if theirs:
        return [row.on(dataset, model) for row in theirs]
    params = f"P=1;k={kernel_size};s={scale:g};beta={beta:g}"
    return [
        Row("XII", dataset, model, "ig", "none"),
        Row("XII", dataset, model, "ig+ignore", "cvb", params),
    ]


def trainable(dataset: str) -> bool:
    """Return whether there are images to train on, as far as the name tells."""
    return not dataset.endswith(VICTIMS)


def scale_of(chapter: dict[str, Any], rounds: int = 0) -> Scale:
    """Return how much of the protocol is run, with the weights after `rounds` attacked."""
    return Scale.of(chapter, rounds=rounds)


def attacks(*, datasets: Sequence[str], rounds: Sequence[int], **chapter: Any) -> dict[tuple[str, int], Any]:
    """Return by (image set, weights) the two rows of the set with their attack cells.

    Raises:
        ParameterError: fresh weights are not among `rounds`, or weights after more rounds than are trained.
    """
    if not rounds or rounds[0] != 0 or rounds[-1] > chapter["training_rounds"]:
        raise ParameterError(
            f"rounds begins with 0, fresh weights, and ends at training_rounds "
            f"({chapter['training_rounds']}) at most, got {list(rounds)}."
        )
    return {
        (dataset, r): [
            (row, paper_cells.attack(row, scale_of(chapter, r))) for row in rows(dataset, **chapter)
        ]
        for dataset in datasets
        for r in rounds
        if r == 0 or trainable(dataset)
    }


def links(*, link_images: int, **chapter: Any) -> dict[tuple[str, int, str], ReidentificationCell]:
    """Return by (image set, weights, defense) whether reconstructions point to their originals.

    Empty where `link_images` is 0. Victims-only sets are left out: they hold too few other images.
    """
    if not link_images:
        return {}
    return {
        (dataset, r, row.defense): ReidentificationCell(
            dataclasses.replace(cell, victims=min(link_images, cell.victims))
        )
        for (dataset, r), pairs in attacks(**chapter).items()
        for row, cell in pairs
        if trainable(dataset)
    }


def cells(**parameters: Any) -> list[Cell]:
    """Return every cell of the chapter."""
    chapter = {name: value for name, value in parameters.items() if name not in ("datasets", "rounds")}
    datasets = parameters["datasets"]
    trainings = [
        cell
        for dataset in filter(trainable, datasets)
        for row in rows(dataset, **chapter)
        for cell in paper_cells.trainings(row, scale_of(chapter))
    ]
    attacked: list[AttackCell] = [cell for pairs in attacks(**parameters).values() for _, cell in pairs]
    census = [ClassCountsCell(dataset) for dataset in datasets]
    return list(dict.fromkeys([*census, *trainings, *attacked, *links(**parameters).values()]))
