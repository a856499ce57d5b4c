"""Two quantities over a setting, each on an axis of its own, ours beside a paper's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gleak_lib.errors import ParameterError
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLUMNS = 2
STYLES = ({"color": PALETTE[2], "marker": "o"}, {"color": PALETTE[1], "marker": "s"})
DASHES = ((0, (5, 5)), (5, (5, 5)))  # where both baselines lie at one height, each fills the other's gaps


def dual(
    frame: "DataFrame",
    *,
    values: Mapping[str, str],
    baseline: Mapping[str, float] | None = None,
    ours: str = "ours",
    paper: str = "paper",
) -> "Figure":
    """Draw one panel a setting, with its values as equal steps and two quantities over them (001 Fig. 9).

    Args:
        frame: columns panel, value (text) and the two quantities; maybe `<name>_std`, drawn as bars, and
            `<name>_paper`, drawn dotted; NaN where there is none.
        values: the two columns -> labels of the left and of the right axis.
        baseline: values of either column to mark by dashed lines: the model without what is varied.
        ours: the legend's text for our values.
        paper: the legend's text for the paper's; it stands there only if the paper has a value.

    Raises:
        ParameterError: a column is missing, there is no row, or there are not two quantities.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    if len(values) != 2:
        raise ParameterError(f"This figure has two axes, got {len(values)} values: {', '.join(values)}.")
    missing = [name for name in ("panel", "value", *values) if name not in frame]
    if missing or frame.empty:
        raise ParameterError(f"This figure needs rows; missing: {', '.join(missing) or 'rows'}.")
    levels = dict(baseline or {})
    panels = list(frame.groupby("panel", sort=False))
    lines = -(-len(panels) // COLUMNS)
    with themed() as pyplot:
        size = (WIDTH, 0.6 + 2.7 * lines)
        figure = pyplot.figure(figsize=size, layout="constrained")
        handles: dict[str, Any] = {}
        for number, (panel, rows) in enumerate(panels):
            axes = figure.add_subplot(lines, min(len(panels), COLUMNS), number + 1)
            axes.set_xticks(range(len(rows)), rows["value"])
            axes.set_xlabel(panel)
            sides = (axes, axes.twinx())
            sides[1].grid(visible=False)
            for place, (side, (name, label)) in enumerate(zip(sides, values.items(), strict=True)):
                drawn = _draw(side, rows, name, STYLES[place], ours, paper)
                if name in levels:
                    drawn["no defense"] = side.axhline(
                        levels[name], color=STYLES[place]["color"], ls=DASHES[place], linewidth=1.2
                    )
                handles |= {f"{label}, {what}": handle for what, handle in drawn.items()}
                side.set_ylim(*_limits(frame, name, levels.get(name)))
                side.tick_params(axis="y", colors=STYLES[place]["color"])
                outer = (number % COLUMNS == 0, number % COLUMNS == COLUMNS - 1 or number == len(panels) - 1)
                if outer[place]:
                    side.set_ylabel(label, color=STYLES[place]["color"])
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2)
        return figure


def _draw(
    axes: "Axes", rows: "DataFrame", name: str, style: dict[str, Any], ours: str, paper: str
) -> dict[str, Any]:
    """Draw one quantity in a panel; return what the legend shows of it."""
    places = list(range(len(rows)))
    found: dict[str, Any] = {
        ours: axes.errorbar(places, rows[name], yerr=rows.get(f"{name}_std"), capsize=3, **style)
    }
    theirs = rows.get(f"{name}_paper")
    if theirs is not None and theirs.notna().any():
        found[paper] = axes.plot(places, theirs, ls=":", markerfacecolor="white", **style)[0]
    return found


def _limits(frame: "DataFrame", name: str, level: float | None) -> tuple[float, float]:
    """The same limits for all panels, with every value, bar and baseline inside."""
    bars = frame[f"{name}_std"].fillna(0.0) if f"{name}_std" in frame else 0.0
    values = [*(frame[name] - bars).dropna(), *(frame[name] + bars).dropna()]
    values += list(frame[f"{name}_paper"].dropna()) if f"{name}_paper" in frame else []
    values += [] if level is None or level != level else [level]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.08 * (high - low) or 0.1
    return low - margin, high + margin
