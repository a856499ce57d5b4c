"""Soteria: the representation in front of a fully connected layer is pruned where it tells most."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gleak_lib.defenses.base import Batch, Defense
from gleak_lib.defenses.compress import check_share
from gleak_lib.defenses.noise import normal
from gleak_lib.errors import ParameterError
from gleak_lib.gradients import forward, prepare
from gleak_lib.typed import typed
from gleak_lib.types import Grads

OFFSET = 0.1  # keeps features that are zero from dividing by zero


@typed
@dataclass(frozen=True)
class Soteria(Defense):
    """Prune the representation in front of the fully connected layer (Sun et al. 2021; 003: 80 %).

    With r the layer's input and J_i the Jacobian of r_i with respect to the image, the features to prune
    are those with the largest `|r_i| / |J_i|`: they reveal the image most. As in code that 004's first author
    has published, the floor(p * F) features with the smallest sum over the batch of `|J_i| / (|r_i| + 0.1)`
    lose their column in the gradient of that layer's weight; units that are dead throughout the batch score
    zero and are among the first. Nothing else changes: the other layers' gradients are shared as they are,
    and who leaves this layer out attacks them undisturbed (`muted`). (003 speaks of gradients taken on the
    perturbed representation, which would change the others, too; that is not implemented.)

    The mask depends on the client's images, so the defense must be bound to the batch, as `observe` and
    `federated.train` do it.

    Attributes:
        p: share of the features that is pruned, in [0, 1).
        layer: name of a linear layer of the model; None takes the last one.
        probes: estimate each `|J_i|^2` by the mean of so many `(J v)_i^2` with v from N(0, 1), one pass each,
            instead of computing it with one backward pass a feature, F of them. Meant for training: the
            relative errors, sqrt(2 / probes), average over the batch.
    """

    p: float = 0.8
    layer: str | None = None
    probes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self.p)
        if self.probes is not None and self.probes < 1:
            raise ParameterError(f"probes must be None or an integer of at least 1, got {self.probes}.")

    def bind(self, batch: Batch) -> Defense:
        """Return the defense of this batch's gradients.

        Raises:
            ParameterError: If the model has no such layer.
        """
        _layer(batch.model, self.layer)
        return super().bind(batch)

    def targets(self, model: nn.Module) -> tuple[str, ...]:
        """Return the parameters of the layer whose input is pruned."""
        found = _layer(model, self.layer)
        return tuple(f"{found}.{n}" for n, _ in model.get_submodule(found).named_parameters(recurse=False))

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        """Return the gradients without the pruned columns.

        Raises:
            ParameterError: If it was not bound, or the layer's input is not N x F.
        """
        batch = self.batch
        if batch is None:
            raise ParameterError(
                f"{self} chooses what to prune by the client's images: call defense.bind(batch)(grads) with "
                "the Batch that the gradients come from, or pass it to observe or train."
            )
        weight = f"{_layer(batch.model, self.layer)}.weight"
        if weight not in grads:
            return dict(grads)
        features, sizes = sensitivity(batch, layer=self.layer, probes=self.probes, generator=generator)
        score = (sizes / (features.abs() + OFFSET)).reshape(batch.victims, -1, features.shape[1]).sum(1)
        pruned = score.argsort(dim=1)[:, : int(self.p * score.shape[1])]
        mask = torch.ones_like(score).scatter(1, pruned, 0.0)
        return {**grads, weight: grads[weight] * mask.unsqueeze(1)}

    @property
    def needs_batch(self) -> bool:
        """It chooses by the client's images."""
        return True

    @property
    def value_bits(self) -> None:
        """What is not pruned stays as it came."""


@typed
@dataclass(frozen=True)
class PLD(Soteria):
    """Prune the fully connected layer's gradient: 004's PLD, which is `Soteria` (004: 60 %, 80 %)."""


def sensitivity(
    batch: Batch,
    *,
    layer: str | None = None,
    probes: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the layer's input r, N x F, and the norms |dr_i / dx| by image and feature, N x F.

    In models with BatchNorm in training mode, where images influence each other, the norm at an image is
    that of the derivative of all images' r_i.

    Args:
        batch: the images, and the model that sees them.
        layer, probes: see `Soteria`.
        generator: source of the probes.

    Raises:
        ParameterError: If there is no such layer, or its input is not N x F.
    """
    model = prepare(batch.model, len(batch.x) // batch.victims)
    found: list[Tensor] = []
    name = _layer(model, layer)
    model.get_submodule(name).register_forward_pre_hook(lambda _module, inputs: found.append(inputs[0]))
    x = batch.x.detach().requires_grad_()
    with torch.enable_grad():
        forward(model, x, batch.noise)
        features = _flat(found[0], name)
        if probes is None:
            sums = [column.sum() for column in features.unbind(1)]
            rows = [torch.autograd.grad(s, x, retain_graph=True)[0].flatten(1).norm(dim=1) for s in sums]
            return features.detach(), torch.stack(rows, 1)
        weights = torch.zeros_like(features, requires_grad=True)  # J v is the derivative of <J' w, v> in w
        (pulled,) = torch.autograd.grad(features, x, weights, create_graph=True)
        squares = torch.zeros_like(features)
        for _ in range(probes):
            along = (pulled * normal(x, generator)).sum()
            squares += torch.autograd.grad(along, weights, retain_graph=True)[0].square()
    return features.detach(), (squares / probes).sqrt().detach()


def _layer(model: nn.Module, name: str | None) -> str:
    linear = [n for n, module in model.named_modules() if isinstance(module, nn.Linear)]
    if name is None and linear:
        return linear[-1]
    if name is None or name not in linear:
        wanted = "it has none" if name is None else f"{name!r} is none"
        raise ParameterError(
            "soteria prunes the input of a fully connected layer, and of this model's modules "
            f"{wanted} (linear: {', '.join(linear) or 'none'}): name one with layer=, or take another model."
        )
    return name


def _flat(features: Tensor, name: str) -> Tensor:
    if features.dim() != 2:
        raise ParameterError(
            f"soteria prunes features N x F, and the input of {name} is {tuple(features.shape)}: name "
            "another layer."
        )
    return features
