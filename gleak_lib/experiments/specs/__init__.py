"""What is run: an experiment is one point of a study, frozen and hashable, with the code that computes it.

A new kind is one file: a frozen dataclass marked `@storable` that derives from `Cell`; the store, the runner
and `gleak status` take it as it is.
"""

from gleak_lib.experiments.specs.animation import MovieCell
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell, Output, from_json
from gleak_lib.experiments.specs.class_counts import CensusCell
from gleak_lib.experiments.specs.communication_cost import TrafficCell
from gleak_lib.experiments.specs.gradient_tracks import TracksCell
from gleak_lib.experiments.specs.label_inference import LabelCell
from gleak_lib.experiments.specs.leakage_risk import LeakageRiskCell
from gleak_lib.experiments.specs.noise_sensitivity import SpreadCell
from gleak_lib.experiments.specs.on_weights import WeightsCell, needed_trainings, trajectory
from gleak_lib.experiments.specs.reidentification import LinkageCell
from gleak_lib.experiments.specs.training import TrainingCell

__all__ = [
    "AttackCell",
    "Cell",
    "CensusCell",
    "LabelCell",
    "LeakageRiskCell",
    "LinkageCell",
    "MovieCell",
    "Output",
    "SpreadCell",
    "TracksCell",
    "TrafficCell",
    "TrainingCell",
    "WeightsCell",
    "from_json",
    "needed_trainings",
    "trajectory",
]
