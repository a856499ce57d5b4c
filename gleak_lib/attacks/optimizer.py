"""How unknowns move downhill: what optimizers have in common, and `Adam`."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gleak_lib.attacks.part import Part, Positive
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.typed import typed

Evaluate = Callable[[Unknowns, Tensor | None], tuple[Tensor, Unknowns]]
"""(unknowns, live) -> the loss, V, and its gradient; rows whose `live` (V bools) is False may be anything."""
BETAS, EPS = (0.9, 0.999), 1e-8  # of Adam


class Optimizer(Part, abc.ABC):
    """Moves all victims at once, each by its own loss; a frozen dataclass with a field `lr`."""

    lr: float
    """Initial learning rate."""
    whole: ClassVar[bool] = True
    """Whether a step can be compiled as a whole; else one evaluation of the loss is."""
    gradient_free: ClassVar[bool] = False
    """Whether it wants losses only, of several candidates per victim, and remembers a row as an object."""
    evaluations: int = 1
    """Most evaluations of the loss in a step."""

    def waits(self, device: torch.device) -> bool:
        """Whether a step looks at values on the host, so that it cannot be recorded as a whole."""
        return False

    @abc.abstractmethod
    def init(self, x: Unknowns, max_steps: int) -> Any:
        """Return the memory before the first of at most `max_steps` steps: nested tuples and dicts of tensors
        with a row per victim; `()` for none.
        """

    @abc.abstractmethod
    def step(
        self, x: Unknowns, evaluate: Evaluate, memory: Any, lr: Mapping[str, Tensor], t: Tensor
    ) -> tuple[Unknowns, Any, Tensor]:
        """Return unknowns and memory after one step, and the loss (V) before it.

        Args:
            x: V x ... each.
            evaluate: gives loss and gradient; None for its second argument means all victims. It also takes
                several rows per victim, victim by victim, and then gives a loss for each.
            memory: of the steps before.
            lr: for each unknown V learning rates.
            t: number of this step, counted from 1, a scalar tensor.
        """


@typed
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015); its memory is two dicts like the unknowns, the first and second moments.

    Attributes:
        lr: initial learning rate, in normalized pixel units.
        signed: step along the sign of the whole gradient, priors included (Geiping et al. 2020).
    """

    lr: Positive = 1.0
    signed: bool = True

    def init(self, x: Unknowns, max_steps: int) -> Any:
        return tuple({name: torch.zeros_like(u) for name, u in x.items()} for _ in BETAS)

    def step(
        self, x: Unknowns, evaluate: Evaluate, memory: Any, lr: Mapping[str, Tensor], t: Tensor
    ) -> tuple[Unknowns, Any, Tensor]:
        loss, grad = evaluate(x, None)
        moved, first, second = {}, {}, {}
        for name, u in x.items():
            g = grad[name].sign() if self.signed else grad[name]
            first[name] = memory[0][name].lerp(g, 1 - BETAS[0])
            second[name] = memory[1][name].lerp(g.square(), 1 - BETAS[1])
            scale = lr[name].reshape(-1, *[1] * (u.dim() - 1)) / (1 - BETAS[0] ** t)
            moved[name] = u - scale * first[name] / ((second[name] / (1 - BETAS[1] ** t)).sqrt() + EPS)
        return moved, (first, second), loss
