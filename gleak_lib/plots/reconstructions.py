"""Reconstructions below the originals."""

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.metrics import assign, score
from gleak_lib.plots.style import WIDTH, themed
from gleak_lib.types import Reconstruction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP, FOOT, TEXT = 0.06, 0.24, 0.21  # inches: between tiles, footer, line below a tile


def reconstructions(
    originals: Tensor,
    rows: Mapping[str, Reconstruction | Tensor],
    *,
    columns: int = 8,
    scaling: Literal["minmax", "none"] = "minmax",
) -> "Figure":
    """Draw the originals, and one labeled row of reconstructions a method, with the SSIM below each tile.

    Tiles show the pixels as they are, clipped to [0, 1]; only the SSIM is computed on scaled images, and
    the footer says so.

    Args:
        originals: V x C x H x W or V x B x C x H x W in [0, 1], C 1 or 3.
        rows: label -> what `invert` returned, or its images; of the originals' shape.
        columns: at most so many images are drawn, the first ones (1 to 16).
        scaling: as for `metrics.score`.

    Raises:
        ParameterError: a number of columns outside 1 ... 16.
        ShapeError: shapes that differ, or images that are neither gray nor color.
        MissingDependencyError: matplotlib, seaborn or pandas is not installed.
    """
    if not 1 <= columns <= 16:
        raise ParameterError(f"columns must be 1 to 16, got {columns}.")
    if originals.ndim not in (4, 5) or originals.shape[-3] not in (1, 3):
        raise ShapeError(f"originals must be V x C x H x W with C 1 or 3, got {tuple(originals.shape)}.")
    truth = originals.detach().cpu()
    count = min(columns, len(_flat(truth)))
    lines: list[tuple[str, Tensor, list[str]]] = [("original", _flat(truth)[:count], [])]
    for label, found in rows.items():
        images = (found.images if isinstance(found, Reconstruction) else found).detach().cpu()
        captions = [f"{value:.2f}" for value in score(images, truth, scaling=scaling)["ssim"][:count]]
        ordered = assign(images, truth) if images.ndim == 5 else images
        label = textwrap.fill(label, 17, max_lines=3, placeholder=" …")
        lines.append((label, _flat(ordered)[:count], captions))
    with themed() as pyplot:
        figure = pyplot.figure()
        start = max(_width(figure, label) for label, _, _ in lines) + 2 * GAP
        tile = min(1.2, (WIDTH - start) / count - GAP)
        width = max(start + count * (tile + GAP), 4.0)  # the footer needs four inches
        height = len(lines) * (tile + GAP) + len(rows) * TEXT + FOOT  # no SSIM below the originals
        figure.set_size_inches(width, height)
        top = height
        for label, images, captions in lines:
            top -= tile
            for place, image in enumerate(images):
                left = start + place * (tile + GAP)
                axes = figure.add_axes((left / width, top / height, tile / width, tile / height))
                _tile(axes, image, captions[place] if captions else "")
            figure.text(0, (top + tile / 2) / height, label, va="center", size=9)
            top -= GAP + (TEXT if captions else 0)
        if rows:
            scaled = "each image min–max scaled" if scaling == "minmax" else "images clipped to [0, 1]"
            figure.text(0, 0.04 / height, f"below each tile: SSIM, {scaled}", size=9, color="0.35")
        return figure


def _flat(images: Tensor) -> Tensor:
    return images.reshape(-1, *images.shape[-3:]).clamp(0, 1)


def _width(figure: "Figure", label: str) -> float:
    """Return the width of a row's label in inches."""
    text = figure.text(0, 0, label, size=9)
    width = text.get_window_extent().width / figure.dpi
    text.remove()
    return width


def _tile(axes: "Axes", image: Tensor, caption: str) -> None:
    axes.imshow(image.movedim(0, -1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1, aspect="auto")
    axes.set_axis_off()
    axes.annotate(caption, (0.5, 0), (0, -2), "axes fraction", "offset points", ha="center", va="top", size=9)
