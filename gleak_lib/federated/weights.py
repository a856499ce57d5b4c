"""Trained weights as one vector a row: what a stacked optimizer steps on and a stacked average averages."""

import torch
from torch import Tensor, nn

from gleak_lib.errors import GradientError
from gleak_lib.gradients.factored import by_row
from gleak_lib.types import Grads


class Layout:
    """Where each trained parameter of a model lies in a vector of all.

    Attributes:
        size: P, the vector's length.
        shapes: the trained parameters' shapes by name.
    """

    def __init__(self, model: nn.Module) -> None:
        self.shapes = {name: p.shape for name, p in trained(model).items()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.size = sum(self.sizes)

    def flatten(self, state: dict[str, Tensor]) -> Tensor:
        """Return the vector, P, of a model's state."""
        return torch.cat([state[name].detach().flatten() for name in self.shapes])

    def flatten_rows(self, grads: Grads) -> Tensor:
        """Return R x P of R x the parameters' shapes."""
        return torch.cat([by_row(grads[name]) for name in self.shapes], 1)

    def unflatten(self, rows: Tensor) -> Grads:
        """Return views R x the parameters' shapes of R x P."""
        parts = rows.split(self.sizes, 1)
        return {
            name: part.unflatten(1, shape) if len(shape) else part.squeeze(1)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def load(self, model: nn.Module, vector: Tensor) -> None:
        """Write the vector, P, into the model's parameters."""
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in self.unflatten(vector[None]).items():
                parameters[name].copy_(value[0])


def checked(shared: Grads, given: Grads) -> Grads:
    """Return `shared`, v x shape each, with what it lacks taken from `given`.

    Raises:
        GradientError: If it has a name or shape that `given` does not have.
    """
    for name, value in shared.items():
        if name not in given or value.shape != given[name].shape:
            raise GradientError(
                f"The defense returned {name!r} of shape {tuple(value.shape[1:])}: it must return the names "
                "and shapes that it was given."
            )
    return given | shared


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that clients train, and share updates of."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's own parameters and buffers by name, not copies."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
