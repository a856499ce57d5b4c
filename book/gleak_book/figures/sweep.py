"""Values along a setting that is doubled from point to point."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MARKERS = ("o", "s", "D", "^", "v")


def sweep(
    frame: "DataFrame", *, x: str, values: Mapping[str, str], xlabel: str, by: str | None = None
) -> "Figure":
    """Draw one panel a value over `x` (log 2 axis), with a line for each entry of `by`.

    Args:
        frame: columns `x`, those of `values`, maybe `<value>_std` (drawn as bars), and `by`.
        x: the setting, positive numbers.
        values: column -> label of its axis.
        xlabel: what the setting is.
        by: the column that names the lines.

    Raises:
        ParameterError: a column is missing, there is no row, or an `x` that is not positive.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    missing = [name for name in (x, *values, *([by] if by else [])) if name not in frame]
    if missing or frame.empty or not values:
        raise ParameterError(f"This figure needs rows; missing: {', '.join(missing) or 'rows'}.")
    if not (frame[x] > 0).all():
        raise ParameterError(f"{x} must be positive on a logarithmic axis, got {min(frame[x])}.")
    lines = [(None, frame)] if by is None else list(frame.groupby(by, sort=False))
    with themed() as pyplot:
        size = (WIDTH, 3.0 if by is None else 3.4)
        figure, axes = pyplot.subplots(1, len(values), figsize=size, squeeze=False, layout="constrained")
        for ax, (name, label) in zip(axes[0], values.items(), strict=True):
            for place, (line, rows) in enumerate(lines):
                shift = 2 ** (0.04 * (place - 0.5 * (len(lines) - 1)))  # so that bars stand side by side
                ax.errorbar(
                    rows[x] * shift,
                    rows[name],
                    yerr=rows.get(f"{name}_std"),
                    color=PALETTE[place % len(PALETTE)],
                    marker=MARKERS[place % len(MARKERS)],
                    capsize=3,
                    label=line,
                )
            ax.set_xscale("log", base=2)
            ticks = sorted(set(frame[x]))
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.set(xlabel=xlabel, ylabel=label)
        if by is not None:
            handles, labels = axes[0][0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=min(len(lines), 3))
        return figure
