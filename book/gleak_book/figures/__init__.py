"""Kinds of figures that a chapter or two draw; each returns a matplotlib figure and shows nothing."""

from gleak_book.figures.curves import curves
from gleak_book.figures.distributions import distributions
from gleak_book.figures.levels import levels
from gleak_book.figures.spectra import spectra

__all__ = [
    "curves",
    "distributions",
    "levels",
    "spectra",
]
