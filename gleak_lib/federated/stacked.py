"""All participants of a round at once: one forward and backward pass and one optimizer step for all.

Weights carry a leading axis of R rows, one per participant (of every training, where several run together).
A row sees the batches and the bottleneck noise that the plain loop would have given to that client, so
after a round the weights are the same up to rounding. All the round's data lie in buffers of fixed size, and
a step finds its own part by a counter on the device: on CUDA a step is one graph that is replayed, and
the host looks at the losses once a round.
"""

import copy
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gleak_lib.bottlenecks import sample_noise
from gleak_lib.defenses import Defense as Transformation
from gleak_lib.federated.local import Means, epochs
from gleak_lib.federated.losses import Losses, by_patches, stacked_losses
from gleak_lib.federated.server import Federation, Round
from gleak_lib.federated.weights import Layout, checked, tensors
from gleak_lib.gradients.cuda_graphs import record
from gleak_lib.types import VariationalModel


class Stacked:
    """Engine of a round: all participants of all trainings at once.

    The trainings share images, protocol, defense and architecture; weights, partitions, streams and what the
    defense has taken from the weights are their own. A defense gets all participants' gradients of a training
    in one call (V of them), step after step: where it draws at random, the draws come in another order than
    in the plain loop. A whole round's bottleneck noise is held in memory. With a defense, a step on CUDA is
    called plainly, not replayed.

    Args:
        federations: the trainings.
        patches: convolutions as matrix products of unfolded patches, instead of grouped convolutions; None:
            on CUDA only.
    """

    name = "stacked"

    def __init__(self, federations: Sequence[Federation], *, patches: bool | None = None) -> None:
        first = federations[0]
        self.images, self.protocol, self.defense = first.images, first.protocol, first.defense
        self.device = self.images.labels.device
        model = copy.deepcopy(first.model).train()
        if self.device.type == "cuda" if patches is None else patches:
            by_patches(model)
        self.losses = Losses(model)
        self.layout = Layout(model)
        sizes = [len(client.train) for f in federations for client in f.clients]
        self.rows_a_batch = min(self.protocol.batch_size, max(sizes))
        self.steps = self.protocol.local_epochs * -(-max(sizes) // self.protocol.batch_size)
        self.buffers: Buffers | None = None

    def __call__(self, rounds: Sequence[Round]) -> list[Means]:
        """Run these rounds, one per training; return their mean losses and accuracies.

        Raises:
            GradientError: If a participant's loss is not finite.
        """
        owners = [(id(r.federation), len(r.clients)) for r in rounds]
        if self.buffers is None or self.buffers.owners != owners:  # a training has stopped
            self.close()
            self.buffers = Buffers(self, rounds, owners)
        for _ in range(self.buffers.fill(rounds)):
            self.buffers.step()
        return self.buffers.finish(rounds)

    def close(self) -> None:
        """Give the memory back."""
        self.buffers = None


class Buffers:
    """Everything a round's steps read and write, in memory that stays where it is.

    Attributes:
        owners: the trainings and their numbers of participants.
        step: one local step of all rows.
    """

    def __init__(self, engine: Stacked, rounds: Sequence[Round], owners: list[tuple[int, int]]) -> None:
        self.engine, self.owners = engine, owners
        self.counts = [count for _, count in owners]
        rows, steps, batch = sum(self.counts), engine.steps, engine.rows_a_batch
        device, dtype = engine.device, engine.images.dtype
        double = {"dtype": torch.float64, "device": device}
        self.federations = [r.federation for r in rounds]
        self.fixed = self._fixed()
        self.theta = torch.zeros(rows, engine.layout.size, dtype=dtype, device=device, requires_grad=True)
        self.first, self.second = torch.zeros_like(self.theta), torch.zeros_like(self.theta)  # Adam's moments
        self.index = torch.zeros(steps, rows, batch, dtype=torch.long, device=device)
        self.sizes = torch.zeros(steps, rows, **double)
        model = engine.losses.model
        shapes = model.noise_shapes if isinstance(model, VariationalModel) else ()
        self.noise = [torch.zeros(steps, rows, batch, *s, dtype=dtype, device=device) for s in shapes]
        self.lr, self.total = torch.zeros(rows, **double), torch.zeros(2, rows, **double)  # losses, hits
        self.count = torch.zeros(1, dtype=torch.long, device=device)
        self.place = torch.arange(batch, device=device)
        plain = device.type != "cuda" or engine.defense is not None
        self.step = self._step if plain else replayed(self._step, device, before=self.count.zero_)

    def fill(self, rounds: Sequence[Round]) -> int:
        """Put a round's weights, batches and noise into place; return how many steps it has."""
        index, sizes = torch.zeros(self.index.shape, dtype=torch.long), torch.zeros(self.sizes.shape)
        row = 0
        for r in rounds:
            first = row
            for client in r.clients:
                self._fill_row(r.federation, client, index[:, row], sizes[:, row], row)
                row += 1
            with torch.no_grad():
                self.theta[first:row] = self.engine.layout.flatten(tensors(r.federation.model))
            self.lr[first:row] = r.lr
        self.index.copy_(index)
        self.sizes.copy_(sizes)
        for buffer in (self.first, self.second, self.total, self.count):
            buffer.zero_()
        return int((sizes > 0).any(1).sum())

    def _fill_row(self, federation: Federation, client: int, index: Tensor, sizes: Tensor, row: int) -> None:
        """Put one participant's batches into `index` (steps x B) and `sizes` (steps), and its noise."""
        protocol, streams, batch = self.engine.protocol, federation.streams, index.shape[1]
        start = 0
        for order in epochs(federation.clients[client].train, protocol, streams["shuffle"]):
            steps = -(-len(order) // batch)
            index[start : start + steps] = F.pad(order, (0, steps * batch - len(order))).view(steps, batch)
            sizes[start : start + steps] = batch
            sizes[start + steps - 1] = len(order) - (steps - 1) * batch
            start += steps
        for step, size in enumerate(sizes[:start].int().tolist() if self.noise else ()):
            drawn = sample_noise(federation.model, size, self.theta, streams["noise"])
            for buffer, noise in zip(self.noise, drawn, strict=True):
                buffer[step, row, :size] = noise

    def finish(self, rounds: Sequence[Round]) -> list[Means]:
        """Aggregate each training's rows into its model; return its mean loss and accuracy."""
        each = [(loss, hits) for loss, hits in (self.total / self.sizes.sum(0)).T.tolist()]
        means, layout = [], self.engine.layout
        for r, rows in zip(rounds, self.theta.detach().split(self.counts), strict=True):
            mine, each = each[: len(rows)], each[len(rows) :]
            for client, one in zip(r.clients, mine, strict=True):
                r.check(one, client)
            start = layout.flatten(tensors(r.federation.model))
            step = r.aggregate([layout.unflatten(start - rows)])
            layout.load(r.federation.model, start - layout.flatten(step))
            means.append(r.mean(mine))
        return means

    def _step(self) -> None:
        """Train all rows on their batch number `count`; rows that have no batch left stay as they are."""
        index, sizes = self._now(self.index), self._now(self.sizes)
        x, labels = self.engine.images[index.flatten()]
        x, labels = x.unflatten(0, index.shape), labels.view(index.shape)
        state = self.fixed | self.engine.layout.unflatten(self.theta)
        each, hits = stacked_losses(self.engine.losses, state, x, labels, tuple(map(self._now, self.noise)))
        there = self.place < sizes[:, None]
        each = torch.where(there, each, 0)
        mean = each.sum(1) / sizes.clamp(min=1).to(each.dtype)
        (grad,) = torch.autograd.grad(mean.sum(), self.theta)
        with torch.no_grad():
            self.total += torch.stack([mean * sizes, (hits & there).sum(1)])
            self.count += 1
            self._optimize(self._defended(grad), torch.where(sizes > 0, self.lr, 0))

    def _optimize(self, grad: Tensor, lr: Tensor) -> None:
        """One step of SGD or Adam (Kingma and Ba, 2015) for all rows, as `torch.optim` takes it."""
        protocol, dtype = self.engine.protocol, grad.dtype
        if protocol.optimizer == "sgd":
            self.theta -= lr.to(dtype)[:, None] * grad
            return
        decay, decay2 = protocol.betas
        self.first.lerp_(grad, 1 - decay)
        self.second.mul_(decay2).addcmul_(grad, grad, value=1 - decay2)
        count = self.count.double()
        step = (lr / (1 - decay**count)).to(dtype)[:, None]
        width = (1 - decay2**count).sqrt().to(dtype)
        self.theta -= step * self.first / ((self.second.sqrt() / width).add_(1e-8))

    def _defended(self, grad: Tensor) -> Tensor:
        layout = self.engine.layout
        if self.engine.defense is None:
            return grad
        parts = []
        for federation, part in zip(self.federations, grad.split(self.counts), strict=True):
            grads, defense = layout.unflatten(part), federation.defense
            assert isinstance(defense, Transformation)
            shared = defense(grads, generator=federation.streams["noise"])
            parts.append(layout.flatten_rows(checked(shared, grads)))
        return torch.cat(parts)

    def _now(self, buffer: Tensor) -> Tensor:
        return buffer.index_select(0, self.count)[0]

    def _fixed(self) -> dict[str, Tensor]:
        """Every row's buffers and frozen parameters."""
        counts = torch.tensor(self.counts, device=self.engine.device)
        each = [tensors(federation.model) for federation in self.federations]
        names = [name for name in each[0] if name not in self.engine.layout.shapes]
        return {n: torch.stack([t[n].detach() for t in each]).repeat_interleave(counts, 0) for n in names}


def replayed(
    step: Callable[[], None], device: torch.device, *, before: Callable[[], object]
) -> Callable[[], None]:
    """Return a call that replays `step` as a CUDA graph, or, after a warning, `step` if that cannot be had.

    It is run a few times for that, each time after `before`: fill the buffers afterwards.
    """

    def warm_up() -> None:
        before()
        step()

    try:
        return record(step, warm_up=warm_up, device=device)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        warnings.warn(f"The clients' step runs without a CUDA graph: {reason}", stacklevel=2)
        return step
