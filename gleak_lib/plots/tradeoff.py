"""What a defense costs against what it protects: one point a setting."""

import math
from typing import TYPE_CHECKING

from gleak_lib.plots import names
from gleak_lib.plots.rows import check_rows
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from pandas import DataFrame

MARKERS = ("X", "o", "s", "D", "^", "v")
LEGEND = 5  # entries in a line
FEW = 3  # settings of a family that are all named
COLORS = (*PALETTE, "#777777")
COLUMNS = ("row", "column", "family", "setting", "x", "y")


def tradeoff(
    frame: "DataFrame",
    *,
    xlabel: str,
    ylabel: str,
    threshold: float | None = None,
    linear: float | None = None,
) -> "Figure":
    """Draw a grid of panels, with a line a family of settings; of long families the ends are named only.

    Args:
        frame: columns row and column (the panel), family, setting (text, maybe empty), x and y; NaN where
            there is none. Where family is a categorical column, its categories keep their colors and markers
            whichever of them a figure has. A column `joined` may say False where a family's settings are no
            scale: it has points without a line, and each is named.
        xlabel, ylabel: the quantities.
        threshold: a value of y to mark by a dotted line.
        linear: width of the linear part of a logarithmic x axis with both signs; None draws a linear axis.

    Raises:
        ParameterError: a column is missing, or there is no row.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    check_rows(frame, COLUMNS)
    rows, columns = (list(dict.fromkeys(frame[name])) for name in ("row", "column"))
    family = frame["family"]
    known = family.cat.categories if hasattr(family, "cat") else family
    families = {name: place for place, name in enumerate(dict.fromkeys(known)) if (family == name).any()}
    named = []
    with themed() as pyplot:
        size = (WIDTH, 0.8 + 2.9 * len(rows))
        figure, grid = pyplot.subplots(
            len(rows), len(columns), figsize=size, squeeze=False, sharey=True, layout="constrained"
        )
        for line, row in enumerate(rows):
            for place, column in enumerate(columns):
                axes = grid[line][place]
                here = (frame["row"] == row) & (frame["column"] == column)
                panel = frame.loc[here & frame["x"].notna() & frame["y"].notna()]
                named.append((axes, _draw(axes, panel, families)))
                if linear is not None:
                    axes.set_xscale("symlog", linthresh=linear)
                    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}".replace("-", "−"))
                if threshold is not None:
                    axes.axhline(threshold, color="0.4", linestyle=":", linewidth=1)
                axes.set_title(f"{column}, {row}")
                axes.margins(x=0.12, y=0.12)
                if line == len(rows) - 1:
                    axes.set_xlabel(xlabel)
            grid[line][0].set_ylabel(ylabel)
        handles, labels = grid[0][0].get_legend_handles_labels()
        lines = math.ceil(len(labels) / LEGEND)
        figure.legend(handles, labels, loc="outside lower center", ncols=math.ceil(len(labels) / lines))
        figure.draw_without_rendering()  # lays it out
        for axes, texts in named:
            names.spread(axes, texts)
        return figure


def _draw(axes: "Axes", panel: "DataFrame", families: "dict[str, int]") -> "list[Annotation]":
    """Draw the points of all families, and return their names, which have no place yet."""
    named = []
    for family, number in families.items():
        points = panel[panel["family"] == family]
        joined = "joined" not in points or bool(points["joined"].all())
        color = COLORS[number % len(COLORS)]
        axes.plot(
            points["x"],
            points["y"],
            color=color,
            marker=MARKERS[number % len(MARKERS)],
            linestyle="-" if joined else "",
            label=family,
        )
        shown = points.iloc[[0, -1]] if joined and len(points) > FEW else points
        for text, x, y in dict.fromkeys(zip(shown["setting"], shown["x"], shown["y"], strict=True)):
            if text:
                named.append(names.add(axes, text, (x, y), color))
    return named
