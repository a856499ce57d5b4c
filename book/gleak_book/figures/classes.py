"""How the images of some sets are spread over their classes."""

from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError
from gleak_lib.plots.style import PALETTE, WIDTH, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SMALL = 0.05  # a narrower part has no room for its number


def classes(frame: "DataFrame") -> "Figure":
    """Draw one bar a set, cut into its classes by their share of the images.

    Args:
        frame: columns dataset, class (0 ... K - 1), count.

    Raises:
        ParameterError: a column is missing, or there is no image.
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    missing = [name for name in ("dataset", "class", "count") if name not in frame]
    if missing or not frame["count"].sum():
        raise ParameterError(f"This figure needs images by class; missing: {', '.join(missing) or 'images'}.")
    names = list(dict.fromkeys(frame["dataset"]))
    with themed() as pyplot:
        figure, axes = pyplot.subplots(figsize=(WIDTH, 0.9 + 0.5 * len(names)), layout="constrained")
        for place, name in enumerate(names):
            own = frame[frame["dataset"] == name]
            left = 0.0
            for number, count in zip(own["class"], own["count"], strict=True):
                share = count / own["count"].sum()
                color = PALETTE[int(number) % len(PALETTE)]
                axes.barh(place, share, left=left, color=color, edgecolor="white", height=0.7)
                if share > SMALL:
                    axes.text(
                        left + share / 2, place, str(count), ha="center", va="center", color="white", size=8
                    )
                left += share
        axes.set_yticks(range(len(names)), names)
        axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xlabel="share of the images, class by class")
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(visible=False)
        return figure
