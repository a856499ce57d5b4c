"""One look for every figure: colors that everybody can tell apart, sizes that survive the page."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from gleak_lib.extras import require

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colors, the yellow left out (it is too light for lines on white)."""

WIDTH = 8.0
"""Inches; the book shows 8 inches on about 800 pixels, so that a font of 10 points is 14 pixels high."""

_RC = {
    "figure.dpi": 150,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": "#dddddd",
    "image.interpolation": "nearest",
}


def style() -> None:
    """Give every figure that follows, a reader's own too, the look of the book's.

    The functions of this package need no call: they draw in this style anyway.

    Raises:
        MissingDependencyError: matplotlib or seaborn is not installed.
    """
    require("matplotlib", "book")
    require("seaborn", "book").set_theme(style="whitegrid", palette=list(PALETTE), color_codes=False, rc=_RC)


@contextmanager
def themed() -> Iterator[ModuleType]:
    """Give pyplot in the book's style, and take every figure drawn meanwhile from pyplot afterwards.

    So a figure is the caller's alone: nothing shows it a second time, and none is left where drawing failed.
    """
    pyplot = require("matplotlib.pyplot", "book")
    seaborn = require("seaborn", "book")
    before = set(pyplot.get_fignums())
    with pyplot.rc_context():
        seaborn.set_theme(style="whitegrid", palette=list(PALETTE), color_codes=False, rc=_RC)
        try:
            yield pyplot
        finally:
            for number in set(pyplot.get_fignums()) - before:
                pyplot.close(number)
