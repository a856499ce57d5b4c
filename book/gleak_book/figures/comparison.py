"""Our figures beside those of a paper."""

from typing import TYPE_CHECKING

from gleak_lib.plots.rows import check_rows
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def comparison(
    frame: "DataFrame",
    value: str,
    *,
    xlabel: str,
    ours: str = "ours",
    paper: str = "paper",
    threshold: float | None = None,
) -> "Figure":
    """Draw one line a table row, with our value and the paper's on it, and their deviations as bars.

    Args:
        frame: from `paper.beside`: columns `label`, v, v_paper, and maybe v_std, v_paper_std; NaN where there
            is none.
        value: v.
        xlabel: the quantity, with its unit.
        ours: the legend's text for our values; it should say the profile and the number of victims.
        paper: the legend's text for the paper's values.
        threshold: a value to mark by a vertical line, for instance SSIM 0.5.

    Raises:
        ParameterError: a column is missing, or there is no row.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    check_rows(frame, ("label", value, f"{value}_paper"))
    places = list(range(len(frame)))
    with themed() as pyplot:
        figure, axes = pyplot.subplots(figsize=(WIDTH, 1.25 + 0.42 * len(frame)), layout="constrained")
        for column, text, offset, marker, color, face in (
            (f"{value}_paper", paper, -0.12, "D", PALETTE[1], "white"),
            (value, ours, 0.12, "o", PALETTE[0], PALETTE[0]),
        ):
            axes.errorbar(
                frame[column],
                [place + offset for place in places],
                xerr=frame.get(f"{column}_std"),
                fmt=marker,
                color=color,
                markerfacecolor=face,
                markersize=7,
                capsize=3,
                label=text,
            )
        if threshold is not None:
            axes.axvline(threshold, color="0.4", linestyle=":", linewidth=1)
        axes.set_yticks(places, frame["label"])
        axes.set(xlabel=xlabel, ylim=(len(frame) - 0.5, -0.5))
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center", ncols=2)
        return figure
