"""Every image's score, setting by setting, and the means of seeds on top of them."""

from typing import TYPE_CHECKING

from gleak_lib.extras import require
from gleak_lib.plots.rows import check_rows
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLUMNS = ("label", "panel", "group", "seed", "value")


def distributions(frame: "DataFrame", *, xlabel: str) -> "Figure":
    """Draw a panel side by side for each text in `panel`, in it a line for each label, and a point a row.

    Diamonds are means over the seeds' means, bars reach from the lowest seed's mean to the highest.

    Args:
        frame: columns label, panel, group (the legend), seed and value.
        xlabel: the quantity, with its unit.

    Raises:
        ParameterError: a column is missing, or there is no row.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    check_rows(frame, COLUMNS)
    labels, panels, groups = (list(dict.fromkeys(frame[name])) for name in COLUMNS[:3])
    seaborn = require("seaborn", "book")
    order = {"order": labels, "hue_order": groups, "palette": list(PALETTE[: len(groups)])}
    with themed() as pyplot:
        size = (WIDTH, 1.2 + (0.2 + 0.2 * len(groups)) * len(labels))
        figure, axes = pyplot.subplots(
            1, len(panels), sharex=True, sharey=True, figsize=size, layout="constrained", squeeze=False
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            rows = frame[frame["panel"] == panel]
            place = {"x": "value", "y": "label", "hue": "group", "ax": axis} | order
            seaborn.stripplot(rows, dodge=len(groups) > 1, alpha=0.35, size=3, legend=False, **place)
            means = rows.groupby(["label", "group", "seed"], as_index=False)["value"].mean()
            dodge = 0.8 - 0.8 / len(groups) if len(groups) > 1 else False
            seaborn.pointplot(
                means,
                dodge=dodge,
                errorbar=("pi", 100),
                linestyle="none",
                marker="D",
                markersize=5,
                err_kws={"linewidth": 1.5},
                **place,
            )
            handles, texts = axis.get_legend_handles_labels()
            axis.get_legend().remove()
            axis.set(title=panel, xlabel=xlabel if len(panels) < 3 else "", ylabel="")
        if len(panels) > 2:
            figure.supxlabel(xlabel, fontsize=10)
        if len(groups) > 1:
            figure.legend(handles, texts, loc="outside upper center", ncols=len(groups))
        return figure
