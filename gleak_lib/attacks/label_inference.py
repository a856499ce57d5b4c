"""What the gradients say about the labels."""

import torch
from torch import Tensor, nn

from gleak_lib.attacks.classifier import told_by
from gleak_lib.attacks.counts import count_labels
from gleak_lib.errors import ParameterError, ShapeError, unknown
from gleak_lib.typed import typed
from gleak_lib.types import Observation

RULES = ("counts", "gradinversion")
"""Rules for batches; one image has the sign rule."""


def infer(observation: Observation, rule: str = "counts") -> Tensor:
    """Read the labels off the gradients: `infer_single` for one image, else `infer_batch`; V x B."""
    return infer_single(observation) if observation.batch_size == 1 else infer_batch(observation, rule)


def infer_single(observation: Observation) -> Tensor:
    """Infer the label of batches of one image from the sign of the classifier's gradient (iDLG).

    The gradient of the cross-entropy with respect to logit c is p_c - [c = y], negative for the true class
    alone, and row c of the classifier's weight gradient is that number times the features. So where there is
    a bias, its gradient tells. Where there is none, the inner products of the rows do: the true class's row
    is opposed to every other, whatever the sign of the features (a ViT's sum to zero). Of two classes each
    is opposed to the other: then the row sums decide, for which features must not be negative.

    Returns:
        V x 1 class indices.

    Raises:
        ParameterError: If batches have more than one image, there is no linear classifier, or the loss is not
            the cross-entropy.
    """
    if observation.batch_size != 1:
        raise ParameterError(
            f"The sign rule reads one label from one image, this batch has {observation.batch_size}: "
            "use infer_batch, or pass labels."
        )
    name, classes = told_by(observation)
    bias = observation.gradients.get(f"{name}.bias")
    if bias is None:
        weight = observation.gradients[f"{name}.weight"]
        bias = weight.sum(-1) if classes == 2 else (weight @ weight.transpose(1, 2)).sign().sum(-1)
    return torch.argmin(bias, dim=1, keepdim=True)


def infer_batch(observation: Observation, rule: str = "counts") -> Tensor:
    """Infer the labels of batches.

    Args:
        observation: of batches of any size.
        rule: `counts`, how often each class is there (`count_labels`, after Ma et al. 2023): any batch,
            classes that repeat included. Or `gradinversion` (Yin et al. 2021, Eq. 4): a class that is in the
            batch has features at which its row of the classifier's weight gradient is clearly negative, so
            the B classes whose rows have the lowest minimum are taken. It assumes non-negative features and
            that no class is there twice: a batch that repeats one gets a class that is not there.

    Returns:
        V x B class indices, ascending: their order in the batch is not in the gradients.

    Raises:
        UnknownNameError: If there is no such rule.
        ParameterError: If the model has no linear classifier, if the loss is not the cross-entropy, or if
            `gradinversion` is asked for and there are more images than classes.
    """
    if rule not in RULES:
        raise unknown("label rule", rule, RULES)
    if rule == "counts":
        counts = count_labels(observation)
        classes = torch.arange(counts.shape[1], device=counts.device).expand_as(counts)
        return classes.flatten().repeat_interleave(counts.flatten()).reshape(len(counts), -1)
    name, classes = told_by(observation)
    if observation.batch_size > classes:
        raise ParameterError(
            f"GradInversion's rule needs batches of disjoint classes, and {observation.batch_size} images "
            f"cannot have them among {classes}: use rule='counts', or pass labels."
        )
    lowest = observation.gradients[f"{name}.weight"].amin(2)
    return lowest.topk(observation.batch_size, dim=1, largest=False).indices.sort(1).values


@typed
def label_accuracy(found: Tensor, truth: Tensor) -> Tensor:
    """Share of each victim's labels that were found, V values; their order within a batch does not count.

    Args:
        found: V or V x B class indices.
        truth: of the same shape.

    Raises:
        ShapeError: If the shapes differ.
    """
    if found.shape != truth.shape:
        raise ShapeError(
            f"Found and true labels differ in shape: {tuple(found.shape)}, {tuple(truth.shape)}."
        )
    found, truth = (t.detach().cpu().reshape(len(t), -1) for t in (found, truth))
    classes = int(torch.maximum(found.max(), truth.max())) + 1
    counts = [nn.functional.one_hot(t, classes).sum(1) for t in (found, truth)]
    return torch.minimum(*counts).sum(1).double() / truth.shape[1]
