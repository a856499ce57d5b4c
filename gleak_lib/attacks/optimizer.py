"""How unknowns move downhill: what `Adam`, `LBFGS` and an optimizer of your own have in common."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gleak_lib.attacks.part import Part
from gleak_lib.attacks.unknowns import Unknowns

Evaluate = Callable[[Unknowns, Tensor | None], tuple[Tensor, Unknowns]]
"""(unknowns, live) -> the loss, V, and its gradient; rows whose `live` (V bools) is False may be anything."""


class Optimizer(Part, abc.ABC):
    """Moves all victims at once, each by its own loss; a frozen dataclass with a field `lr`."""

    lr: float
    """Initial learning rate."""
    whole: ClassVar[bool] = True
    """Whether a step can be compiled as a whole; else one evaluation of the loss is."""

    @property
    def searches(self) -> bool:
        """Whether it compares losses inside a step, which then must be of the same noise."""
        return False

    @property
    def evaluations(self) -> int:
        """Most evaluations of the loss in a step."""
        return 1

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
            evaluate: gives loss and gradient; None for its second argument means all victims.
            memory: of the steps before.
            lr: for each unknown V learning rates.
            t: number of this step, counted from 1, a scalar tensor.
        """
