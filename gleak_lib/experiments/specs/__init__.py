"""What is run: an experiment is one point of a study, frozen and hashable, with the code that computes it.

A new kind is one file: a frozen dataclass marked `@storable` that derives from `Cell`; the store, the runner
and `gleak status` take it as it is.
"""

from gleak_lib.experiments.specs.animation import AnimationCell
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell, Output, from_json
from gleak_lib.experiments.specs.class_counts import ClassCountsCell
from gleak_lib.experiments.specs.communication_cost import CommunicationCostCell
from gleak_lib.experiments.specs.conditioning import ConditioningCell
from gleak_lib.experiments.specs.generator import GeneratorCell
from gleak_lib.experiments.specs.generator_control import GeneratorControlCell
from gleak_lib.experiments.specs.gradient_tracks import GradientTracksCell
from gleak_lib.experiments.specs.label_inference import LabelInferenceCell
from gleak_lib.experiments.specs.leakage_risk import LeakageRiskCell
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityCell
from gleak_lib.experiments.specs.on_weights import WeightsCell, needed_trainings, trajectory
from gleak_lib.experiments.specs.reidentification import ReidentificationCell
from gleak_lib.experiments.specs.training import TrainingCell

__all__ = [
    "AnimationCell",
    "AttackCell",
    "Cell",
    "ClassCountsCell",
    "CommunicationCostCell",
    "ConditioningCell",
    "GeneratorCell",
    "GeneratorControlCell",
    "GradientTracksCell",
    "LabelInferenceCell",
    "LeakageRiskCell",
    "NoiseSensitivityCell",
    "Output",
    "ReidentificationCell",
    "TrainingCell",
    "WeightsCell",
    "from_json",
    "needed_trainings",
    "trajectory",
]
