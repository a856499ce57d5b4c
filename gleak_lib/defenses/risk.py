"""How much of an image each layer's gradient tells: the norm of its Jacobian (004 §4-A, Eq. 1-2)."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gleak_lib.bottlenecks import sample_noise
from gleak_lib.defenses.noise import normal
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.gradients import forward, jacobian_products, per_victim_gradients, prepare, wanted
from gleak_lib.pixels import normalize
from gleak_lib.typed import typed

PROBES = 8
MEMORY = 2**24  # gradient entries that are held at once, images x parameters


@dataclass(frozen=True)
class LeakageRisk:
    """A layer's R_l, the mean over root images of `|dg_l / dX|`, and how well it is known.

    Attributes:
        layers: names of the modules that hold the parameters, weights and bias together, in the model's
            order.
        sizes: their numbers of entries.
        values: R_l, one per layer.
        errors: standard errors of the estimate, given these images; 0 where it is exact.
    """

    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    values: tuple[float, ...]
    errors: tuple[float, ...]


def by_layer(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the parameters of each layer, the module that holds them, in order of first appearance."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return {layer: tuple(members) for layer, members in found.items()}


@typed
def leakage_risk(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    mean: Sequence[float] | float = 0.0,
    std: Sequence[float] | float = 1.0,
    p: float = 2.0,
    probes: int | None = PROBES,
    generator: torch.Generator | None = None,
) -> LeakageRisk:
    """Return `R_l = (1/k) sum_i |J_l(X_i)|_p`, J_l the Jacobian of layer l's gradient at the image X_i.

    A gradient is that of one root image's loss, X are pixels in [0, 1], and the norm is the entrywise p-norm
    of the matrix (p=2: Frobenius), which 004 leaves open. J_l is never held. With `probes` k, `|J_l|^2` is
    the mean of k values `|J_l u|^2`, u of random signs, and one double backward pass gives J_l u of all
    layers and images. The root of that mean is too small by a term in 1/k, which a jackknife over the
    probes takes out; it gives the standard error, too. With `probes=None` u runs through all unit
    vectors, C H W passes, and the norm is exact.

    Args:
        model: the network with its weights, in the mode that clients train it in.
        images: k x C x H x W root images in [0, 1].
        labels: k class indices.
        mean, std: pixel statistics, one value or one per channel.
        p: of the norm, at least 1; `math.inf` is the largest entry.
        probes: at least 2, for p=2 only; None is exact.
        generator: source of the probes and the bottlenecks' noise; None uses torch's global one.

    Raises:
        ShapeError: If there is no image, pixels are not in [0, 1], or images and labels do not fit each other
            or the model.
        ParameterError: If p is below 1, there are fewer than 2 probes, or probes with another p than 2.
    """
    _check(images, labels, p, probes)
    shared = prepare(model, 1)
    names = wanted(shared)
    like = next(model.parameters())
    layers = by_layer(names)
    shapes = {name: value.shape for name, value in model.named_parameters()}
    sizes = [sum(shapes[n].numel() for n in members) for members in layers.values()]
    center, width = (
        (float(v),) * images.shape[1] if isinstance(v, (int, float)) else tuple(v) for v in (mean, std)
    )
    parts = []
    for rows in torch.arange(len(images)).split(max(1, MEMORY // sum(sizes))):
        x = images[rows].to(like).detach().requires_grad_()
        noise = sample_noise(model, len(x), x, generator)
        targets = labels[rows].to(like.device, torch.long)
        seen = normalize(x, center, width)
        _check_fit(shared, seen.detach(), targets, noise)
        options = {"victims": len(x), "noise": noise, "names": names, "create_graph": True}
        grads, _ = per_victim_gradients(shared, seen, targets, **options)
        columns = jacobian_products(grads, x, _probes(x, probes, generator))
        members = layers.values()
        parts.append(_roots(columns, members, p) if probes is None else _jackknife(columns, members))
    values, squares = (torch.cat(found) for found in zip(*parts, strict=True))
    errors = squares.sum(0).sqrt() / len(images)
    return LeakageRisk(tuple(layers), tuple(sizes), tuple(values.mean(0).tolist()), tuple(errors.tolist()))


def _probes(x: Tensor, probes: int | None, generator: torch.Generator | None) -> Iterator[Tensor]:
    """Yield directions, V x C x H x W: `probes` of random signs, or all unit vectors."""
    if probes is None:
        for pixel in range(x[0].numel()):
            unit = torch.zeros_like(x)
            unit.view(len(x), -1)[:, pixel] = 1
            yield unit
    else:
        for _ in range(probes):
            yield normal(x, generator).sign()


def _roots(
    columns: Iterable[dict[str, Tensor]], layers: Iterable[Sequence[str]], p: float
) -> tuple[Tensor, Tensor]:
    """Return V x L norms of all columns together, and zeros for their squared errors."""
    layers, total = tuple(layers), torch.zeros(())
    for column in columns:
        power: Callable[[Tensor], Tensor] = (
            (lambda c: c.abs().amax(1)) if math.isinf(p) else (lambda c: c.abs().pow(p).sum(1))
        )
        each = [torch.stack([power(column[n]) for n in members]) for members in layers]
        here = torch.stack([e.amax(0) if math.isinf(p) else e.sum(0) for e in each], 1)
        total = torch.maximum(total.to(here), here) if math.isinf(p) else total.to(here) + here
    norms = total if math.isinf(p) else total.pow(1 / p)
    return norms, torch.zeros_like(norms)


def _jackknife(
    columns: Iterable[dict[str, Tensor]], layers: Iterable[Sequence[str]]
) -> tuple[Tensor, Tensor]:
    """Return V x L roots of mean squares over the probes, with the bias taken out, and squared errors."""
    layers = tuple(layers)
    squares = torch.stack(
        [
            torch.stack([torch.cat([c[n] for n in members], 1).square().sum(1) for members in layers], 1)
            for c in columns
        ]
    )
    count, mean = len(squares), squares.mean(0)
    without = ((count * mean - squares) / (count - 1)).clamp_min(0).sqrt()  # each probe left out once
    roots = count * mean.sqrt() - (count - 1) * without.mean(0)
    return roots, (count - 1) * without.var(0, correction=0)


def _check(images: Tensor, labels: Tensor, p: float, probes: int | None) -> None:
    if images.dim() != 4 or not len(images):
        raise ShapeError(
            f"Root images must be k x C x H x W with at least one image, got {tuple(images.shape)}."
        )
    low, high = (float(v) for v in images.aminmax())
    if not images.is_floating_point() or not (low >= 0 and high <= 1):
        raise ShapeError(
            f"Root images must be floats in [0, 1], got {images.dtype} in [{low:.3g}, {high:.3g}]: divide "
            "uint8 by 255, and undo a normalization (leakage_risk applies mean and std itself)."
        )
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise ShapeError(
            f"Root labels must be {len(images)} class indices, got {tuple(labels.shape)} of {labels.dtype}."
        )
    if not p >= 1:
        raise ParameterError(f"The norm's p must be at least 1, got {p}.")
    if probes is not None and probes < 2:
        raise ParameterError(f"At least 2 probes tell how well they agree, got {probes}; None is exact.")
    if probes is not None and p != 2:
        raise ParameterError(
            f"Random probes estimate the Frobenius norm, p=2, and say nothing of p={p}: take probes=None, "
            "which looks at every pixel."
        )


def _check_fit(model: nn.Module, x: Tensor, labels: Tensor, noise: tuple[Tensor, ...]) -> None:
    """Refuse root images that the model does not take, and labels that it has no logit for."""
    try:
        with torch.no_grad():
            classes = forward(model, x[:1], [n[:1] for n in noise]).logits.shape[-1]
    except (RuntimeError, ShapeError) as error:
        raise ShapeError(
            f"The model does not take root images of shape {tuple(x.shape[1:])} (C x H x W): choose a root "
            f"set of the images that it is trained on. {error}"
        ) from error
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ShapeError(
            f"Root labels must be 0 to {classes - 1} for this model's {classes} logits, got "
            f"{int(labels.min())} to {int(labels.max())}."
        )
