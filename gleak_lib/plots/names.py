"""Names beside points, where they cover neither each other nor the points, and lines as little as can be."""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels."""

SIZE = 7  # of the letters, points
NEAR, FAR = 4, (14, 26, 40)  # between a point and its name, points; there is a thin line where it is far
ROUND = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))  # right and above first
PLACES = [(distance, *side) for distance, side in product((NEAR, *FAR), ROUND)]
HORIZONTAL, VERTICAL = {-1: "right", 0: "center", 1: "left"}, {-1: "top", 0: "center", 1: "bottom"}
OUTSIDE = 10.0  # times as bad as to cover something
LEADER = 12.0  # what a thin line costs, in pixels of what may be covered instead
POINT, LINE, GAP = 6.0, 2.0, 6.0  # kept free around a point, along a line and beside a name, pixels


def add(axes: "Axes", text: str, point: tuple[float, float], color: str) -> "Annotation":
    """Add the name of a point, for which `spread` finds a place."""
    line = {"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    more = {"fontsize": SIZE, "color": color, "in_layout": False, "arrowprops": line}
    return axes.annotate(text, point, xytext=(0, 0), textcoords="offset points", **more)


def spread(axes: "Axes", names: "Sequence[Annotation]") -> None:
    """Move names, one after the other, to where each covers least; call it when the figure is laid out.

    Args:
        axes: the panel, whose points and lines are kept free.
        names: what `add` returned.
    """
    from matplotlib.text import Text

    figure = axes.get_figure(root=True)
    assert figure is not None
    pixel = figure.dpi / 72
    panel: Box = axes.get_window_extent().extents
    taken = [box for line in axes.lines for box in _covered(line)]
    for name in names:
        x, y = axes.transData.transform(name.xy)
        extent = Text.get_window_extent(name)  # without the line
        boxes = [
            _box(x + pixel * d * side, y + pixel * d * height, extent.width, extent.height, side, height)
            for d, side, height in PLACES
        ]
        costs = [
            sum(_common(box, t) for t in taken) + OUTSIDE * _beyond(box, panel) + LEADER * (d > NEAR)
            for box, (d, *_) in zip(boxes, PLACES, strict=True)
        ]
        number = costs.index(min(costs))
        distance, side, height = PLACES[number]
        left, bottom, right, top = boxes[number]
        taken.append((left - GAP, bottom, right + GAP, top))
        name.set(position=(distance * side, distance * height), ha=HORIZONTAL[side], va=VERTICAL[height])
        if name.arrow_patch is not None:
            name.arrow_patch.set_visible(distance > NEAR)


def _covered(line: "Line2D") -> list[Box]:
    """Return boxes around a line's points, if they are marked, and along the line, if it is drawn."""
    ends = line.get_transform().transform(np.asarray(line.get_xydata()))
    ends = ends[np.isfinite(ends).all(axis=1)]
    marked = ends if line.get_marker() != "None" else ends[:0]
    drawn = [
        np.linspace(a, b, 2 + int(np.hypot(*(b - a)) / (2 * LINE)))
        for a, b in pairwise(ends)
        if line.get_linestyle() != "None"
    ]
    around = [(marked, POINT), *((points, LINE) for points in drawn)]
    return [(x - r, y - r, x + r, y + r) for points, r in around for x, y in points]


def _box(x: float, y: float, width: float, height: float, side: int, above: int) -> Box:
    left, bottom = x + width * (side - 1) / 2, y + height * (above - 1) / 2
    return left, bottom, left + width, bottom + height


def _common(one: Box, other: Box) -> float:
    """Area of what both cover."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _beyond(box: Box, panel: Box) -> float:
    """Area of a box that is not in the panel."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _common(box, panel)
