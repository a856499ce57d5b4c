"""Utility against privacy, a point a model (after 001 Fig. 11)."""

from typing import TYPE_CHECKING

from gleak_lib.plots.rows import check_rows
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

COLUMNS = ("panel", "dataset", "model", "defended", "ssim", "accuracy")
MARKERS = ("o", "s", "^", "D", "v")


def utility(frame: "DataFrame", *, threshold: float = 0.5) -> "Figure":
    """Draw accuracy against 1 - SSIM: the better model stands further to the top, the safer to the right.

    Colors tell image sets apart, markers models; an empty marker is a model without defense. What was
    attacked but not trained, or the other way round, has no place; a panel without any point says so.

    Args:
        frame: columns panel (beside each other, in order), dataset, model, defended (bool), ssim, accuracy
            (percent); NaN where there is none.
        threshold: the mean SSIM that is marked by a line; right of it a model counts as private.

    Raises:
        ParameterError: a column is missing, or there is no row.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    check_rows(frame, COLUMNS)
    panels, sets, models = (list(dict.fromkeys(frame[name])) for name in ("panel", "dataset", "model"))
    with themed() as pyplot:
        figure, axes = pyplot.subplots(
            1,
            len(panels),
            figsize=(WIDTH, 4.2),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for ax, panel in zip(axes[0], panels, strict=True):
            there = (frame["panel"] == panel) & frame["ssim"].notna() & frame["accuracy"].notna()
            own = frame.loc[there]
            for line in own.to_dict("records"):
                color = PALETTE[sets.index(line["dataset"]) % len(PALETTE)]
                ax.plot(
                    1 - line["ssim"],
                    line["accuracy"],
                    marker=MARKERS[models.index(line["model"]) % len(MARKERS)],
                    color=color,
                    markerfacecolor=color if line["defended"] else "white",
                    markersize=8,
                    linestyle="none",
                )
            if own.empty:
                ax.text(
                    0.5,
                    0.5,
                    "nothing that was both\nattacked and trained",
                    transform=ax.transAxes,
                    ha="center",
                )
            ax.axvline(1 - threshold, color=PALETTE[1], linestyle=":", linewidth=1)
            ax.set(title=panel, xlabel="1 − SSIM (privacy)", xlim=(0, 1.05))
        axes[0][0].set_ylabel("test accuracy %")
        dot = {"linestyle": "none", "markersize": 7}
        handles = [
            pyplot.Line2D([], [], marker="o", color=PALETTE[i % len(PALETTE)], label=name, **dot)
            for i, name in enumerate(sets)
        ]
        handles += [
            pyplot.Line2D([], [], marker=MARKERS[i % len(MARKERS)], color="0.4", label=name, **dot)
            for i, name in enumerate(models)
            if len(models) > 1
        ]
        handles += [
            pyplot.Line2D([], [], marker="o", color="0.4", markerfacecolor=face, label=text, **dot)
            for face, text in (("white", "without defense"), ("0.4", "defended"))
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=5)
        return figure
