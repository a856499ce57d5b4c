"""A measure of the attack against the strength of a defense."""

from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError
from gleak_lib.plots.rows import check_rows
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "D", "^", "v")


def levels(
    frame: "DataFrame",
    *,
    level: str,
    value: str,
    by: str,
    xlabel: str,
    ylabel: str,
    log: bool = True,
) -> "Figure":
    """Draw `value` against `level`, one line for each text in column `by`, deviations as bars.

    Args:
        frame: the three columns, and maybe that of `value` with `_std` behind it.
        level: the column along the horizontal axis.
        value: the column to draw.
        by: the column that tells the lines apart; the legend shows its values.
        xlabel, ylabel: the quantities, with their units.
        log: whether the levels are spread on a log axis; they must be above 0 then.

    Raises:
        ParameterError: a column is missing, there is no row, or a level does not fit a log axis.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    check_rows(frame, (level, value, by))
    if log and not (frame[level] > 0).all():
        raise ParameterError(f"A log axis takes levels above 0, got {frame[level].min():g}: pass log=False.")
    with themed() as pyplot:
        figure, axes = pyplot.subplots(figsize=(WIDTH, 3.8), layout="constrained")
        for place, (name, rows) in enumerate(frame.groupby(by, sort=False)):
            rows = rows.sort_values(level)
            axes.errorbar(
                rows[level],
                rows[value],
                yerr=rows.get(f"{value}_std"),
                color=PALETTE[place % len(PALETTE)],
                linestyle=DASHES[place % len(DASHES)],
                marker=MARKERS[place % len(MARKERS)],
                capsize=3,
                label=str(name),
            )
        axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if log else "linear")
        figure.legend(loc="outside lower center", ncols=2)
        return figure
