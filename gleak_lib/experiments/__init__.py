"""Experiments: what is run (`specs`), found (`store`), how it is computed (`runner`) and shown (`report`)."""

from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import storable
from gleak_lib.experiments.report import tables
from gleak_lib.experiments.runner.run import run
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import Experiment, Output, Work, from_json
from gleak_lib.experiments.specs.communication_cost import CommunicationCostExperiment
from gleak_lib.experiments.specs.generator import GeneratorExperiment
from gleak_lib.experiments.specs.label_inference import LabelInferenceExperiment
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityExperiment
from gleak_lib.experiments.specs.on_weights import WeightsExperiment
from gleak_lib.experiments.specs.reidentification import ReidentificationExperiment, ranks
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.experiments.store import DamagedResultWarning, Result, Results, Status, Store, frame

__all__ = [
    "AttackExperiment",
    "CommunicationCostExperiment",
    "Context",
    "DamagedResultWarning",
    "Experiment",
    "GeneratorExperiment",
    "LabelInferenceExperiment",
    "NoiseSensitivityExperiment",
    "Output",
    "ReidentificationExperiment",
    "Result",
    "Results",
    "Status",
    "Store",
    "TrainingExperiment",
    "WeightsExperiment",
    "Work",
    "frame",
    "from_json",
    "ranks",
    "run",
    "storable",
    "tables",
]
