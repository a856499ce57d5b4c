"""How much each layer counts in the distance, by the variance that the bottlenecks' noise gives its gradient.

Whoever does not know the noise sees each layer's gradient as a signal with a variance over eps. `ignore`
leaves out the layers behind the first decoder and full matching takes all entries alike; in between, each
parameter tensor is divided by the standard deviation of its entries, as in generalised least squares.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gleak_lib import gradients as engine
from gleak_lib.bottlenecks import sample_noise
from gleak_lib.types import Observation

BATCHES, DRAWS = 4, 8  # dummies, and draws of the noise for each
LEAST = 1e-6  # deviations below this share of the largest count as that
SEED = 0  # the dummies are no unknowns: all victims, and all who ask, get the same weights


def inverse_deviations(observation: Observation, names: Sequence[str]) -> dict[str, Tensor]:
    """Return what each parameter tensor's gradient is multiplied with, V values each, at most 1.

    The variance is that over draws of eps at fixed dummies from N(0, 1), averaged over these, their classes
    and the tensor's entries. Without bottlenecks it is zero, and all tensors count alike.
    """
    like = observation.like
    model, rows = engine.prepare(observation.model, observation.batch_size), BATCHES * observation.batch_size
    stream = torch.Generator().manual_seed(SEED)
    images = torch.randn(rows, *observation.input_shape, generator=stream).to(like)
    with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []), torch.no_grad():
        classes = engine.forward(model, images).logits.shape[1]
    labels = torch.arange(rows, device=like.device) % classes
    first: dict[str, Tensor] = {}  # draws are summed relative to the first: without noise nothing is left
    total: dict[str, Tensor] = {}
    square: dict[str, Tensor] = {}
    for _ in range(DRAWS):
        noise = sample_noise(model, rows, like, stream)
        grads, _ = engine.per_victim_gradients(
            model, images, labels, victims=BATCHES, noise=noise, names=names, loss=observation.loss
        )
        for name, g in grads.items():
            difference = (g - first.setdefault(name, g)).detach().double()
            total[name] = total.get(name, 0) + difference
            square[name] = square.get(name, 0) + difference.square().sum()
    deviation = {
        name: ((square[name] - t.square().sum() / DRAWS).clamp_min(0) / (DRAWS * t.numel())).sqrt()
        for name, t in total.items()
    }
    floor = LEAST * torch.stack(list(deviation.values())).max()
    deviation = {name: d.clamp_min(floor) for name, d in deviation.items()}
    least = torch.stack(list(deviation.values())).min()
    factors = {name: torch.where(d > 0, least / d, 1.0) for name, d in deviation.items()}
    return {name: f.to(like).repeat(observation.victims) for name, f in factors.items()}


WEIGHTINGS = {"variance": inverse_deviations}
