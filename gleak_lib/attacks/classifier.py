"""The linear layers of the attacked model: what they are given, and which one is the classifier."""

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from gleak_lib.errors import ParameterError
from gleak_lib.gradients import forward, prepare
from gleak_lib.types import Observation


def linear_inputs(observation: Observation, x: Tensor) -> tuple[dict[str, Tensor], int]:
    """Run the model on a probe; return what each linear layer is given, in the order of the run, and K.

    Args:
        observation: gives the model.
        x: N x C x H x W, N a multiple of the batch size.
    """
    seen: dict[str, Tensor] = {}
    model = prepare(observation.model, observation.batch_size)
    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):

                def note(_module, inputs, name=name) -> None:
                    seen[name] = inputs[0]

                hooks.callback(module.register_forward_pre_hook(note).remove)
        classes = forward(model, x).logits.shape[-1]
    return seen, classes


def classifier(observation: Observation) -> tuple[str, int]:
    """Return the name of the linear layer that runs last, and the number of classes.

    Raises:
        ParameterError: If there is no linear layer, or it does not give the logits.
    """
    like = observation.like
    probe = torch.ones(observation.batch_size, *observation.input_shape, dtype=like.dtype, device=like.device)
    with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []):  # bottlenecks draw noise
        seen, classes = linear_inputs(observation, probe)
    if not seen:
        raise ParameterError("Labels are read off a linear classifier, and this model has none: pass labels.")
    name = list(seen)[-1]
    if f"{name}.weight" not in observation.gradients:
        raise ParameterError(
            f"Labels are read off the gradient of {name}, which clients freeze and do not share: pass labels."
        )
    if observation.gradients[f"{name}.weight"].shape[1] != classes:
        raise ParameterError(
            f"The last linear layer, {name}, does not give this model's {classes} logits: pass labels."
        )
    return name, classes


def told_by(observation: Observation) -> tuple[str, int]:
    """Return the same where the classifier's gradient tells labels.

    Raises:
        ParameterError: If there is no such layer, or the clients' loss is not the cross-entropy.
    """
    if observation.loss is not None:
        raise ParameterError(
            "Labels are read off the gradient of the cross-entropy, and these clients have a loss of their "
            "own: pass labels."
        )
    return classifier(observation)
