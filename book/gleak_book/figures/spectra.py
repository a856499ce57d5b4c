"""Eigenvalues of an update's covariance, and the density that pure noise would have."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from gleak_lib.defenses.spectrum import marchenko_pastur, marchenko_pastur_density
from gleak_lib.errors import ParameterError
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS, WIDEST = 30, 1.6  # of a histogram, and its right end in units of the interval's upper end


def spectra(panels: Mapping[str, torch.Tensor], *, aspect: float) -> "Figure":
    """Draw one panel each: a histogram of eigenvalues with the Marchenko-Pastur density over it.

    Args:
        panels: title -> eigenvalues, divided by the variance of the noise.
        aspect: Q, rows per column of the matrix.

    Raises:
        ParameterError: If there is no panel, or Q is below 1.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    if not panels:
        raise ParameterError("This figure needs at least one panel.")
    end = WIDEST * marchenko_pastur(1.0, aspect).high
    x = torch.linspace(0, end, 400, dtype=torch.float64)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with themed() as pyplot:
        size = (WIDTH, 0.4 + 2.1 * rows)
        figure, axes = pyplot.subplots(
            rows, columns, figsize=size, sharex=True, squeeze=False, layout="constrained"
        )
        for ax, (title, values) in zip(axes.flat, panels.items(), strict=False):
            inside = values[values <= end]
            weights = torch.full_like(inside, BINS / end / len(values))
            ax.hist(
                inside.numpy(), BINS, (0, end), weights=weights.numpy(), color=PALETTE[0], label="eigenvalues"
            )
            ax.plot(x, marchenko_pastur_density(x, 1.0, aspect), color=PALETTE[1], label="Marchenko–Pastur")
            ax.set_title(title)
            beyond = len(values) - len(inside)
            ax.text(
                0.98, 0.9, f"{beyond} of {len(values)} beyond", transform=ax.transAxes, ha="right", va="top"
            )
        for ax in axes.flat[len(panels) :]:
            ax.set_axis_off()
        for ax in axes[-1]:
            ax.set_xlabel("eigenvalue / variance of the noise")
        for ax in axes[:, 0]:
            ax.set_ylabel("density")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure
