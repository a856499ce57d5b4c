"""An image from the weight gradient of its first linear layer alone, without any bias.

That gradient is g x^T, whose right singular vector is the image up to sign and length. The server knows the
model, so that it can try these out: the right ones give the observed g.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gleak_lib import gradients as engine
from gleak_lib.attacks.closed_form import ClosedForm, first_weight, several_images, solved
from gleak_lib.attacks.labels import Known
from gleak_lib.attacks.part import AtLeastOne
from gleak_lib.bottlenecks import sample_noise
from gleak_lib.pixels import denormalize
from gleak_lib.typed import typed
from gleak_lib.types import Loss, Observation, Reconstruction

WIDEST, POINTS = 5.0, 24  # first lengths: a factor of at most 5 around what standardized pixels have
ZOOMS, FINER = 5, 9  # then so often so many lengths around the best one
POWER = 20  # steps of the power iteration


@typed
@dataclass(frozen=True)
class RankOne(ClosedForm):
    """The image as the right singular vector of the first linear layer's weight gradient.

    The loss is one minus the cosine similarity of the layer's gradient to the observed one, both without
    signs, which a bottleneck's noise would turn, plus how far the mean pixel is outside [0, 1].

    Attributes:
        name: what tables call it.
        noise_samples: draws of the bottlenecks' noise over which the tried gradients are averaged.
    """

    name: str = "analytic"
    noise_samples: AtLeastOne = 1

    def run(
        self, observation: Observation, generator: torch.Generator | None = None, **options: Any
    ) -> Reconstruction:
        labels = Known().before(observation)
        if observation.batch_size != 1:
            raise several_images(observation)
        x, loss = _search(observation, self.noise_samples, labels, generator)
        return solved(observation, x[:, None], labels, loss)


def _search(
    observation: Observation, draws: int, labels: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return images V x D in the model's units, and their loss V."""
    engine.refuse_inference()
    name, weight = first_weight(observation)
    unit = _singular_vector(weight)
    response = torch.einsum("vrd,vd->vr", weight, unit).abs()  # |g| times the image's length
    size = weight.square().sum((1, 2)).sqrt().clamp_min(torch.finfo(weight.dtype).tiny)
    model = engine.prepare(observation.model, 1)
    noises = [sample_noise(model, len(weight), weight, generator) for _ in range(draws)]

    per_image = observation.loss or engine.cross_entropy

    def loss(scale: Tensor) -> Tensor:
        x = (scale[:, None] * unit).reshape(-1, *observation.input_shape)
        gradients = [_output_gradient(model, name, x, labels[:, 0], n, per_image).abs() for n in noises]
        own = torch.stack(gradients).mean(0)
        similarity = (nn.functional.normalize(own, dim=1) * response).sum(1) / size
        pixels = denormalize(x, observation.mean, observation.std)
        return 1 - similarity + (pixels - pixels.clamp(0, 1)).abs().mean((1, 2, 3))

    expected = math.sqrt(unit.shape[1])  # normalized pixels have variance 1
    best, scale = weight.new_full((len(weight),), torch.inf), weight.new_ones(len(weight))

    def consider(trial: Tensor) -> None:
        nonlocal best, scale
        value = loss(trial)
        better = value < best
        best, scale = torch.where(better, value, best), torch.where(better, trial, scale)

    for exponent in torch.linspace(-1, 1, POINTS).tolist():
        for sign in (1, -1):
            consider(torch.full_like(scale, sign * expected * WIDEST**exponent))
    step = 2 * math.log(WIDEST) / (POINTS - 1)
    for _ in range(ZOOMS):
        center = scale
        for shift in torch.linspace(-step, step, FINER).tolist():
            consider(center * math.exp(shift))
        step *= 2 / (FINER - 1)
    return scale[:, None] * unit, best


def _singular_vector(weight: Tensor) -> Tensor:
    """First right singular vectors of V x R x D; zeros where the matrix is zero."""
    longest = weight.norm(dim=2).argmax(1)[:, None, None]
    unit = nn.functional.normalize(weight.take_along_dim(longest, 1).squeeze(1), dim=1)
    for _ in range(POWER):
        left = torch.einsum("vrd,vd->vr", weight, unit)
        unit = nn.functional.normalize(torch.einsum("vrd,vr->vd", weight, left), dim=1)
    return unit


def _output_gradient(
    model: nn.Module, name: str, x: Tensor, labels: Tensor, noise: tuple[Tensor, ...], loss: Loss
) -> Tensor:
    """Gradient of each image's loss with respect to what linear layer `name` returns, N x R."""
    seen: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_hook(lambda *args: seen.append(args[2]))
    try:
        with torch.enable_grad():
            run = engine.forward(model, x.detach().requires_grad_(), noise or None)
            total = (loss(run.logits, labels) + run.kl).sum()
            return torch.autograd.grad(total, seen[0])[0]
    finally:
        handle.remove()
