"""Adam for all victims at once, as the sign of the gradient or the gradient itself drives it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gleak_lib.attacks.optimizer import Evaluate, Optimizer
from gleak_lib.attacks.part import positive
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.typed import typed

BETAS = (0.9, 0.999)
EPS = 1e-8


class Moments(NamedTuple):
    """First and second moments, like the unknowns."""

    first: Unknowns
    second: Unknowns


@typed
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015).

    Attributes:
        lr: initial learning rate, in normalized pixel units.
        signed: step along the sign of the whole gradient, priors included (Geiping et al. 2020).
    """

    lr: float = 1.0
    signed: bool = True

    def __post_init__(self) -> None:
        positive(lr=self.lr)

    def init(self, x: Unknowns, max_steps: int) -> Moments:
        return Moments(*({name: torch.zeros_like(u) for name, u in x.items()} for _ in range(2)))

    def step(
        self, x: Unknowns, evaluate: Evaluate, memory: Moments, lr: Mapping[str, Tensor], t: Tensor
    ) -> tuple[Unknowns, Moments, Tensor]:
        loss, grad = evaluate(x, None)
        if self.signed:
            grad = {name: g.sign() for name, g in grad.items()}
        moved, first, second = {}, {}, {}
        for name, u in x.items():
            first[name] = memory.first[name].lerp(grad[name], 1 - BETAS[0])
            second[name] = memory.second[name].lerp(grad[name].square(), 1 - BETAS[1])
            scale = lr[name].reshape(-1, *[1] * (u.dim() - 1)) / (1 - BETAS[0] ** t)
            root = (second[name] / (1 - BETAS[1] ** t)).sqrt() + EPS
            moved[name] = u - scale * first[name] / root
        return moved, Moments(first, second), loss
