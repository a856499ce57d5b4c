"""Experiments: what is run (`specs`), found (`store`), how it is computed (`runner`) and shown (`report`)."""

from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import storable
from gleak_lib.experiments.report import intervals, tables
from gleak_lib.experiments.runner.run import run
from gleak_lib.experiments.specs import (
    AnimationExperiment,
    AttackExperiment,
    ClassCountsExperiment,
    CommunicationCostExperiment,
    ConditioningExperiment,
    Experiment,
    GeneratorControlExperiment,
    GeneratorExperiment,
    GradientTracksExperiment,
    LabelInferenceExperiment,
    LeakageRiskExperiment,
    NoiseSensitivityExperiment,
    Output,
    ReidentificationExperiment,
    TrainingExperiment,
    from_json,
)
from gleak_lib.experiments.store import DamagedResultWarning, Result, Results, Status, Store, frame

__all__ = [
    "AnimationExperiment",
    "AttackExperiment",
    "ClassCountsExperiment",
    "CommunicationCostExperiment",
    "ConditioningExperiment",
    "Context",
    "DamagedResultWarning",
    "Experiment",
    "GeneratorControlExperiment",
    "GeneratorExperiment",
    "GradientTracksExperiment",
    "LabelInferenceExperiment",
    "LeakageRiskExperiment",
    "NoiseSensitivityExperiment",
    "Output",
    "ReidentificationExperiment",
    "Result",
    "Results",
    "Status",
    "Store",
    "TrainingExperiment",
    "frame",
    "from_json",
    "intervals",
    "run",
    "storable",
    "tables",
]
