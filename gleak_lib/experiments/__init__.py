"""Experiments: what is run (`specs`), found (`store`), how it is computed (`runner`) and shown (`report`)."""

from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import storable
from gleak_lib.experiments.report import intervals, tables
from gleak_lib.experiments.runner.run import run
from gleak_lib.experiments.specs.animation import AnimationExperiment
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import Experiment, Output, Work, from_json
from gleak_lib.experiments.specs.class_counts import ClassCountsExperiment
from gleak_lib.experiments.specs.communication_cost import CommunicationCostExperiment
from gleak_lib.experiments.specs.conditioning import ConditioningExperiment
from gleak_lib.experiments.specs.generator import GeneratorExperiment
from gleak_lib.experiments.specs.generator_control import GeneratorControlExperiment
from gleak_lib.experiments.specs.gradient_tracks import GradientTracksExperiment
from gleak_lib.experiments.specs.label_inference import LabelInferenceExperiment
from gleak_lib.experiments.specs.leakage_risk import LeakageRiskExperiment
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityExperiment
from gleak_lib.experiments.specs.reidentification import ReidentificationExperiment, ranks
from gleak_lib.experiments.specs.shapes import NUMBER, NUMBERS
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.experiments.store import DamagedResultWarning, Result, Results, Status, Store, frame

__all__ = [
    "NUMBER",
    "NUMBERS",
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
    "Work",
    "frame",
    "from_json",
    "intervals",
    "ranks",
    "run",
    "storable",
    "tables",
]
