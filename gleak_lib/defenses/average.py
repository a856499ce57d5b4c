"""Gradients averaged over several draws of a bottleneck's noise."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gleak_lib.defenses.base import Batch, Defense
from gleak_lib.defenses.noise import normal
from gleak_lib.errors import ParameterError
from gleak_lib.gradients import per_victim_gradients, prepare
from gleak_lib.typed import typed
from gleak_lib.types import Grads

ROWS = 128  # images, each draw counted, whose gradients are computed at once


@typed
@dataclass(frozen=True)
class AverageNoise(Defense):
    """Share the mean gradient over `draws` independent draws of the bottlenecks' noise; ours.

    The first draw is that of the client's own pass. It is the gradient of a batch in which every image stands
    once per draw, so that a BatchNorm in training mode behind a bottleneck normalizes over all draws
    together, as it does in an attack with as many noise samples. A model without bottlenecks shares its own
    gradient.

    Attributes:
        draws: noise maps of each image and bottleneck, at least 1.
    """

    draws: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1:
            raise ParameterError(f"draws must be an integer of at least 1, got {self.draws}.")

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        """Return the mean gradients.

        Raises:
            ParameterError: If it was not bound (`observe` and `federated.train` bind it): a gradient alone
                does not tell what other noise would have given.
        """
        batch = self.batch
        if batch is None:
            raise ParameterError(f"{self} computes gradients anew: call `bind(batch)` first.")
        scale = batch.noise_scale
        noise = [(n, *(scale * normal(n, generator) for _ in range(self.draws - 1))) for n in batch.noise]
        side_by_side = [_by_victim(n, batch.victims) for n in noise]
        return _mean(batch, tuple(grads), side_by_side, self.draws if noise else 1)

    @property
    def replaces(self) -> bool:
        return True

    @property
    def noise_samples(self) -> int:
        return self.draws


def _by_victim(draws: tuple[Tensor, ...], victims: int) -> Tensor:
    """Return V x (draws * B) x map of draws N x map each."""
    return torch.cat([n.reshape(victims, -1, *n.shape[1:]) for n in draws], 1)


def _mean(batch: Batch, names: tuple[str, ...], noise: list[Tensor], draws: int) -> Grads:
    """Return the gradients of batches in which every image stands once per draw, some victims at a time.

    Args:
        batch: of V updates with B images each.
        names: parameters.
        noise: V x (draws * B) x map for each bottleneck.
        draws: times that every image stands in the batch.
    """
    rows = draws * (len(batch.x) // batch.victims)
    model = prepare(batch.model, rows)
    x, labels = (t.reshape(batch.victims, -1, *t.shape[1:]) for t in (batch.x, batch.labels))
    parts: list[Grads] = []
    for some in torch.arange(batch.victims, device=x.device).split(max(1, ROWS // rows)):
        images = x[some].repeat(1, draws, 1, 1, 1).flatten(0, 1)
        grads, _ = per_victim_gradients(
            model,
            images,
            labels[some].repeat(1, draws).flatten(),
            victims=len(some),
            noise=[n[some].flatten(0, 1) for n in noise],
            names=names,
            loss=batch.loss,
        )
        parts.append({n: g.detach() for n, g in grads.items()})
    return {name: torch.cat([part[name] for part in parts]) for name in names}
