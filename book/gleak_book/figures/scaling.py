"""How something grows with size: lines on logarithmic axes."""

from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MARKERS = ("o", "s", "D", "^", "v", "P", "X")


def scaling(
    frame: "DataFrame",
    *,
    x: str,
    y: str,
    by: str,
    xlabel: str,
    ylabel: str,
    goal: float | None = None,
    logarithmic: bool = True,
) -> "Figure":
    """Draw `y` over `x`, a line an entry of `by`; on logarithmic axes a power law is a straight line.

    Args:
        frame: columns `x`, `y`, `by`; rows with a NaN are left out, and a frame without rows says so.
        x, y: positive numbers on logarithmic axes.
        by: what the legend names.
        xlabel, ylabel: with units.
        goal: a value of `y` that is marked by a dotted line.
        logarithmic: both axes; else both begin at 0.

    Raises:
        ParameterError: a column is missing, or a value that a logarithmic axis cannot show.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    if missing := [name for name in (x, y, by) if name not in frame]:
        raise ParameterError(f"This figure lacks {', '.join(missing)}; it has {', '.join(frame)}.")
    drawn = frame.dropna(subset=[x, y])
    if logarithmic and not ((drawn[x] > 0) & (drawn[y] > 0)).all():
        raise ParameterError(f"{x} and {y} must be positive on logarithmic axes.")
    with themed() as pyplot:
        figure, axes = pyplot.subplots(figsize=(0.8 * WIDTH, 0.55 * WIDTH), layout="constrained")
        for place, (name, rows) in enumerate(drawn.groupby(by, sort=False)):
            rows = rows.sort_values(x)
            axes.plot(
                rows[x],
                rows[y],
                marker=MARKERS[place % len(MARKERS)],
                markersize=5,
                color=PALETTE[place % len(PALETTE)],
                label=str(name),
            )
        if goal is not None:
            axes.axhline(goal, color="0.4", linestyle=":", linewidth=1, label=f"goal, {goal:g}")
        if logarithmic:
            axes.set(xscale="log", yscale="log")
        elif not drawn.empty:
            axes.set(xlim=(0, None), ylim=(0, 1.1 * drawn[y].max()))
        if drawn.empty:
            axes.text(0.5, 0.6, "not measured yet", transform=axes.transAxes, ha="center")
        if len(axes.lines):
            figure.legend(loc="outside lower center", ncols=2)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        return figure
