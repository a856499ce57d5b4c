"""L-BFGS for all victims at once: each its own history, curvature test, step length and convergence tests.

Victim by victim it does what `torch.optim.LBFGS` does. The two recursions over the history (Nocedal & Wright,
Alg. 7.4) are triangular systems in the products of the stored steps and gradient changes, so that a direction
costs a few batched matrix products instead of two hundred small operations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from gleak_lib.attacks.optimizer import Evaluate, Optimizer
from gleak_lib.attacks.part import AtLeastOne, Positive
from gleak_lib.attacks.unknowns import Unknowns, flatten, unflatten
from gleak_lib.typed import typed

TOLERANCE_GRAD, TOLERANCE_CHANGE, CURVATURE = 1e-7, 1e-9, 1e-10  # torch's


class Memory(NamedTuple):
    """What a victim remembers between steps; m pairs at most, D unknowns. Tensors are written in place."""

    steps: Tensor  # V x m x D, a ring of steps s
    changes: Tensor  # V x m x D, the changes y of the gradient along them
    products: Tensor  # V x m x m, entry (i, j) is <s_i, y_j> for i not younger than j
    count: Tensor  # V, pairs stored so far
    scale: Tensor  # V, the diagonal that the inverse Hessian starts from
    direction: Tensor  # V x D, the last one
    length: Tensor  # V, the last step's
    gradient: Tensor  # V x D, before that step
    iterations: Tensor  # V, inner iterations so far


@typed
@dataclass(frozen=True)
class LBFGS(Optimizer):
    """L-BFGS without a line search; see `torch.optim.LBFGS`.

    Attributes:
        lr: step length.
        inner_steps: most iterations in one step, torch's `max_iter`.
        memory: pairs that it remembers, torch's `history_size`: 2 m D numbers per victim.
    """

    whole: ClassVar[bool] = False
    lr: Positive = 1.0
    inner_steps: AtLeastOne = 20
    memory: AtLeastOne = 100

    @property
    def evaluations(self) -> int:
        """Most evaluations of the loss in one step."""
        return self.inner_steps

    def waits(self, device: torch.device) -> bool:
        return device.type == "cpu"

    def init(self, x: Unknowns, max_steps: int) -> Memory:
        flat = flatten(x)
        victims, size = flat.shape
        zero = flat.new_zeros(victims)
        none = torch.zeros(victims, dtype=torch.long, device=flat.device)
        m = min(self.memory, max_steps * self.inner_steps)
        pairs = flat.new_zeros(victims, m, size), flat.new_zeros(victims, m, size)
        still = torch.zeros_like(flat), zero, torch.zeros_like(flat), none.clone()
        return Memory(*pairs, flat.new_zeros(victims, m, m), none, zero + 1, *still)

    def step(
        self, x: Unknowns, evaluate: Evaluate, memory: Memory, lr: Mapping[str, Tensor], t: Tensor
    ) -> tuple[Unknowns, Memory, Tensor]:
        """Return unknowns and memory after up to `inner_steps` iterations, and the loss (V) before them.

        A victim ends its iterations by torch's tests, or where its loss or gradient is not finite. All
        unknowns have the first one's rate. The memory is changed in place.
        """

        def value(point: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
            loss, grad = evaluate(unflatten(point, x), live)
            return loss, flatten(grad)

        flat, rate = flatten(x), next(iter(lr.values()))
        may_wait = self.waits(flat.device)
        first, gradient = value(flat, torch.ones(len(flat), dtype=torch.bool, device=flat.device))
        loss = first
        live = (gradient.abs().amax(1) > TOLERANCE_GRAD) & loss.isfinite()
        evaluations = torch.ones_like(memory.count)
        most = self.inner_steps * 5 // 4
        for iteration in range(1, self.inner_steps + 1):
            memory, slope = _turn(memory, gradient, live, rate, may_wait)
            live = live & (slope <= -TOLERANCE_CHANGE)
            if may_wait and not live.any():
                break
            previous, length = loss, memory.length
            moved = torch.addcmul(flat, length[:, None], memory.direction)
            flat = torch.where(live[:, None], moved, flat)
            if iteration == self.inner_steps:
                break
            new_loss, new_gradient = value(flat, live)
            loss = torch.where(live, new_loss, loss)
            gradient = torch.where(live[:, None], new_gradient, gradient)
            evaluations = evaluations + live
            change = (memory.direction * length[:, None]).abs().amax(1)
            live = live & (gradient.abs().amax(1) > TOLERANCE_GRAD) & (change > TOLERANCE_CHANGE)
            live = live & ((loss - previous).abs() >= TOLERANCE_CHANGE) & (evaluations < most)
        return unflatten(flat, x), memory, first


def _turn(
    memory: Memory, gradient: Tensor, live: Tensor, lr: Tensor, may_wait: bool
) -> tuple[Memory, Tensor]:
    """Take the last step into the memory, and return it with the next direction; and the slope along that."""
    fresh = memory.iterations == 0
    change = gradient - memory.gradient
    last = memory.direction * memory.length[:, None]
    curvature = (change * last).sum(1)
    store = live & ~fresh & (curvature > CURVATURE)  # who has a new pair
    size = memory.steps.shape[1]
    rows = torch.arange(len(store), device=store.device)
    slot = memory.count % size
    memory.steps[rows, slot] = torch.where(store[:, None], last, memory.steps[rows, slot])
    memory.changes[rows, slot] = torch.where(store[:, None], change, memory.changes[rows, slot])
    scale = torch.where(store, curvature / change.square().sum(1), memory.scale)
    memory = memory._replace(scale=scale, count=memory.count + store)
    width = min(size, int(memory.count.max())) if may_wait else size  # slots in use, or more
    direction = -_times_inverse_hessian(memory, gradient, change, store, slot, width)
    shortened = (1 / gradient.abs().sum(1)).clamp_max(1) * lr  # a very first step is short
    memory = memory._replace(
        direction=torch.where(live[:, None], direction, memory.direction),
        length=torch.where(live, torch.where(fresh, shortened, lr), memory.length),
        gradient=torch.where(live[:, None], gradient, memory.gradient),
        iterations=memory.iterations + live,
    )
    return memory, (gradient * memory.direction).sum(1)


def _times_inverse_hessian(
    memory: Memory, gradient: Tensor, change: Tensor, store: Tensor, slot: Tensor, width: int
) -> Tensor:
    """Return the approximate inverse Hessian times the gradient, V x D; enters the new pair's products."""
    count, scale, size = memory.count, memory.scale, memory.steps.shape[1]
    if not width:
        return scale[:, None] * gradient
    steps, changes = memory.steps[:, :width], memory.changes[:, :width]
    # vectors are rows everywhere: products with columns are an order of magnitude slower
    along = torch.stack([change, gradient], 1) @ steps.mT  # V x 2 x width
    column = slot.clamp_max(width - 1)[:, None, None].expand(-1, width, 1)
    products = memory.products[:, :width, :width]
    new = torch.where(store[:, None, None], along[:, 0, :, None], products.gather(2, column))
    products.scatter_(2, column, new)

    # the ring in order of age; slots that a victim has not filled come last and hold zeros
    oldest = torch.where(count > size, count % size, 0)
    order = (oldest[:, None] + torch.arange(width, device=count.device)) % width
    products = products.gather(1, order[:, :, None].expand(-1, -1, width))
    products = products.gather(2, order[:, None, :].expand(-1, width, -1)).triu()
    empty = torch.arange(width, device=count.device) >= count[:, None]
    upper = products + torch.diag_embed(empty.to(products))
    curvature = products.diagonal(dim1=1, dim2=2)

    # first recursion: a_i = <s_i, q_i> / <s_i, y_i>, with q_i the gradient less the younger a_j y_j
    a = _solve(upper, along[:, 1].gather(1, order), upper=True)
    q = gradient - (_by_slot(a, order) @ changes).squeeze(1)
    # second recursion: r starts as scale * q and takes up (a_i - b_i) s_i, b_i = <y_i, r> / <s_i, y_i>
    against = (q[:, None] @ changes.mT).squeeze(1).gather(1, order)
    c = _solve(upper.mT, curvature * a - scale[:, None] * against, upper=False)
    return scale[:, None] * q + (_by_slot(c, order) @ steps).squeeze(1)


def _solve(matrix: Tensor, right: Tensor, *, upper: bool) -> Tensor:
    return torch.linalg.solve_triangular(matrix, right[..., None], upper=upper).squeeze(2)


def _by_slot(values: Tensor, order: Tensor) -> Tensor:
    """Return V x 1 x width: values in order of age, put back into their slots."""
    return torch.zeros_like(values).scatter(1, order, values)[:, None]
