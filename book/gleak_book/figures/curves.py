"""Accuracy over the rounds of a training, with bands over seeds."""

import itertools
from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

DASHES = ("-", "--", "-.", ":")
COLUMNS = ("row", "column", "line", "round", "value")


def curves(frame: "DataFrame", *, ylabel: str) -> "Figure":
    """Draw a grid of panels, with one line per text in `line`: mean over seeds, their range as a band.

    Args:
        frame: columns row and column (the panel), line, round and value, one row per seed; a round without
            value is left out.
        ylabel: the quantity, with its unit.

    Raises:
        ParameterError: If a column is missing, or there is no value.
        MissingDependencyError: If matplotlib or seaborn is not installed.
    """
    missing = [name for name in COLUMNS if name not in frame]
    if missing or frame["value"].notna().sum() == 0:
        raise ParameterError(f"This figure needs values; missing: {', '.join(missing) or 'values'}.")
    rows, columns, lines = (list(dict.fromkeys(frame[name])) for name in ("row", "column", "line"))
    with themed() as pyplot:
        size = (WIDTH, 0.9 + 2.6 * len(rows))
        figure, grid = pyplot.subplots(
            len(rows),
            len(columns),
            figsize=size,
            squeeze=False,
            sharex="row",
            sharey="row",
            layout="constrained",
        )
        for axes, (row, column) in zip(grid.flat, itertools.product(rows, columns), strict=True):
            panel = frame[(frame["row"] == row) & (frame["column"] == column) & frame["value"].notna()]
            for line, own in panel.groupby("line"):
                place = lines.index(line)
                found = own.groupby("round")["value"].agg(["min", "mean", "max"])
                color = PALETTE[place % len(PALETTE)]
                axes.plot(found.index, found["mean"], DASHES[place % len(DASHES)], color=color)
                axes.fill_between(
                    found.index, found["min"], found["max"], color=color, alpha=0.2, linewidth=0
                )
            axes.set(title=f"{row}, {column}", xlabel="round")
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in grid[:, 0]:
            axes.set_ylabel(ylabel)
        handles = [
            pyplot.Line2D(
                [], [], color=PALETTE[i % len(PALETTE)], linestyle=DASHES[i % len(DASHES)], label=line
            )
            for i, line in enumerate(lines)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        return figure
