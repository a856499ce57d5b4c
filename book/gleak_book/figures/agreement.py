"""Ours against the paper's, a point a table row."""

from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MARKERS = ("o", "s", "D", "^", "v", "P", "X")


def agreement(
    frame: "DataFrame", *, by: str, quantity: str, tolerance: float, limits: tuple[float, float]
) -> "Figure":
    """Draw our value against the paper's, with the diagonal and a band around it.

    Args:
        frame: columns `ours`, `paper` and the one that `by` names; rows with a NaN are left out.
        by: the column that tells colors apart; the legend shows its values and how many points each has.
        quantity: what is drawn, with its unit.
        tolerance: half of the band's height.
        limits: of both axes.

    Raises:
        ParameterError: a column is missing.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    missing = [name for name in ("ours", "paper", by) if name not in frame]
    if missing:
        raise ParameterError(f"This figure lacks {', '.join(missing)}; it has {', '.join(frame)}.")
    drawn = frame.dropna(subset=["ours", "paper"])
    with themed() as pyplot:
        figure, axes = pyplot.subplots(figsize=(0.62 * WIDTH, 0.65 * WIDTH), layout="constrained")
        low, high = limits
        axes.plot(limits, limits, color="0.4", linewidth=1)
        axes.fill_between(
            limits, (low - tolerance, high - tolerance), (low + tolerance, high + tolerance), color="0.92"
        )
        for place, (name, rows) in enumerate(drawn.groupby(by, sort=False)):
            axes.plot(
                rows["paper"],
                rows["ours"],
                linestyle="none",
                marker=MARKERS[place % len(MARKERS)],
                color=PALETTE[place % len(PALETTE)],
                alpha=0.8,
                label=f"{name} ({len(rows)})",
            )
        if drawn.empty:
            axes.text(0.5, 0.5, "no row has both figures yet", transform=axes.transAxes, ha="center")
        else:
            figure.legend(loc="outside lower center", ncols=3)
        axes.set(xlabel=f"{quantity}, paper", ylabel=f"{quantity}, ours", xlim=limits, ylim=limits)
        axes.set_aspect("equal")
        return figure
