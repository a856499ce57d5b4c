"""Names beside points, where they cover neither each other nor the points."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels."""

SIZE = 7  # of the letters, points
NEAR, FAR = 4, (14, 26, 40)  # between a point and its name, points; there is a thin line where it is far
ROUND = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))  # right and above first
PLACES = [(distance, *side) for distance, side in product((NEAR, *FAR), ROUND)]
HORIZONTAL, VERTICAL = {-1: "right", 0: "center", 1: "left"}, {-1: "top", 0: "center", 1: "bottom"}
OUTSIDE = 10.0  # times as bad as to cover something


def add(axes: "Axes", text: str, point: tuple[float, float], color: str) -> "Annotation":
    """Add the name of a point, for which `spread` finds a place."""
    line = {"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    more = {"fontsize": SIZE, "color": color, "in_layout": False, "arrowprops": line}
    return axes.annotate(text, point, xytext=(0, 0), textcoords="offset points", **more)


def spread(axes: "Axes", names: "Sequence[Annotation]") -> None:
    """Move names, one after the other, to where each covers least; call it when the figure is laid out.

    Args:
        axes: the panel, whose lines' points are kept free.
        names: what `add` returned.
    """
    from matplotlib.text import Text

    figure = axes.get_figure(root=True)
    assert figure is not None
    pixel = figure.dpi / 72
    panel: Box = axes.get_window_extent().extents
    points = [xy for line in axes.lines if line.get_marker() != "None" for xy in np.array(line.get_xydata())]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in axes.transData.transform(points)] if points else []
    for name in names:
        x, y = axes.transData.transform(name.xy)
        extent = Text.get_window_extent(name)  # without the line
        boxes = [
            _box(x + pixel * d * side, y + pixel * d * height, extent.width, extent.height, side, height)
            for d, side, height in PLACES
        ]
        costs = [sum(_common(box, t) for t in taken) + OUTSIDE * _beyond(box, panel) for box in boxes]
        number = costs.index(min(costs))
        distance, side, height = PLACES[number]
        taken.append(boxes[number])
        name.set(position=(distance * side, distance * height), ha=HORIZONTAL[side], va=VERTICAL[height])
        if name.arrow_patch is not None:
            name.arrow_patch.set_visible(distance > NEAR)


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
