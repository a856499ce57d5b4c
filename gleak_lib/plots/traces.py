"""How the attack's loss falls."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from gleak_lib.errors import ShapeError
from gleak_lib.plots.style import PALETTE, WIDTH, themed
from gleak_lib.types import Reconstruction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASHES = ("-", "--", "-.", ":")


def traces(
    runs: Mapping[str, Reconstruction | tuple[Tensor, Tensor]], *, ylabel: str = "reconstruction loss"
) -> "Figure":
    """Draw the median loss over the victims at each step, with the band between the quartiles, on a log axis.

    A victim that has stopped keeps its last loss, so that the median is always over all victims and does
    not jump when the easy ones leave.

    Args:
        runs: label -> what `invert` returned, or its pair of steps (T) and losses (T x V, NaN once a
            victim has stopped).
        ylabel: what the loss is.

    Raises:
        ShapeError: steps and losses that do not fit together, or no finite loss above 0.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    with themed() as pyplot:
        figure, axes = pyplot.subplots(figsize=(WIDTH, 3.8), layout="constrained")
        for place, (label, run) in enumerate(runs.items()):
            steps, low, median, high = _quartiles(label, run)
            color = PALETTE[place % len(PALETTE)]
            axes.plot(steps, median, DASHES[place % len(DASHES)], color=color, label=label)
            axes.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
        axes.set(yscale="log", xlabel="step", ylabel=ylabel, title="median and quartiles over the victims")
        if runs:
            axes.margins(x=0)
            figure.legend(loc="outside lower center", ncols=min(len(runs), 3))
        return figure


def _quartiles(label: str, run: Reconstruction | tuple[Tensor, Tensor]) -> tuple[np.ndarray, ...]:
    """Return steps, first quartile, median and third quartile."""
    steps, losses = (run.trace_steps, run.trace) if isinstance(run, Reconstruction) else run
    steps, losses = steps.detach().cpu().numpy(), losses.detach().double().cpu().numpy().copy()
    if steps.ndim != 1 or losses.ndim != 2 or len(steps) != len(losses):
        raise ShapeError(f"{label}: expected T steps and T x V losses, got {steps.shape} and {losses.shape}.")
    for before, after in pairwise(losses):
        np.copyto(after, before, where=np.isnan(after))
    losses = losses[:, ~np.isnan(losses).any(axis=0)]  # a victim without any loss yet
    positive = losses[np.isfinite(losses) & (losses > 0)]
    if not positive.size:
        raise ShapeError(f"{label}: there is no finite loss above 0 to draw on a log axis.")
    return steps, *np.quantile(losses.clip(positive.min()), (0.25, 0.5, 0.75), axis=1)
