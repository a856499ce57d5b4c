"""Learning rate, stop rule and keep-best as per-victim tensors: no step waits for the host."""

from typing import NamedTuple

import torch
from torch import Tensor

from gleak_lib.attacks.attack import Attack


class Progress(NamedTuple):
    """How each victim's optimisation goes; every field has V entries."""

    lr: Tensor
    best: Tensor  # lowest loss so far
    stale: Tensor  # steps since it
    reference: Tensor  # loss that the plateau rule compares with
    waited: Tensor  # steps without relative progress
    active: Tensor  # bool: still optimised
    steps: Tensor  # steps taken


def start(victims: int, attack: Attack, like: Tensor) -> Progress:
    """Return the state before the first step."""
    inf = torch.full((victims,), torch.inf, dtype=like.dtype, device=like.device)
    zero = torch.zeros(victims, dtype=torch.int32, device=like.device)
    return Progress(
        torch.full_like(inf, attack.lr),
        inf,
        zero,
        inf.clone(),
        zero.clone(),
        torch.ones_like(zero, dtype=torch.bool),
        zero.clone(),
    )


def advance(progress: Progress, loss: Tensor, attack: Attack) -> tuple[Progress, Tensor]:
    """Take a step's losses into account; return the new state and which victims improved (V bools).

    The plateau rule is torch's `ReduceLROnPlateau` (relative threshold), kept for each victim on its own. A
    victim whose loss is not finite stops and keeps its best iterate.
    """
    active = progress.active & torch.isfinite(loss)
    improved = active & (loss < progress.best)
    best = torch.where(improved, loss, progress.best)
    stale = torch.where(improved, 0, progress.stale + 1)
    moved = loss < progress.reference * (1 - attack.threshold)
    reference = torch.where(moved & active, loss, progress.reference)
    waited = torch.where(moved, 0, progress.waited + 1)
    lr = progress.lr
    if attack.plateau:
        due = waited > attack.plateau
        lr = torch.where(due & active, lr * attack.lr_decay, lr)
        waited = torch.where(due, 0, waited)
    steps = progress.steps + active.to(progress.steps.dtype)
    for share in attack.milestones:
        lr = torch.where(active & (steps == round(share * attack.max_steps)), lr * attack.lr_decay, lr)
    go_on = active & (loss >= attack.tolerance)
    if attack.patience:
        go_on = go_on & (stale < attack.patience)
    return Progress(lr, best, stale, reference, waited, go_on, steps), improved
