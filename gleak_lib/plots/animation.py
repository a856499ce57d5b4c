"""A reconstruction as it happens: a picture that plays in the page, with nothing to load."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from gleak_lib.errors import ShapeError
from gleak_lib.extras import require
from gleak_lib.plots.style import themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

TILE, GAP, LABEL, TEXT, HEAD = 0.96, 0.06, 0.7, 0.22, 0.3  # inches
DPI = 100  # three pixels for each of a 32 x 32 image
QUALITY = 30  # of WebP: 30 frames of noise are large
PAUSE = 3_000  # milliseconds at the last frame


@dataclass(frozen=True)
class Animation:
    """An animated picture that notebooks and pages show by themselves.

    Attributes:
        data: the animation, WebP.
        still: its last frame, WebP, for readers who asked their system for less motion.
        alt: what is to be seen, in words.
        width: pixels.
    """

    data: bytes = field(repr=False)
    still: bytes = field(repr=False)
    alt: str
    width: int

    def _repr_html_(self) -> str:
        """Return a picture element that carries its data itself."""
        moving, still = (
            f"data:image/webp;base64,{base64.b64encode(b).decode()}" for b in (self.data, self.still)
        )
        return (
            f'<picture><source srcset="{still}" media="(prefers-reduced-motion: reduce)">'
            f'<img src="{moving}" alt="{html.escape(self.alt)}" width="{self.width}" '
            'style="max-width: 100%; height: auto; background: white"></picture>'
        )


def animation(
    originals: Tensor,
    frames: Tensor,
    steps: Sequence[int],
    losses: Sequence[Sequence[float]],
    *,
    name: str,
    milliseconds: int = 250,
) -> Animation:
    """Animate the dummies below the originals, with the step above and each victim's loss below.

    Args:
        originals: V x C x H x W in [0, 1], C 1 or 3.
        frames: T x V x C x H x W in [0, 1], the dummies.
        steps: T, the step of each frame.
        losses: T x V, the attack's loss at each.
        name: what the attack is called.
        milliseconds: how long a frame is shown; the last one stays for three seconds.

    Raises:
        ShapeError: shapes that do not fit together.
        MissingDependencyError: matplotlib, seaborn or Pillow is not installed.
    """
    if frames.ndim != 5 or frames.shape[1:] != originals.shape or originals.shape[1] not in (1, 3):
        raise ShapeError(
            "Expected originals V x C x H x W (C 1 or 3) and frames T x V x C x H x W, got "
            f"{tuple(originals.shape)} and {tuple(frames.shape)}."
        )
    lengths = {len(frames), len(steps), len(losses)}
    if len(lengths) > 1 or not len(frames) or any(len(row) != len(originals) for row in losses):
        raise ShapeError(
            f"{len(frames)} frames need as many steps and rows of {len(originals)} losses, got {len(steps)} "
            f"steps and {len(losses)} rows."
        )
    pictures = _draw(originals, frames, steps, losses, name)
    durations = [milliseconds] * (len(pictures) - 1) + [PAUSE]
    moving, still = io.BytesIO(), io.BytesIO()
    kind = {"format": "WEBP", "quality": QUALITY, "method": 4}
    pictures[0].save(moving, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **kind)
    pictures[-1].save(still, **kind)
    alt = (
        f"Animation: {name} turns noise into {len(originals)} reconstructed images, shown below the "
        f"originals, from step {steps[0]} to step {steps[-1]}."
    )
    return Animation(moving.getvalue(), still.getvalue(), alt, pictures[0].width)


def _draw(
    originals: Tensor, frames: Tensor, steps: Sequence[int], losses: Sequence[Sequence[float]], name: str
) -> "list[Image]":
    pillow = require("PIL.Image", "data")
    count = len(originals)
    width, height = LABEL + count * (TILE + GAP), HEAD + 2 * (TILE + GAP) + TEXT
    pictures = []
    with themed() as pyplot:
        figure: Figure = pyplot.figure(figsize=(width, height), dpi=DPI)

        def tile(row: int, place: int, image: Tensor):
            left, bottom = LABEL + place * (TILE + GAP), height - HEAD - (row + 1) * TILE - row * GAP
            axes = figure.add_axes((left / width, bottom / height, TILE / width, TILE / height))
            axes.set_axis_off()
            return axes.imshow(_pixels(image), cmap="gray", vmin=0, vmax=1, aspect="auto")

        def text(x: float, y: float, words: str = "", **style):
            return figure.text(x / width, y / height, words, size=9, va="center", **style)

        text(0.02, height - HEAD - TILE / 2, "original")
        text(0.02, height - HEAD - GAP - 1.5 * TILE, "dummy")
        text(0.02, TEXT / 2, "loss")
        head = text(LABEL, height - HEAD / 2, weight="bold")
        middle = [LABEL + place * (TILE + GAP) + TILE / 2 for place in range(count)]
        feet = [text(x, TEXT / 2, ha="center") for x in middle]
        for place, image in enumerate(originals):
            tile(0, place, image)
        dummies = [tile(1, place, image) for place, image in enumerate(frames[0])]
        for images, step, values in zip(frames, steps, losses, strict=True):
            head.set_text(f"{name}, step {step:,}")
            for dummy, foot, image, value in zip(dummies, feet, images, values, strict=True):
                dummy.set_data(_pixels(image))
                foot.set_text(f"{value:.2g}")
            pictures.append(pillow.fromarray(_rendered(figure)).convert("RGB"))
    return pictures


def _rendered(figure: "Figure"):
    numpy = require("numpy", "book")
    backend = require("matplotlib.backends.backend_agg", "book")
    canvas = backend.FigureCanvasAgg(figure)
    canvas.draw()
    return numpy.asarray(canvas.buffer_rgba())


def _pixels(image: Tensor):
    return image.detach().cpu().clamp(0, 1).movedim(0, -1).squeeze(-1).numpy()
