"""Cells of the chapter "Attacks and defenses side by side" (001 §VI-C, Tables IV and X)."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gleak_lib.client_setup import parse
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.communication_cost import CommunicationCostCell

from gleak_book import paper_cells, paper_rows
from gleak_book.paper_cells import Scale
from gleak_book.paper_rows import SETTINGS, Row

PAPERS = ("mnist", "cifar10")  # 001 Table X
BOTTLENECKS = ("precode", "cvb")
EVERY = "IG, all gradients"
ATTACK_NAMES = {"idlg": "iDLG", "cpl": "CPL", "ig": "IG"}


def lines(dataset: str, *, model: str, more: Sequence[str], **_others: Any) -> list[Row]:
    """Return all rows of Table X for an image set, on another one those of CIFAR-10, and then `more`."""
    found = [row.on(dataset, model) for row in paper_rows.read("X", dataset=_source(dataset))]
    known = {row.setup(): row for row in found}
    added = [setting(text, dataset, model) for text in more]
    return [*found, *(row for row in added if row.setup() not in known)]


def setting(text: str, dataset: str, model: str) -> Row:
    """Return the row of a setting, see `client_setup.parse`: `compression(p=0.5)`, `precode(1)`.

    A setting that Table X has is its row, with the paper's figures where images and model are the paper's.

    Raises:
        UnknownNameError, ParameterError: If there is no such setting, or no row can say it.
    """
    asked = parse(text)
    theirs = {row.setup(): row for row in paper_rows.read("X", dataset=_source(dataset))}
    row = theirs[asked] if asked in theirs else Row.of(asked, "X", dataset, model)
    return row.on(dataset, model)


def computed(dataset: str, **chapter: Any) -> list[Row]:
    """Return the rows that are computed: no defense, and those of `defenses` and `precode_sizes`.

    Raises:
        UnknownNameError: a kind of defense that there is not.
    """
    kinds = ("none", *chapter["defenses"])
    if wrong := [kind for kind in kinds if kind not in SETTINGS]:
        raise unknown("defense", wrong[0], SETTINGS)
    asked = set(map(parse, chapter["more"]))
    sizes = set(chapter["precode_sizes"])
    return [
        row
        for row in lines(dataset, **chapter)
        if row.setup() in asked
        or (row.defense in kinds and (row.defense != "precode" or int(row.settings["K"]) in sizes))
    ]


def scale_of(chapter: Mapping[str, Any]) -> Scale:
    """Return the chapter's scale."""
    return Scale.of(chapter)


def matrix(
    *, dataset: str, model: str, attacks: Sequence[str], compared: Sequence[str], **chapter: Any
) -> dict[tuple[Row, str], AttackCell]:
    """Return every attack of `attacks` on every setting of `compared`, by row and the attack's name.

    On models with a bottleneck each ignores what stands behind the encoder, as in 001 Table III, and IG on
    all gradients is added.

    Raises:
        UnknownNameError: an attack other than iDLG, CPL and IG.
    """
    if wrong := [name for name in attacks if name not in ATTACK_NAMES]:
        raise unknown("attack of this table", wrong[0], ATTACK_NAMES)
    scale = scale_of(chapter)

    def kinds(row: Row) -> Iterator[tuple[str, str]]:
        ignoring = "+ignore" if row.defense in BOTTLENECKS else ""
        for name in attacks:
            yield ATTACK_NAMES[name], name + ignoring
        if ignoring and "ig" in attacks:
            yield EVERY, "ig"

    rows = [setting(text, dataset, model) for text in compared]
    return {
        (row, shown): paper_cells.attack(dataclasses.replace(row, attack=name), scale)
        for row in rows
        for shown, name in kinds(row)
    }


def cost(row: Row, chapter: Mapping[str, Any]) -> CommunicationCostCell:
    """Return the cell that counts the bytes of one shared gradient."""
    scale = scale_of(chapter)
    training = paper_cells.training(row, scale, scale.seed)
    return CommunicationCostCell(
        training, victim_seed=scale.victim_seed, seed=scale.seed, defense=row.transformation()
    )


def cells(**chapter: Any) -> list[Cell]:
    """Return every cell of the chapter.

    Raises:
        ParameterError: `dataset`, on which attacks and costs are compared, is none of `datasets`.
    """
    dataset, datasets = chapter["dataset"], chapter["datasets"]
    if dataset not in datasets:
        raise ParameterError(f"dataset must be one of datasets {list(datasets)}, got {dataset!r}.")
    others = {name: value for name, value in chapter.items() if name != "dataset"}
    found = paper_cells.cells([row for d in datasets for row in computed(d, **others)], scale_of(chapter))
    costs = [cost(row, chapter) for row in computed(dataset, **others)]
    return list(dict.fromkeys([*found, *matrix(**chapter).values(), *costs]))


def _source(dataset: str) -> str:
    """The image set of Table X whose rows are taken."""
    return dataset if dataset in PAPERS else "cifar10"
