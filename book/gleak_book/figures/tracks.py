"""Two entries of a gradient on their way through an attack (after 001 Fig. 5)."""

from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError
from gleak_lib.extras import require
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLUMNS = ("image", "layer", "step", "first", "second", "client_first", "client_second")

DPI = 120  # these panels hold many points, and the book keeps its chapters below 2 MB


def tracks(frame: "DataFrame", *, caption: str = "") -> "Figure":
    """Draw a row of panels an image and a column a layer: one entry against another, colored by step.

    Steps are colored on a log scale; a cross marks the client's own two values.

    Args:
        frame: columns image, layer, step, first, second (the dummy's two entries at that step),
            client_first, client_second.
        caption: a line above the panels.

    Raises:
        ParameterError: a column is missing, or there is no row.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    missing = [name for name in COLUMNS if name not in frame]
    if missing or frame.empty:
        raise ParameterError(f"This figure needs rows; missing: {', '.join(missing) or 'rows'}.")
    images, layers = (list(dict.fromkeys(frame[name])) for name in ("image", "layer"))
    with themed() as pyplot:
        figure, axes = pyplot.subplots(
            len(images),
            len(layers),
            figsize=(WIDTH, 0.6 + 2.3 * len(images)),
            squeeze=False,
            layout="constrained",
            dpi=DPI,
        )
        points, cross = None, None
        colors = require("matplotlib.colors", "book").LogNorm(frame["step"].min(), frame["step"].max())
        for line, image in zip(axes, images, strict=True):
            for ax, layer in zip(line, layers, strict=True):
                own = frame.loc[(frame["image"] == image) & (frame["layer"] == layer)]
                ax.plot(own["first"], own["second"], color="0.8", linewidth=0.6, zorder=1)
                points = ax.scatter(
                    own["first"],
                    own["second"],
                    c=own["step"],
                    cmap="viridis",
                    norm=colors,
                    s=9,
                    linewidths=0,
                    zorder=2,
                )
                cross = ax.scatter(
                    own["client_first"].iloc[:1],
                    own["client_second"].iloc[:1],
                    marker="X",
                    s=80,
                    color=PALETTE[1],
                    edgecolors="white",
                    zorder=3,
                )
                ax.ticklabel_format(style="sci", scilimits=(-2, 3), axis="both")
                ax.locator_params(nbins=4)
                if image == images[0]:
                    ax.set_title(layer)
                if image == images[-1]:
                    ax.set_xlabel("first entry")
            line[0].set_ylabel(f"{image}\nsecond entry")
        bar = figure.colorbar(points, ax=axes, label="step", pad=0.02, aspect=30)
        bar.ax.yaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
        figure.legend([cross], ["the client's own values"], loc="outside lower center")
        if caption:
            figure.suptitle(caption, size=9, color="0.35")
        return figure
