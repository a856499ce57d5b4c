"""The noise that bottlenecks draw, and what it is added to."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from gleak_lib.bottlenecks.base import VariationalBottleneck
from gleak_lib.gradients import forward
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


def encodings(model: nn.Module, x: Tensor, noise: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return mu and sigma of each bottleneck, N x map, in the order in which a pass comes to them.

    Args:
        model: any, with bottlenecks of this package or without.
        x: N x C x H x W, normalized.
        noise: of that pass, N x map each.
    """
    found: list[tuple[Tensor, Tensor]] = []

    def note(bottleneck: Any, inputs: tuple[Tensor, ...]) -> None:
        found.append(bottleneck.encode(inputs[0]))

    with ExitStack() as hooks, torch.no_grad():
        for module in model.modules():
            if isinstance(module, VariationalBottleneck):
                hooks.callback(module.register_forward_pre_hook(note).remove)
        forward(model, x, noise)
    return found
