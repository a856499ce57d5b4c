"""Kinds of figures that a chapter or two draw; each returns a matplotlib figure and shows nothing."""

from gleak_book.figures.comparison import comparison
from gleak_book.figures.curves import curves
from gleak_book.figures.distributions import distributions
from gleak_book.figures.groups import groups
from gleak_book.figures.levels import levels
from gleak_book.figures.spectra import spectra
from gleak_book.figures.sweep import sweep
from gleak_book.figures.window import window

__all__ = [
    "comparison",
    "curves",
    "distributions",
    "groups",
    "levels",
    "spectra",
    "sweep",
    "window",
]
