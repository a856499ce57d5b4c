"""Cells of the chapter "CVB hyper-parameters" (001 §VI-A, Fig. 9, Table VIII)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityCell

from gleak_book import paper_cells, paper_rows
from gleak_book.paper_cells import Scale
from gleak_book.paper_rows import Row

KL_FORMS = ("paper-code", "exact")
AXES = ("position P", "kernel size k", "bottleneck scale s", "KL weight β")


class Point(NamedTuple):
    """One setting on an axis of 001 Fig. 9."""

    value: str  # what the axis shows
    row: Row


def baseline(dataset: str, model: str, **_others: Any) -> Row:
    """Return the row without a bottleneck."""
    return _at(Row("VIII", dataset, model, "ig", "none"))


def axes(
    *,
    dataset: str,
    model: str,
    positions: Sequence[str],
    kernel_sizes: Sequence[int],
    scales: Sequence[str],
    betas: Sequence[float],
    position: str,
    position_kernel_size: int,
    kernel_size: int,
    scale: str,
    beta: float,
    **_others: Any,
) -> dict[str, list[Point]]:
    """Return the settings along each axis; all others keep the chapter's values.

    Along the first axis the kernel size is `position_kernel_size` (1 in the paper).

    Raises:
        ParameterError: an axis without a value, or a value that no CVB can have.
    """

    def point(value: str, p: str, k: int, s: str, b: float) -> Point:
        params = f"P={p};k={k};s={s};beta={b:g}"
        return Point(value, _at(Row("VIII", dataset, model, "ig+ignore", "cvb", params=params)))

    found = {
        AXES[0]: [point(p, p, position_kernel_size, scale, beta) for p in positions],
        AXES[1]: [point(str(k), position, k, scale, beta) for k in kernel_sizes],
        AXES[2]: [point(s, position, kernel_size, s, beta) for s in scales],
        AXES[3]: [point(f"{b:g}", position, kernel_size, scale, b) for b in betas],
    }
    found[AXES[3]] = [Point(p.row.settings["beta"], p.row) for p in found[AXES[3]]]  # 1e-5, as in the paper
    if empty := [name for name, points in found.items() if not points]:
        raise ParameterError(f"No value is given for: {', '.join(empty)}.")
    return found


def rows(**chapter: Any) -> list[Row]:
    """Return the baseline and every setting once."""
    points = [point.row for axis in axes(**chapter).values() for point in axis]
    return list(dict.fromkeys([baseline(**chapter), *points]))


def kl_rows(**chapter: Any) -> list[Row]:
    """Return the settings on the last axis that are computed with both forms of the KL term.

    Raises:
        ParameterError: one of `kl_betas` is no value of `betas`.
    """
    betas = chapter["betas"]
    if wrong := [b for b in chapter["kl_betas"] if b not in betas]:
        raise ParameterError(f"kl_betas must be among betas {list(betas)}, got {wrong}.")
    return [
        point.row
        for b, point in zip(betas, axes(**chapter)[AXES[3]], strict=True)
        if b in chapter["kl_betas"]
    ]


def scale_of(chapter: Mapping[str, Any], kl: str | None = None) -> Scale:
    """Return the chapter's scale, with its own form of the KL term or another.

    Raises:
        UnknownNameError: a form that there is not.
    """
    form = kl or chapter["kl"]
    if form not in KL_FORMS:
        raise unknown("form of the KL term", form, KL_FORMS)
    return Scale.of(chapter, kl=form)


def sigmas(**chapter: Any) -> dict[tuple[str, Row, int], NoiseSensitivityCell]:
    """Return by (form of the KL term, row, round) the cell that measures sigma and mu.

    Raises:
        ParameterError: a round that comes after the last.
    """
    last = chapter["training_rounds"]
    if too_far := [r for r in chapter["sigma_rounds"] if not 0 <= r <= last]:
        raise ParameterError(f"sigma_rounds must be 0 to training_rounds ({last}), got {too_far}.")
    return {
        (kl, row, r): NoiseSensitivityCell(
            paper_cells.training(row, scale_of(chapter, kl), chapter["seed"]),
            r,
            victims=chapter["victims"],
            victim_seed=chapter["victim_seed"],
            seed=chapter["seed"],
        )
        for kl in KL_FORMS
        for row in kl_rows(**chapter)
        for r in chapter["sigma_rounds"]
    }


def cells(**chapter: Any) -> list[Cell]:
    """Return every cell of the chapter."""
    found = paper_cells.cells(rows(**chapter), scale_of(chapter))
    for kl in KL_FORMS:
        found += paper_cells.cells(kl_rows(**chapter), scale_of(chapter, kl))
    return list(dict.fromkeys([*found, *sigmas(**chapter).values()]))


def _at(row: Row) -> Row:
    """Return the paper's row of the same setting, moved to this row's images and model where they differ."""
    theirs: dict[tuple[Bottleneck, ...], Row] = {r.bottlenecks(): r for r in paper_rows.read("VIII")}
    found = theirs.get(row.bottlenecks())
    return row if found is None else found.on(row.dataset, row.model)
