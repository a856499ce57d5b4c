"""The nouns that every other module speaks: gradients, what the server sees, what an attack returns.

Shapes are named as follows throughout the package: V victims (independent client updates), B images
in a victim's batch, N = V * B, C x H x W pixels, K classes. Pixels are in [0, 1] wherever a public
function takes or returns images; models see them normalized by a mean and a standard deviation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gleak_lib.errors import GradientError, ParameterError, ShapeError
from gleak_lib.fingerprint import Fingerprint
from gleak_lib.half_precision import refuse_half
from gleak_lib.pixels import spread
from gleak_lib.received import Received, by_name
from gleak_lib.typed import typed

Grads = dict[str, Tensor]
"""Gradients by parameter name; per-victim gradients carry a leading axis: V x the parameter's shape."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits N x K, labels N class indices or N x K probabilities) -> the loss of each image, N.

Only attacks that optimize labels (`Optimized()`, as DLG does) pass probabilities, and differentiate by them.
"""


class ForwardPass(NamedTuple):
    """One forward pass of a model that may contain variational bottlenecks."""

    logits: Tensor  #: N x K
    kl: Tensor  #: N, the weighted sum of the bottlenecks' terms, sum_i beta_i KL_i (000 Eq. 6-7)
    noise: tuple[Tensor, ...]  #: one tensor per bottleneck, N x its map


@runtime_checkable
class VariationalModel(Protocol):
    """What the engine needs of a model with bottlenecks; a plain `nn.Module` needs none of it."""

    noise_shapes: tuple[tuple[int, ...], ...]

    def run(
        self,
        x: Tensor,
        noise: Sequence[Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> ForwardPass: ...


@runtime_checkable
class GroupedModel(VariationalModel, Protocol):
    """One that knows its parameter groups, too; apart, since asking whether it does makes them."""

    groups: Mapping[str, tuple[str, ...]]


@typed
@dataclass(frozen=True, repr=False)
class Observation:
    """What an honest-but-curious server holds after V independent client updates (001 §II-A).

    It never holds the truth: no image, and labels only where the chapter grants them.

    Attributes:
        model: the network with the weights that the server sent; no copy. Attacks refuse it once parameters,
            buffers or modes are others than when it was observed: who trains it on observes a copy.
        gradients: per-victim gradients, name -> V x the parameter's shape.
        input_shape: C, H, W of one image.
        batch_size: B, images in each victim's batch.
        mean, std: pixel statistics of the training data, one value per channel; the model sees
            (pixel - mean) / std.
        labels: V x B class indices if the server knows them, else None.
        batched: whether images come and go as V x B x C x H x W (True) or V x C x H x W (False).
        defense: what the server knows of the defense that the gradients passed, else None: a `Defense` that
            is bound to no client's batch, with its name, its settings and the layer that it targets.
        noise: the bottlenecks' noise, N x map each, only where an oracle experiment grants it.
        statistics: by layer, V x 2 x C, means and variances of what the victims' batches sent into each
            BatchNorm in training mode, where the server learns them, else None.
        later: further updates of the same victims on the same images, with weights and gradients of their
            own; see `attacks.join`.
        perturbed: where the defense added noise, truth values V x shape, only where an oracle experiment
            grants it.
        loss: of each image, whose mean over the batch the clients differentiate; None is the cross-entropy.
        fingerprint: of the model; taken when the observation is made, and kept by `dataclasses.replace`,
            unless that puts another model in.

    Raises:
        ParameterError: If the model is in half precision.
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
    loss: Loss | None = None
    fingerprint: Fingerprint | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        refuse_half(self.model)
        if self.fingerprint is None or self.fingerprint.model is not self.model:
            object.__setattr__(self, "fingerprint", Fingerprint.of(self.model))

    @classmethod
    @typed
    def from_gradients(
        cls,
        model: nn.Module,
        gradients: Received,
        *,
        input_shape: tuple[int, int, int],
        batch_size: int = 1,
        labels: Tensor | Sequence[int] | int | None = None,
        mean: Sequence[float] | float = 0.0,
        std: Sequence[float] | float = 1.0,
        defense: object | None = None,
        statistics: dict[str, Tensor] | None = None,
        loss: Loss | None = None,
    ) -> "Observation":
        """Return what a server holds that received these gradients.

        They must be those of the batch's mean loss; divide a sum's by the batch size. `invert` looks whether
        the rest fits (`attacks.check`).

        Args:
            model: with the weights that the server sent, in the clients' mode (train or eval); a copy of it
                (copy.deepcopy) if you go on to change it.
            gradients: tensors or arrays by parameter name, or in the order of `model.parameters()`; None for
                a parameter that got no gradient. Of one update, or of V stacked along a first axis.
            input_shape: C, H, W of one image.
            batch_size: B, images behind each update.
            labels: V x B class indices if they are known.
            mean, std: pixel statistics, one value or one per channel; the model sees (pixel - mean) / std.
            defense, statistics, loss: as in `Observation`.

        Raises:
            GradientError: If names, number or shapes are not those of the model's parameters.
            ParameterError: If the model is in half precision; gradients of any precision are brought to its.
            ShapeError: If the input shape is not C, H, W, there are not V x B labels, or pixel statistics
                are for other than C channels.
        """
        if len(input_shape) != 3:
            raise ShapeError(f"input_shape must be C, H, W, got {tuple(input_shape)}.")
        channels, height, width = input_shape
        named = by_name(model, gradients, "gradients")
        like = next(iter(named.values()))
        if labels is not None:
            labels = torch.as_tensor(labels, device=like.device)
            if labels.numel() != len(like) * batch_size:
                raise ShapeError(
                    f"labels must be V x B = {len(like)} x {batch_size} class indices, got "
                    f"{tuple(labels.shape)}: set batch_size, or stack several updates along a first axis; of "
                    "one-hot rows pass labels.argmax(-1)."
                )
            labels = labels.reshape(len(like), batch_size)
        return cls(
            model=model,
            gradients=named,
            input_shape=(channels, height, width),
            batch_size=batch_size,
            mean=spread(mean, channels, "mean"),
            std=spread(std, channels, "std"),
            labels=labels,
            batched=batch_size > 1,
            defense=defense,
            statistics=statistics,
            loss=loss,
        )

    @classmethod
    @typed
    def from_weights(
        cls,
        before: nn.Module,
        after: nn.Module | Received,
        *,
        lr: float,
        local_steps: int = 1,
        **options: Any,
    ) -> "Observation":
        """Return what a server holds that received weights after local training.

        The gradient is taken to be (before - after) / (lr local_steps). After one step of plain SGD that is
        exact. After several it is the mean of the gradients on the way, which stands for the gradient of all
        their images at the weights `before` while these hardly move; then `batch_size` counts all those
        images. Momentum, weight decay and adaptive optimizers make it something else.

        Args:
            before: the model with the weights that the server sent.
            after: a model, a state dict, or tensors in the order of `before.parameters()`; of one client, or
                of V stacked along a first axis.
            lr: the clients' learning rate.
            local_steps: steps that each client took.
            options: as for `from_gradients`, which are needed there.

        Raises:
            ParameterError: If `lr` is not positive, `local_steps` below 1, or the model in half precision.
            GradientError, ShapeError: As `from_gradients`.
        """
        if not 0 < lr < float("inf") or local_steps < 1:
            raise ParameterError(
                f"lr must be positive and finite and local_steps at least 1, got {lr} and {local_steps}."
            )
        later = by_name(before, after.state_dict() if isinstance(after, nn.Module) else after, "weights")
        first = dict(before.named_parameters())
        grads = {name: (first[name].detach() - w) / (lr * local_steps) for name, w in later.items()}
        return cls.from_gradients(before, grads, **options)

    def check_model(self) -> None:
        """Refuse a model that is no longer what was observed; further updates are not looked at.

        Raises:
            GradientError: If it has changed.
        """
        if self.fingerprint is not None and (change := self.fingerprint.changed()):
            raise GradientError(
                f"The model has changed since it was observed ({change}), and these are gradients of what it "
                "was: give observe or Observation a copy, copy.deepcopy(model), before you change it."
            )

    def __repr__(self) -> str:
        """What there is, without the numbers: gradients would fill pages."""
        size = "x".join(map(str, self.input_shape))
        known = {"labels": self.labels, "defense": self.defense, "noise": self.noise}
        known |= {"statistics": self.statistics, "further updates": self.later or None}
        told = ", ".join(name for name, value in known.items() if value is not None)
        return (
            f"<Observation of a {type(self.model).__name__}: {self.victims} victims with {self.batch_size} "
            f"{size} images each, {len(self.gradients)} gradients, known: {told or 'nothing else'}>"
        )

    @property
    def victims(self) -> int:
        """Number of independent updates, V."""
        return self.like.shape[0]

    @property
    def like(self) -> Tensor:
        """One of the gradients, whose type and device are those of everything that an attack computes."""
        return next(iter(self.gradients.values()))


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """What an attack returns, one entry a victim.

    Attributes:
        images: V x C x H x W (or V x B x C x H x W) in [0, 1], the best iterate by the attack's loss; NaN
            where the attack failed (`failed`).
        labels: V (or V x B) class indices that the attack used, inferred or optimized (the likeliest).
        loss: V, the attack's loss at that iterate.
        steps: V, optimization steps taken before the victim's stop rule held.
        trace: T x V, the loss at the steps `trace_steps`; NaN once a victim has stopped.
        trace_steps: T, the steps at which the trace was recorded.
        noise: the bottlenecks' noise at that iterate where the attack optimized it, N x map each (of several
            updates one after the other), else None.
    """

    images: Tensor
    labels: Tensor
    loss: Tensor
    steps: Tensor
    trace: Tensor
    trace_steps: Tensor
    noise: tuple[Tensor, ...] | None = None

    def __repr__(self) -> str:
        """Shapes and losses; images would fill pages."""
        losses = ", ".join(f"{loss:.3g}" for loss in self.loss.tolist()[:8])
        more = ", ..." if len(self.loss) > 8 else ""
        return f"<Reconstruction: images {tuple(self.images.shape)}, loss {losses}{more}>"

    @property
    def failed(self) -> Tensor:
        """V bools, whether the loss was never finite, so that nothing was found, which protects nobody."""
        return ~self.loss.isfinite()
