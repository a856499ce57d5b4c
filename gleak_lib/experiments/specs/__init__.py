"""What is run: an experiment is one point of a study, frozen and hashable, with the code that computes it.

A new kind is one file: a frozen dataclass marked `@storable` that derives from `Experiment`; the store, the
runner and `gleak status` take it as it is.
"""

from gleak_lib.experiments.specs.animation import AnimationExperiment
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import Experiment, Output, from_json
from gleak_lib.experiments.specs.class_counts import ClassCountsExperiment
from gleak_lib.experiments.specs.communication_cost import CommunicationCostExperiment
from gleak_lib.experiments.specs.conditioning import ConditioningExperiment
from gleak_lib.experiments.specs.generator import GeneratorExperiment
from gleak_lib.experiments.specs.generator_control import GeneratorControlExperiment
from gleak_lib.experiments.specs.gradient_tracks import GradientTracksExperiment
from gleak_lib.experiments.specs.label_inference import LabelInferenceExperiment
from gleak_lib.experiments.specs.leakage_risk import LeakageRiskExperiment
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityExperiment
from gleak_lib.experiments.specs.on_weights import WeightsExperiment, needed_trainings, trajectory
from gleak_lib.experiments.specs.reidentification import ReidentificationExperiment
from gleak_lib.experiments.specs.training import TrainingExperiment

__all__ = [
    "AnimationExperiment",
    "AttackExperiment",
    "ClassCountsExperiment",
    "CommunicationCostExperiment",
    "ConditioningExperiment",
    "Experiment",
    "GeneratorControlExperiment",
    "GeneratorExperiment",
    "GradientTracksExperiment",
    "LabelInferenceExperiment",
    "LeakageRiskExperiment",
    "NoiseSensitivityExperiment",
    "Output",
    "ReidentificationExperiment",
    "TrainingExperiment",
    "WeightsExperiment",
    "from_json",
    "needed_trainings",
    "trajectory",
]
