"""Values against a setting: the strength of a defense, images per batch, rounds, groups of gradients."""

from collections.abc import Mapping
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
    value: str | Mapping[str, str],
    by: str | None = None,
    panel: str | None = None,
    xlabel: str = "",
    ylabel: str = "",
    log: int = 10,
) -> "Figure":
    """Draw `value` against `level`, one line for each text in column `by`, deviations as bars.

    Args:
        frame: these columns, and maybe those of values with `_std` behind the name.
        level: the column along the horizontal axis: numbers, or texts, which keep their order.
        value: the column to draw; or several, column -> label of its axis, a panel each.
        by: the column that tells the lines apart; the legend shows its values.
        panel: the column that tells panels side by side apart, whose titles are its values.
        xlabel, ylabel: the quantities, with their units.
        log: base of the log axis that levels above 0 have, with a tick at each level for 2; 0 for none.

    Raises:
        ParameterError: If a column is missing, there is no row, or a level does not fit a log axis.
        MissingDependencyError: If matplotlib or seaborn is not installed.
    """
    values = {value: ylabel} if isinstance(value, str) else dict(value)
    check_rows(frame, (level, *values, *filter(None, (by, panel))))
    named = isinstance(frame[level].iloc[0], str)
    if log and not named and not (frame[level] > 0).all():
        raise ParameterError(f"A log axis takes levels above 0, got {frame[level].min():g}: pass log=0.")
    parts = [("", frame)] if panel is None else list(frame.groupby(panel, sort=False))
    panels = [(column, label, title, rows) for column, label in values.items() for title, rows in parts]
    with themed() as pyplot:
        size = (WIDTH, 3.8 if len(panels) == 1 else 3.3)
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=size, sharey=panel is not None, squeeze=False, layout="constrained"
        )
        for ax, (column, label, title, rows) in zip(axes[0], panels, strict=True):
            lines = [(None, rows)] if by is None else rows.groupby(by, sort=False)
            for place, (name, own) in enumerate(lines):
                own = own if named else own.sort_values(level)
                ax.errorbar(
                    own[level],
                    own[column],
                    yerr=own.get(f"{column}_std"),
                    color=PALETTE[place % len(PALETTE)],
                    linestyle=DASHES[place % len(DASHES)],
                    marker=MARKERS[place % len(MARKERS)],
                    capsize=3,
                    label=None if name is None else str(name),
                )
            ax.set(xlabel=xlabel, title=title)
            if log and not named:
                ax.set_xscale("log", base=log)
            if log == 2:
                ticks = sorted(set(frame[level]))
                ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            if panel is None or ax is axes[0][0]:
                ax.set_ylabel(label)
        if by is not None:
            handles, labels = axes[0][0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=2 if len(panels) == 1 else 3)
        return figure
