"""What the gradients say about the labels."""

import torch
from torch import Tensor, nn

from gleak_lib.errors import ParameterError
from gleak_lib.types import Observation


def last_linear(model: nn.Module) -> str:
    """Name of the last linear layer that the model registers: its classifier."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise ParameterError("Labels are read off a linear classifier, and this model has none: pass labels.")
    return names[-1]


def infer_single(observation: Observation) -> Tensor:
    """Infer the label of batches of one image from the sign of the classifier's gradient (iDLG).

    The gradient of the cross-entropy with respect to logit c is p_c - [c = y], so row c of the classifier's
    weight gradient is (p_c - [c = y]) times the features: with non-negative features (ReLU, sigmoid) only
    the true class's row sum is negative. Where the classifier has a bias its gradient is p_c - [c = y]
    itself, and no assumption on the features is needed.

    Returns:
        V x 1 class indices.

    Raises:
        ParameterError: batches of more than one image.
    """
    if observation.batch_size != 1:
        raise ParameterError(
            f"The sign rule reads one label from one image, this batch has {observation.batch_size}: "
            "pass labels."
        )
    name = last_linear(observation.model)
    bias = observation.gradients.get(f"{name}.bias")
    rows = observation.gradients[f"{name}.weight"].sum(-1) if bias is None else bias
    return torch.argmin(rows, dim=1, keepdim=True)
