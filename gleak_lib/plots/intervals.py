"""Several methods on several settings: a point and its confidence interval each."""

from typing import TYPE_CHECKING

from gleak_lib.plots.rows import check_rows
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
COLUMNS = ("label", "method", "value", "low", "high")


def intervals(frame: "DataFrame", *, xlabel: str, threshold: float | None = None) -> "Figure":
    """Draw a line a setting, from top to bottom, and on it a point a method with its interval.

    Args:
        frame: columns label (the setting), method, value, low and high; a row without value is left out, an
            interval that is NaN is not drawn.
        xlabel: the quantity, with its unit.
        threshold: a value to mark by a vertical line.

    Raises:
        ParameterError: a column is missing, or there is no row.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    check_rows(frame, COLUMNS)
    labels, methods = (list(dict.fromkeys(frame[name])) for name in ("label", "method"))
    lines = max(label.count("\n") + 1 for label in labels)
    height = 1.1 + len(labels) * max(0.16 + 0.11 * len(methods), 0.18 * lines)
    with themed() as pyplot:
        figure, axes = pyplot.subplots(figsize=(WIDTH, height), layout="constrained")
        for number, method in enumerate(methods):
            rows = frame.loc[(frame["method"] == method) & frame["value"].notna()]
            shift = 0.64 * ((number + 0.5) / len(methods) - 0.5)
            low, high = rows["value"] - rows["low"], rows["high"] - rows["value"]
            axes.errorbar(
                rows["value"],
                [labels.index(label) + shift for label in rows["label"]],
                xerr=[low.clip(lower=0).fillna(0), high.clip(lower=0).fillna(0)],
                fmt=MARKERS[number % len(MARKERS)],
                color=PALETTE[number % len(PALETTE)],
                markersize=5,
                elinewidth=1.2,
                label=method,
            )
        for place in range(len(labels) - 1):
            axes.axhline(place + 0.5, color="0.88", linewidth=0.8)
        if threshold is not None:
            axes.axvline(threshold, color="0.4", linestyle=":", linewidth=1)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel=xlabel, ylim=(len(labels) - 0.5, -0.5))
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center", ncols=min(len(methods), 4))
        return figure
