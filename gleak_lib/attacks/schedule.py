"""Learning rate, stop rule and keep-best as per-victim tensors: no step waits for the host."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from gleak_lib.attacks.part import AtLeastOne, Must, NotNegative, Part, Steps
from gleak_lib.errors import ParameterError
from gleak_lib.typed import typed


class Progress(NamedTuple):
    """How each victim's optimization goes; every field has V entries."""

    lr: Tensor
    best: Tensor  # lowest loss so far
    stale: Tensor  # steps since it
    reference: Tensor  # loss that the drop rule compares with
    waited: Tensor  # steps without relative progress
    active: Tensor  # bool: still optimized
    steps: Tensor  # steps taken


@typed
@dataclass(frozen=True)
class Schedule(Part):
    """When the learning rate falls, and when a victim stops. The defaults are 001 §V-B's.

    Attributes:
        max_steps: most steps; one of L-BFGS has up to `inner_steps` iterations.
        drop_after: steps without progress after which the learning rate falls; 0 keeps it constant.
        lr_decay: factor by which it falls.
        drop_threshold: relative decrease of the loss that counts as progress for `drop_after`.
        milestones: shares of `max_steps` at which the learning rate falls, too.
        stop_after: steps without a lower loss after which a victim stops; 0 never stops.
        stop_below: loss below which a victim stops.
    """

    max_steps: AtLeastOne = 20_000
    drop_after: Steps = 400
    lr_decay: Annotated[float, Must("be in (0, 1]", lambda v: 0 < v <= 1)] = 0.1
    drop_threshold: NotNegative = 1e-4
    milestones: tuple[float, ...] = ()
    stop_after: Steps = 4_000
    stop_below: NotNegative = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 < share < 1 for share in self.milestones):
            raise ParameterError(f"milestones are shares of max_steps in (0, 1), got {self.milestones}.")

    def start(self, lr: float, like: Tensor) -> Progress:
        """Return the state before the first step, for as many victims as `like` has rows."""
        inf = torch.full((len(like),), torch.inf, dtype=like.dtype, device=like.device)
        zero = torch.zeros(len(like), dtype=torch.int32, device=like.device)
        active = torch.ones_like(zero, dtype=torch.bool)
        return Progress(torch.full_like(inf, lr), inf, zero, inf.clone(), zero.clone(), active, zero.clone())

    def advance(self, progress: Progress, loss: Tensor) -> tuple[Progress, Tensor]:
        """Take a step's losses into account; return the new state and which victims improved (V bools).

        The drop rule is torch's `ReduceLROnPlateau`. A victim whose loss is not finite stops.
        """
        active = progress.active & torch.isfinite(loss)
        improved = active & (loss < progress.best)
        best = torch.where(improved, loss, progress.best)
        stale = torch.where(improved, 0, progress.stale + 1)
        moved = loss < progress.reference * (1 - self.drop_threshold)
        reference = torch.where(moved & active, loss, progress.reference)
        waited = torch.where(moved, 0, progress.waited + 1)
        lr = progress.lr
        if self.drop_after:
            due = waited > self.drop_after
            lr = torch.where(due & active, lr * self.lr_decay, lr)
            waited = torch.where(due, 0, waited)
        steps = progress.steps + active.to(progress.steps.dtype)
        for share in self.milestones:
            lr = torch.where(active & (steps == round(share * self.max_steps)), lr * self.lr_decay, lr)
        go_on = active & (loss >= self.stop_below)
        if self.stop_after:
            go_on = go_on & (stale < self.stop_after)
        return Progress(lr, best, stale, reference, waited, go_on, steps), improved
