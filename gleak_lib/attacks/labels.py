"""Whose labels the dummies are given: known ones, inferred ones, or soft ones that are optimized, too."""

import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from gleak_lib.attacks.label_inference import class_count, infer
from gleak_lib.attacks.part import Part
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.errors import ParameterError
from gleak_lib.types import Observation

CERTAIN = 100.0  # logit of a true label among soft ones


class Labels(Part, abc.ABC):
    """The labels of an attack's dummies."""

    def check(self, observation: Observation) -> None:
        """Refuse an observation whose loss does not take such labels."""

    @abc.abstractmethod
    def before(self, observation: Observation) -> Tensor:
        """Return the labels that are there before the first step, V x B class indices; -1 for none."""

    def start(self, observation: Observation, generator: torch.Generator) -> Unknowns:
        """Draw the unknowns that the labels add."""
        return {}

    def used(self, unknowns: Unknowns, before: Tensor) -> Tensor:
        """Return V x B class indices, or V x B x K probabilities."""
        return before

    def found(self, unknowns: Unknowns, before: Tensor) -> Tensor:
        """Return V x B class indices."""
        return before

    def unknowns_of(self, labels: Tensor, observation: Observation) -> Unknowns:
        """Return the unknowns that stand for V x B class indices."""
        return {}


@dataclass(frozen=True)
class Known(Labels):
    """The labels that the server knows, else those read off the gradients."""

    def before(self, observation: Observation) -> Tensor:
        return infer(observation) if observation.labels is None else observation.labels


@dataclass(frozen=True)
class Inferred(Labels):
    """Labels read off the gradients in any case (`attacks.infer`)."""

    def before(self, observation: Observation) -> Tensor:
        return infer(observation)


@dataclass(frozen=True)
class Optimized(Labels):
    """Soft labels, optimized with the images from logits `label` drawn from N(0, 1) (Zhu et al. 2019)."""

    def check(self, observation: Observation) -> None:
        """Refuse a loss that takes class indices only, or has no derivative by probabilities.

        Raises:
            ParameterError: If it is such.
        """
        if observation.loss is None:
            return
        rows, classes = observation.batch_size, class_count(observation)
        soft = observation.like.new_full((rows, classes), 1 / classes, requires_grad=True)
        why, slope = "", None
        try:
            with torch.enable_grad():
                value = observation.loss(torch.zeros_like(soft), soft)
            if value.requires_grad:
                (slope,) = torch.autograd.grad(value.sum(), soft, allow_unused=True)
        except Exception as error:  # whatever a stranger's code raises
            why = f"it fails: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        else:
            if (got := tuple(value.shape)) != (rows,):
                why = f"it returns {got} values instead of {(rows,)}"
            elif slope is None:
                why = "it has no derivative by them"
        if why:
            raise ParameterError(
                f"The attack optimizes labels, N x K probabilities, and the loss does not take them ({why}): "
                "observe with one that takes them as well as N class indices, as nn.CrossEntropyLoss does, "
                "or take labels that are not optimized, attack.replace(labels=Known())."
            )

    def before(self, observation: Observation) -> Tensor:
        return nothing(observation)

    def start(self, observation: Observation, generator: torch.Generator) -> Unknowns:
        like = observation.like
        shape = (observation.victims, observation.batch_size, class_count(observation))
        return {"label": torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)}

    def used(self, unknowns: Unknowns, before: Tensor) -> Tensor:
        return unknowns["label"].softmax(-1)

    def found(self, unknowns: Unknowns, before: Tensor) -> Tensor:
        return unknowns["label"].argmax(-1)

    def unknowns_of(self, labels: Tensor, observation: Observation) -> Unknowns:
        certain = torch.nn.functional.one_hot(labels, class_count(observation))
        return {"label": CERTAIN * certain.to(observation.like)}


def nothing(observation: Observation) -> Tensor:
    """Return -1 for each image, V x B."""
    return torch.full((observation.victims, observation.batch_size), -1, device=observation.like.device)


def if_possible(observation: Observation) -> Tensor:
    """Return known or inferred labels, -1 where neither is to be had."""
    try:
        return Known().before(observation)
    except ParameterError:
        return nothing(observation)
