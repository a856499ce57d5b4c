"""The noise that bottlenecks draw."""

import torch
from torch import Tensor, nn

from gleak_lib.types import VariationalModel


def sample_noise(
    model: nn.Module, rows: int, reference: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, ...]:
    """Draw the noise of each of the model's bottlenecks, rows x map, on the reference's device and dtype."""
    if not isinstance(model, VariationalModel):
        return ()
    source = reference.device if generator is None else generator.device
    return tuple(
        torch.randn(rows, *shape, generator=generator, device=source, dtype=reference.dtype).to(
            reference.device
        )
        for shape in model.noise_shapes
    )
