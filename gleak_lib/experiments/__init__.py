"""Experiments: cells, the store that keeps them, the runner, tables, and the parameters of chapters."""

from gleak_lib.experiments import parameters, profiles, tables
from gleak_lib.experiments.base import Cell, Output, from_json
from gleak_lib.experiments.cells import AttackCell, TrainingCell
from gleak_lib.experiments.chapters import CHAPTERS, Chapter, chapter
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.profiles import PROFILES
from gleak_lib.experiments.result import Result
from gleak_lib.experiments.run import run
from gleak_lib.experiments.serial import storable
from gleak_lib.experiments.store import DamagedResultWarning, Status, Store, open_store

__all__ = [
    "CHAPTERS",
    "PROFILES",
    "AttackCell",
    "Cell",
    "Chapter",
    "Context",
    "DamagedResultWarning",
    "Output",
    "Result",
    "Status",
    "Store",
    "TrainingCell",
    "chapter",
    "from_json",
    "open_store",
    "parameters",
    "profiles",
    "run",
    "storable",
    "tables",
]
