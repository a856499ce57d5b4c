"""Experiments: what is run (`specs`), found (`store`), how it is computed (`runner`) and shown (`report`)."""

from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import storable
from gleak_lib.experiments.report import intervals, tables
from gleak_lib.experiments.runner.run import run
from gleak_lib.experiments.specs import (
    AttackCell,
    Cell,
    LabelCell,
    MovieCell,
    Output,
    SpreadCell,
    TrainingCell,
    from_json,
)
from gleak_lib.experiments.store import DamagedResultWarning, Result, Results, Status, Store, frame

__all__ = [
    "AttackCell",
    "Cell",
    "Context",
    "DamagedResultWarning",
    "LabelCell",
    "MovieCell",
    "Output",
    "Result",
    "Results",
    "SpreadCell",
    "Status",
    "Store",
    "TrainingCell",
    "frame",
    "from_json",
    "intervals",
    "run",
    "storable",
    "tables",
]
