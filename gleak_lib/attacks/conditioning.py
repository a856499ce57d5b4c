"""How well the direction of its gradient determines an image: singular values of a Jacobian."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gleak_lib import gradients as engine
from gleak_lib.bottlenecks import sample_noise
from gleak_lib.errors import GradientError, ParameterError, ShapeError
from gleak_lib.gradients.factored import by_row
from gleak_lib.half_precision import refuse_half
from gleak_lib.models.layers import ACTIVATIONS
from gleak_lib.pixels import normalize, spread
from gleak_lib.typed import typed

FLAT = 0.01  # slope of an activation below which next to nothing passes


@dataclass(frozen=True)
class Conditioning:
    """What `conditioning` says of each of V images; see there.

    Attributes:
        gradient_norm: V, length of the gradient of all weights.
        rms: V, root mean square of the singular values, at least 0.
        effective_rank: V, how many of the C H W directions they stand for, at least 1.
        flat: V, share of activations whose slope is below 0.01, in [0, 1]; NaN for a model without any.
        singular_values: V x C H W, descending, where they were computed exactly, else None.
    """

    gradient_norm: Tensor
    rms: Tensor
    effective_rank: Tensor
    flat: Tensor
    singular_values: Tensor | None = None


@torch.enable_grad()
@typed
def conditioning(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    mean: Sequence[float] | float = 0.0,
    std: Sequence[float] | float = 1.0,
    probes: int | None = 8,
    generator: torch.Generator | None = None,
) -> Conditioning:
    """Look at J, the Jacobian of the gradient's direction `g / |g|` with respect to the normalized image.

    Near the truth the cosine distance of an attack is `|J d|^2 / 2` for an error d of its image, so that an
    error in a direction of small singular value hardly shows. With s_i the singular values, the root mean
    square is `sqrt(tr(J'J) / (C H W))` and the effective rank `tr(J'J)^2 / tr((J'J)^2) = (sum s_i^2)^2 /
    sum s_i^4`. With probes u of random signs, `|J u|^2` and `|J'J u|^2` have these traces as means
    (Hutchinson); with `probes=None` u runs through all C H W unit vectors, and the values are exact.

    Args:
        model: the network with its weights, in the mode that clients train it in.
        images: V x C x H x W in [0, 1].
        labels: V class indices.
        mean, std: pixel statistics, one value or one per channel.
        probes: at least 1, or None.
        generator: source of the probes and the bottlenecks' noise; None uses torch's global one.

    Raises:
        ShapeError: If there is no image, or images and labels do not fit each other.
        ParameterError: If `probes` is below 1, or the model in half precision.
        GradientError: If a gradient is zero everywhere, or `torch.inference_mode` is on.
    """
    if images.dim() != 4 or not len(images) or labels.shape != images.shape[:1]:
        raise ShapeError(
            "images must be V x C x H x W with V class indices, got "
            f"{tuple(images.shape)} and {tuple(labels.shape)}."
        )
    if probes is not None and probes < 1:
        raise ParameterError(f"probes must be at least 1, or None for all directions, got {probes}.")
    refuse_half(model)
    engine.refuse_inference()
    shared, like = engine.prepare(model, 1), next(model.parameters())
    center, width = spread(mean, images.shape[1], "mean"), spread(std, images.shape[1], "std")
    rows = []
    for image, label in zip(images, labels, strict=True):
        x = normalize(image[None].to(like), center, width).detach().requires_grad_()
        noise = sample_noise(model, 1, x, generator)
        flat = _flat(shared, x, noise)
        options = {"victims": 1, "noise": noise, "create_graph": True}
        grads, _ = engine.per_victim_gradients(shared, x, label[None].to(like.device), **options)
        length = torch.cat([by_row(g.detach()).double() for g in grads.values()], 1).norm()
        if not length > 0:
            raise GradientError("A gradient is zero everywhere: it has no direction.")
        traces, found = _traces(grads, x, length, list(_directions(x, probes, generator)), probes is None)
        rank = traces[0] ** 2 / traces[1] if traces[1] > 0 else torch.ones(())
        rows.append((length, (traces[0] / x.numel()).sqrt(), rank, flat, found))
    lengths, rms, ranks, flats, values = zip(*rows, strict=True)
    return Conditioning(
        *(torch.stack(column).cpu() for column in (lengths, rms, ranks)),
        flat=torch.tensor(flats, dtype=torch.double),
        singular_values=torch.stack([v.cpu() for v in values]) if probes is None else None,
    )


def _directions(x: Tensor, probes: int | None, generator: torch.Generator | None) -> Iterator[Tensor]:
    if probes is None:
        for unit in torch.eye(x.numel()).to(x):
            yield unit.view_as(x)
    else:
        for _ in range(probes):
            signs = torch.randint(2, x.shape, generator=generator, device=getattr(generator, "device", None))
            yield (2 * signs - 1).to(x)


def _traces(
    grads: dict[str, Tensor], x: Tensor, length: Tensor, directions: list[Tensor], exact: bool
) -> tuple[Tensor, Tensor]:
    """Return estimates of tr(J'J) and tr((J'J)^2), and, of all directions, the singular values."""
    unit = {name: g.detach().double() / length for name, g in grads.items()}
    outputs = [name for name, g in grads.items() if g.requires_grad]
    pulled = []
    total = torch.zeros((), dtype=torch.double, device=x.device)
    for moved in engine.jacobian_products(grads, x, directions):
        moved = {name: m.view_as(unit[name]) / length for name, m in moved.items()}
        along = sum((m * unit[name]).sum() for name, m in moved.items())
        across = {name: m - along * unit[name] for name, m in moved.items()}
        total += sum(m.square().sum() for m in across.values())
        back = [across[name].to(grads[name]) for name in outputs]
        (row,) = torch.autograd.grad([grads[n] for n in outputs], x, back, retain_graph=True)
        pulled.append(row.detach().double().flatten() / length)
    square = torch.stack(pulled)
    count = 1 if exact else len(directions)
    values = torch.linalg.eigvalsh((square + square.T) / 2).flip(0).clamp_min(0).sqrt() if exact else square
    return torch.stack([total, square.square().sum()]) / count, values


def _flat(model: nn.Module, x: Tensor, noise: Sequence[Tensor]) -> float:
    """Return the share of activations of small slope."""
    slopes: list[Tensor] = []

    def note(module, inputs, _output) -> None:
        with torch.enable_grad():
            z = inputs[0].detach().requires_grad_()
            (slope,) = torch.autograd.grad(type(module).forward(module, z).sum(), z)
        slopes.append(slope.flatten())

    with ExitStack() as hooks, torch.no_grad():
        for module in model.modules():
            if isinstance(module, tuple(ACTIVATIONS.values())):  # type: ignore[arg-type]
                hooks.callback(module.register_forward_hook(note).remove)
        engine.forward(model, x, noise)
    return float((torch.cat(slopes).abs() < FLAT).double().mean()) if slopes else float("nan")
