"""Where two images are alike, and which of it the SSIM counts."""

from typing import TYPE_CHECKING

from gleak_lib.errors import ShapeError
from gleak_lib.metrics import ssim_map
from gleak_lib.metrics.image import WINDOW
from gleak_lib.plots.style import themed
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 1.9  # inches


def window(original: Tensor, found: Tensor) -> "Figure":
    """Draw an original, its reconstruction and their SSIM by pixel, with a frame around what is counted.

    Args:
        original: C x H x W in [0, 1], C 1 or 3, H and W at least 11.
        found: of the same shape and range.

    Raises:
        ShapeError: other shapes, or pixels out of the range.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    if original.ndim != 3 or original.shape[0] not in (1, 3):
        raise ShapeError(f"original must be C x H x W with C 1 or 3, got {tuple(original.shape)}.")
    similarity = ssim_map(found[None].cpu(), original[None].cpu())[0].mean(0)
    height, width = similarity.shape
    panels = {"original": original, "reconstruction": found, "SSIM": similarity}
    with themed() as pyplot:
        size = (3 * PANEL + 0.6, PANEL + 0.35)
        figure, row = pyplot.subplots(1, 3, figsize=size, layout="constrained")
        for axes, (title, values) in zip(row, panels.items(), strict=True):
            picture = values.detach().cpu() if values.ndim == 2 else values.detach().cpu().movedim(0, -1)
            limits = {"vmin": -1, "vmax": 1, "cmap": "RdBu"} if values.ndim == 2 else {"vmin": 0, "vmax": 1}
            shown = axes.imshow(picture.squeeze(-1).numpy(), **({"cmap": "gray"} | limits))
            axes.set_title(title)
            axes.set_axis_off()
            edge = WINDOW // 2
            inside = (width - 2 * edge, height - 2 * edge)
            color = "black" if values.ndim == 2 else "#E69F00"
            frame = pyplot.Rectangle(
                (edge - 0.5, edge - 0.5), *inside, fill=False, color=color, linewidth=1.5
            )
            axes.add_patch(frame)
        figure.colorbar(shown, ax=row[-1], fraction=0.05)
        return figure
