"""Gradients or weights that a server received, in whatever form, by the model's parameter names."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gleak_lib.errors import GradientError, nearest

Received = Mapping[str, Any] | Sequence[Any]
"""Tensors or arrays by parameter name, or in the order of `model.parameters()`; None for one without."""


def by_name(model: nn.Module, received: Received, what: str) -> dict[str, Tensor]:
    """Return what was received of the parameters that the model trains: name -> V x the parameter's shape.

    Args:
        model: says names, order, shapes, type and device.
        received: of all parameters, or of those that the model trains; of one update (the parameters' own
            shapes) or of V, stacked along a first axis. A state dict may hold buffers, which are left out.
        what: "gradients" or "weights", for messages.

    Raises:
        GradientError: If names, number or shapes are not those of the model's parameters.
    """
    parameters = dict(model.named_parameters())
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    if not trained:
        raise GradientError(
            "Every parameter of the model is frozen, or it has none: set requires_grad on those that clients "
            "train."
        )
    given = _named(model, received, what, list(parameters), list(trained))
    tensors = {n: _real(given[n], n, what) for n in trained if given[n] is not None}
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    if not shapes:
        raise GradientError(f"The {what} are None throughout: call backward() before reading .grad.")
    name, shape = next(iter(shapes.items()))
    one = shape == tuple(parameters[name].shape)
    lead = () if one else shape[:1]
    for name, shape in shapes.items():
        own = tuple(parameters[name].shape)
        if shape != lead + own:
            raise GradientError(
                f"The {what} of {name} have shape {shape}, expected {own} for one update, or V x {own} for V "
                "updates stacked along a first axis, and the same for all parameters. A list must be in the "
                "order of model.parameters()."
            )
    found = {n: p.new_zeros(lead + p.shape) for n, p in trained.items()}
    for name, tensor in tensors.items():
        found[name].copy_(tensor)
    return {name: row.unsqueeze(0) if one else row for name, row in found.items()}


def _real(value: Any, name: str, what: str) -> Tensor:
    try:
        tensor = torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError):
        raise GradientError(
            f"The {what} of {name} must be a tensor or an array, got {type(value).__name__}; stack those of "
            "several clients, parameter by parameter."
        ) from None
    if tensor.is_complex():
        raise GradientError(f"The {what} of {name} must be real, got {tensor.dtype}.")
    return tensor


def _named(
    model: nn.Module, received: Received, what: str, names: list[str], trained: list[str]
) -> Mapping[str, Any]:
    if isinstance(received, Mapping):
        known = {n for n, _ in model.named_parameters(remove_duplicate=False)}  # of tied weights both names
        known |= {n for n, _ in model.named_buffers()}
        if extra := [n for n in received if n not in known]:
            hint = f" (is it {guess!r}?)" if (guess := nearest(extra[0], names)) else ""
            raise GradientError(
                f"The model has no parameter {extra[0]!r}{hint}: pass the model that the {what} are of, and "
                "take off a wrapper's prefix such as 'module.'."
            )
        if missing := [n for n in trained if n not in received]:
            raise GradientError(
                f"The {what} lack {missing}: give None for a parameter that got no gradient, and call "
                "requires_grad_(False) on those that clients do not train."
            )
        return received
    for order in (names, trained):
        if len(received) == len(order):
            return dict(zip(order, received, strict=True))
    raise GradientError(
        f"There are {len(received)} {what}, and the model has {len(names)} parameters, of which it trains "
        f"{len(trained)}: send one per parameter, in the order of model.parameters(); stack those of several "
        "clients, parameter by parameter."
    )
