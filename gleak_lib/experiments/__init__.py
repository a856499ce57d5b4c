"""Experiments: what is run (`specs`), found (`store`), how it is computed (`runner`) and shown (`report`)."""

from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import storable
from gleak_lib.experiments.report import intervals, tables
from gleak_lib.experiments.runner.run import run
from gleak_lib.experiments.specs import (
    AnimationCell,
    AttackCell,
    Cell,
    ClassCountsCell,
    CommunicationCostCell,
    ConditioningCell,
    GeneratorCell,
    GeneratorControlCell,
    GradientTracksCell,
    LabelInferenceCell,
    LeakageRiskCell,
    NoiseSensitivityCell,
    Output,
    ReidentificationCell,
    TrainingCell,
    from_json,
)
from gleak_lib.experiments.store import DamagedResultWarning, Result, Results, Status, Store, frame

__all__ = [
    "AnimationCell",
    "AttackCell",
    "Cell",
    "ClassCountsCell",
    "CommunicationCostCell",
    "ConditioningCell",
    "Context",
    "DamagedResultWarning",
    "GeneratorCell",
    "GeneratorControlCell",
    "GradientTracksCell",
    "LabelInferenceCell",
    "LeakageRiskCell",
    "NoiseSensitivityCell",
    "Output",
    "ReidentificationCell",
    "Result",
    "Results",
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
