"""Kinds of experiments that a chapter or two run; whoever imports them can read their stored results."""

from gleak_book.kinds.animation import AnimationExperiment
from gleak_book.kinds.class_counts import ClassCountsExperiment
from gleak_book.kinds.conditioning import ConditioningExperiment
from gleak_book.kinds.generator_control import GeneratorControlExperiment
from gleak_book.kinds.gradient_tracks import GradientTracksExperiment
from gleak_book.kinds.leakage_risk import LeakageRiskExperiment

__all__ = [
    "AnimationExperiment",
    "ClassCountsExperiment",
    "ConditioningExperiment",
    "GeneratorControlExperiment",
    "GradientTracksExperiment",
    "LeakageRiskExperiment",
]
