"""The nouns that every other module speaks: gradients, what the server sees, what an attack returns.

Shapes are named as follows throughout the package: V victims (independent client updates), B images
in a victim's batch, N = V * B, C x H x W pixels, K classes. Pixels are in [0, 1] wherever a public
function takes or returns images; models see them normalised by a mean and a standard deviation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gleak_lib.typed import typed

Grads = dict[str, Tensor]
"""Gradients by parameter name; per-victim gradients carry a leading axis: V x the parameter's shape."""


class Run(NamedTuple):
    """One forward pass of a model that may contain variational bottlenecks."""

    logits: Tensor  # N x K
    kl: Tensor  # N, the weighted sum of the bottlenecks' terms, sum_i beta_i KL_i (000 Eq. 6-7)
    noise: tuple[Tensor, ...]  # one tensor a bottleneck, N x its map


@runtime_checkable
class VariationalModel(Protocol):
    """What the engine needs of a model with bottlenecks; a plain `nn.Module` needs none of it."""

    noise_shapes: tuple[tuple[int, ...], ...]

    def run(
        self,
        x: Tensor,
        noise: Sequence[Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> Run: ...


@runtime_checkable
class GroupedModel(VariationalModel, Protocol):
    """One that knows its parameter groups, too; apart, since asking whether it does makes them."""

    groups: Mapping[str, tuple[str, ...]]


@typed
@dataclass(frozen=True)
class Observation:
    """What an honest-but-curious server holds after V independent client updates (001 §II-A).

    It never holds the truth: no image, and labels only where the chapter grants them.

    Attributes:
        model: the network with the weights that the server sent.
        gradients: per-victim gradients, name -> V x the parameter's shape.
        input_shape: C, H, W of one image.
        batch_size: B, images in each victim's batch.
        mean, std: pixel statistics of the training data, one value a channel; the model sees
            (pixel - mean) / std.
        labels: V x B class indices if the server knows them, else None.
        batched: whether images come and go as V x B x C x H x W (True) or V x C x H x W (False).
        defense: what the server knows of the defence that the gradients passed, else None: a `Defense` that
            is bound to no client's batch, with its name, its settings and the layer that it targets.
        noise: the bottlenecks' noise, N x map each, only where an oracle experiment grants it.
        statistics: by layer, V x 2 x C, means and variances of what the victims' batches sent into each
            BatchNorm in training mode, where the server learns them, else None.
        later: further updates of the same victims on the same images, with weights and gradients of their
            own; see `attacks.join`.
        perturbed: where the defense added noise, truth values V x shape, only where an oracle experiment
        grants it.
    """

    model: nn.Module
    gradients: Grads
    input_shape: tuple[int, int, int]
    batch_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: Tensor | None = None
    batched: bool = False
    defense: object | None = None
    noise: tuple[Tensor, ...] | None = None
    statistics: dict[str, Tensor] | None = None
    later: "tuple[Observation, ...]" = ()
    perturbed: Grads | None = None

    @property
    def victims(self) -> int:
        """Number of independent updates, V."""
        return self.like.shape[0]

    @property
    def like(self) -> Tensor:
        """One of the gradients: what an attack computes is of its type and on its device."""
        return next(iter(self.gradients.values()))


@dataclass(frozen=True)
class Reconstruction:
    """What an attack returns, one entry a victim.

    Attributes:
        images: V x C x H x W (or V x B x C x H x W) in [0, 1], the best iterate by the attack's loss; NaN
            where the attack failed (`failed`).
        labels: V (or V x B) class indices that the attack used, inferred or optimised (the likeliest).
        loss: V, the attack's loss at that iterate.
        steps: V, optimisation steps taken before the victim's stop rule held.
        trace: T x V, the loss at the steps `trace_steps`; NaN once a victim has stopped.
        trace_steps: T, the steps at which the trace was recorded.
        noise: the bottlenecks' noise at that iterate where the attack optimised it, N x map each (of several
            updates one after the other), else None.
    """

    images: Tensor
    labels: Tensor
    loss: Tensor
    steps: Tensor
    trace: Tensor
    trace_steps: Tensor
    noise: tuple[Tensor, ...] | None = None

    @property
    def failed(self) -> Tensor:
        """V bools: whether the loss was never finite, so that nothing was found, which protects nobody."""
        return ~self.loss.isfinite()
