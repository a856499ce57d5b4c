"""What was found: one small JSON file per finished experiment, with its origin."""

from gleak_lib.experiments.store.frames import Results, frame
from gleak_lib.experiments.store.result import Result
from gleak_lib.experiments.store.store import DamagedResultWarning, Status, Store

__all__ = ["DamagedResultWarning", "Result", "Results", "Status", "Store", "frame"]
