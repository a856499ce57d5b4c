"""One function a figure kind; each returns a matplotlib figure and shows nothing.

matplotlib and seaborn are imported when a figure is drawn.
"""

from gleak_lib.plots.agreement import agreement
from gleak_lib.plots.animation import Animation, animation
from gleak_lib.plots.classes import classes
from gleak_lib.plots.comparison import comparison
from gleak_lib.plots.dual import dual
from gleak_lib.plots.groups import groups
from gleak_lib.plots.intervals import intervals
from gleak_lib.plots.levels import levels
from gleak_lib.plots.reconstructions import reconstructions
from gleak_lib.plots.scaling import scaling
from gleak_lib.plots.similarities import similarities
from gleak_lib.plots.style import PALETTE, style
from gleak_lib.plots.sweep import sweep
from gleak_lib.plots.traces import traces
from gleak_lib.plots.tracks import tracks
from gleak_lib.plots.tradeoff import tradeoff
from gleak_lib.plots.utility import utility
from gleak_lib.plots.window import window

__all__ = [
    "PALETTE",
    "Animation",
    "agreement",
    "animation",
    "classes",
    "comparison",
    "dual",
    "groups",
    "intervals",
    "levels",
    "reconstructions",
    "scaling",
    "similarities",
    "style",
    "sweep",
    "traces",
    "tracks",
    "tradeoff",
    "utility",
    "window",
]
