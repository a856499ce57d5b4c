"""One Adam step for all victims at once, on the sign of the gradient where the attack says so."""

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPS = 1e-8


def init(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and second moments, zeros like x."""
    return torch.zeros_like(x), torch.zeros_like(x)


def step(
    x: Tensor, grad: Tensor, moments: tuple[Tensor, Tensor], lr: Tensor, t: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the new x and moments.

    Args:
        x, grad: V x ...
        moments: first and second moments, like x.
        lr: V learning rates.
        t: number of this step, counted from 1, a scalar tensor.
    """
    first = moments[0].lerp(grad, 1 - BETAS[0])
    second = moments[1].lerp(grad.square(), 1 - BETAS[1])
    scale = lr.reshape(-1, *[1] * (x.dim() - 1)) / (1 - BETAS[0] ** t)
    root = (second / (1 - BETAS[1] ** t)).sqrt() + EPS
    return x - scale * first / root, first, second
