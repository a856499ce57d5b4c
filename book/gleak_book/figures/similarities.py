"""Similarity of gradients over an attack, a line a layer (after 001 Fig. 6)."""

from typing import TYPE_CHECKING, Any

from gleak_lib.errors import ParameterError
from gleak_lib.extras import require
from gleak_lib.plots.style import WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLUMNS = ("row", "setting", "layer", "step", "similarity")
BOTTLENECK = {"encoder": ("#66bd63", "--"), "decoder": ("#00562b", "--")}
BLUES = (0.42, 0.98)  # the part of the color map that the model's own layers share, first to last

DPI = 120  # these panels hold many points, and the book keeps its chapters below 2 MB


def similarities(frame: "DataFrame", *, ylabel: str = "cosine similarity", caption: str = "") -> "Figure":
    """Draw a panel a setting, with one line for each layer over the steps of the attack (log axis).

    The model's own layers are blue, from light (first) to dark (last); a bottleneck's are green and dashed.

    Args:
        frame: columns row (panels below each other, in order), setting (beside each other), layer (in the
            order of the forward pass), step, similarity, and maybe low and high, drawn as a band.
        ylabel: the quantity.
        caption: a line above the panels.

    Raises:
        ParameterError: a column is missing, or there is no row.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    missing = [name for name in COLUMNS if name not in frame]
    if missing or frame.empty:
        raise ParameterError(f"This figure needs rows; missing: {', '.join(missing) or 'rows'}.")
    lines, settings = (list(dict.fromkeys(frame[name])) for name in ("row", "setting"))
    looks = _looks(frame)
    with themed() as pyplot:
        figure, axes = pyplot.subplots(
            len(lines),
            len(settings),
            figsize=(WIDTH, 0.7 + (2.9 if len(lines) == 1 else 2.2) * len(lines)),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
            dpi=DPI,
        )
        for place, line in enumerate(lines):
            for ax, setting in zip(axes[place], settings, strict=True):
                own = frame[(frame["row"] == line) & (frame["setting"] == setting)]
                for layer, curve in own.groupby("layer", sort=False):
                    color, dash = looks[str(layer)]
                    ax.plot(curve["step"], curve["similarity"], dash, color=color, linewidth=1.3)
                    if "low" in frame and "high" in frame:
                        ax.fill_between(
                            curve["step"], curve["low"], curve["high"], color=color, alpha=0.15, linewidth=0
                        )
                ax.axhline(0, color="0.4", linewidth=1)
                ax.set_xscale("log")
                ax.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
                ax.margins(x=0)
                if place == 0:
                    ax.set_title(setting)
                if place == len(lines) - 1:
                    ax.set_xlabel("step")
            axes[place][0].set_ylabel(f"{line}\n{ylabel}" if line else ylabel)
        handles = [
            pyplot.Line2D([], [], color=color, linestyle=dash, label=layer)
            for layer, (color, dash) in looks.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(looks), 6))
        if caption:
            figure.suptitle(caption, size=9, color="0.35")
        return figure


def _looks(frame: "DataFrame") -> dict[str, tuple[Any, str]]:
    """Color and dash by layer, in the order of the setting that has most of them."""
    blues = require("matplotlib", "book").colormaps["Blues"]
    by_setting = [list(dict.fromkeys(own["layer"])) for _, own in frame.groupby("setting", sort=False)]
    layers = max(by_setting, key=len)
    layers += [layer for those in by_setting for layer in those if layer not in layers]
    kinds = {layer: str(layer).rpartition(" ")[2] for layer in layers}
    blue = [layer for layer in layers if kinds[layer] not in BOTTLENECK]
    low, high = BLUES
    shades = {
        layer: blues(low + (high - low) * place / max(len(blue) - 1, 1)) for place, layer in enumerate(blue)
    }
    return {layer: BOTTLENECK.get(kinds[layer]) or (shades[layer], "-") for layer in dict.fromkeys(layers)}
