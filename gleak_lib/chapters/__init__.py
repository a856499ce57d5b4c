"""Chapters: their parameters and profiles, the experiments that they declare, and their execution."""

from gleak_lib.chapters import parameters, profiles, sources
from gleak_lib.chapters.declared import experiments
from gleak_lib.chapters.profiles import PROFILES, open_store

__all__ = ["PROFILES", "experiments", "open_store", "parameters", "profiles", "sources"]
