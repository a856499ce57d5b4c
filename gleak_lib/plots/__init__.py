"""One function a figure kind; each returns a matplotlib figure and shows nothing.

matplotlib and seaborn are imported when a figure is drawn.
"""

from gleak_lib.plots.animation import Animation, animation
from gleak_lib.plots.intervals import intervals
from gleak_lib.plots.picture import Picture, picture
from gleak_lib.plots.reconstructions import reconstructions
from gleak_lib.plots.style import PALETTE, style
from gleak_lib.plots.traces import traces
from gleak_lib.plots.tradeoff import tradeoff
from gleak_lib.plots.utility import utility

__all__ = [
    "PALETTE",
    "Animation",
    "Picture",
    "animation",
    "intervals",
    "picture",
    "reconstructions",
    "style",
    "traces",
    "tradeoff",
    "utility",
]
