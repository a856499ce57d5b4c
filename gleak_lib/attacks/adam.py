"""Adam for all victims at once; where the attack says so the gradient comes as its sign."""

from typing import NamedTuple

import torch
from torch import Tensor

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.noise import PREFIX
from gleak_lib.attacks.unknowns import Evaluate, Unknowns

BETAS = (0.9, 0.999)
EPS = 1e-8


class Moments(NamedTuple):
    """First and second moments, like the unknowns."""

    first: Unknowns
    second: Unknowns


def init(x: Unknowns, _attack: Attack) -> Moments:
    """Return the moments before the first step: zeros."""
    return Moments(*({name: torch.zeros_like(u) for name, u in x.items()} for _ in range(2)))


def step(
    x: Unknowns, evaluate: Evaluate, moments: Moments, lr: Tensor, t: Tensor, attack: Attack
) -> tuple[Unknowns, Moments, Tensor]:
    """Return the unknowns and moments after one step, and the loss (V) before it.

    Args:
        x: V x ... each.
        evaluate: gives loss and gradient.
        moments: of the steps before.
        lr: V learning rates, of the image; that of the noise is in a fixed ratio to it.
        t: number of this step, counted from 1, a scalar tensor.
        attack: gives the ratio.
    """
    loss, grad = evaluate(x, None)
    moved, first, second = {}, {}, {}
    for name, u in x.items():
        first[name] = moments.first[name].lerp(grad[name], 1 - BETAS[0])
        second[name] = moments.second[name].lerp(grad[name].square(), 1 - BETAS[1])
        rate = lr * (attack.noise_lr / attack.lr) if name.startswith(PREFIX) else lr
        scale = rate.reshape(-1, *[1] * (u.dim() - 1)) / (1 - BETAS[0] ** t)
        root = (second[name] / (1 - BETAS[1] ** t)).sqrt() + EPS
        moved[name] = u - scale * first[name] / root
    return moved, Moments(first, second), loss
