"""A value for each group of gradients, in the order of the forward pass."""

from typing import TYPE_CHECKING

from gleak_lib.plots.rows import check_rows
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MARKERS = ("o", "s", "D", "^", "v")


def groups(frame: "DataFrame", *, value: str, ylabel: str) -> "Figure":
    """Draw one panel per network, with the groups along it and one line for each round of the weights.

    Args:
        frame: columns network, rounds, gradients (names, in the order of the forward pass), `value`, and
            maybe the same with `_std` behind it, drawn as bars.
        value: the column to draw.
        ylabel: the quantity.

    Raises:
        ParameterError: a column is missing, or there is no row.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    check_rows(frame, ("network", "rounds", "gradients", value))
    networks = list(dict.fromkeys(frame["network"]))
    with themed() as pyplot:
        figure, axes = pyplot.subplots(
            1, len(networks), figsize=(WIDTH, 3.2), sharey=True, squeeze=False, layout="constrained"
        )
        for ax, network in zip(axes[0], networks, strict=True):
            rows = frame[frame["network"] == network]
            for place, (rounds, line) in enumerate(rows.groupby("rounds", sort=True)):
                shift = 0.08 * (place - 0.5 * (len(set(rows["rounds"])) - 1))
                ax.errorbar(
                    [x + shift for x in range(len(line))],
                    line[value],
                    yerr=line.get(f"{value}_std"),
                    color=PALETTE[place % len(PALETTE)],
                    marker=MARKERS[place % len(MARKERS)],
                    capsize=3,
                    label=f"after {rounds} rounds" if rounds else "fresh weights",
                )
            names = list(dict.fromkeys(rows["gradients"]))
            ax.set_xticks(range(len(names)), names)
            ax.set_title(network)
            ax.axhline(0, color="0.4", linewidth=1)
        axes[0][0].set_ylabel(ylabel)
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return figure
