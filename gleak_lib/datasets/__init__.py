"""Image sets by name, from files that are never trusted: `load`, `victims`, `check`."""

from gleak_lib.datasets.base import ImageDataset, Pixels, Split
from gleak_lib.datasets.build import STATISTICS, Statistics, build
from gleak_lib.datasets.root_set import RootSet
from gleak_lib.datasets.search import GRAY, Found, check, data_root, load
from gleak_lib.datasets.sources import DATASETS, Source
from gleak_lib.datasets.victims import victims

__all__ = [
    "DATASETS",
    "GRAY",
    "STATISTICS",
    "Found",
    "ImageDataset",
    "Pixels",
    "RootSet",
    "Source",
    "Split",
    "Statistics",
    "build",
    "check",
    "data_root",
    "load",
    "victims",
]
