"""Closed-form inversion of a linear layer with bias that sees the pixels (001 Eq. 5, appendix).

For one image x the gradient of row i of the weights is g_i x, that of its bias g_i: their quotient is the
image, whatever follows the layer. A bottleneck or any other randomness behind it hides nothing; without a
bias the g_i are unknown and only the image's direction is left (001 Table VII).
"""

import torch
from torch import Tensor

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.labels import linear_inputs
from gleak_lib.errors import ParameterError
from gleak_lib.pixels import denormalize
from gleak_lib.types import Observation, Reconstruction


def solve(observation: Observation, attack: Attack, labels: Tensor) -> Reconstruction:
    """Read each victim's image off the first linear layer.

    Args:
        observation: batches of one image.
        attack: its `rows` says how: `largest` divides the row whose bias gradient is largest (001 Eq. 5),
            `all` is the least-squares fit over all rows, the same without noise and better with it.
        labels: V x 1, handed through.

    Returns:
        Images in [0, 1]. The loss is the share of the layer's squared weight gradient that the image does
        not explain: 0 if it is exact, towards 1 where noise or several images spoil it; 1 where every bias
        gradient is zero.

    Raises:
        ParameterError: a batch of several images, no linear layer that sees the pixels, or no bias.
    """
    if observation.batch_size != 1:
        raise ParameterError(
            "The closed form reads one image off a linear layer, and the gradients of this batch are a sum "
            f"over {observation.batch_size}: use an iterative attack such as ATTACKS['ig']."
        )
    name = first_linear(observation)
    weight, bias = (observation.gradients.get(f"{name}.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None:
        raise ParameterError(
            f"The closed form divides by the gradient of a bias, and {name} has none (001 Table VII: "
            "removing it is the defence): use an iterative attack such as ATTACKS['ig']."
        )
    if attack.rows == "largest":
        best = bias.abs().argmax(1, keepdim=True)
        bias_, weight_ = bias.gather(1, best), weight.take_along_dim(best[..., None], 1)
    else:
        bias_, weight_ = bias, weight
    square = bias_.square().sum(1, keepdim=True)
    zero = square == 0
    x = torch.where(zero, 0, (bias_[:, None] @ weight_).squeeze(1) / torch.where(zero, 1, square))
    rest = (weight - bias[..., None] * x[:, None]).square().sum((1, 2))
    total = weight.square().sum((1, 2))
    loss = torch.where(total > 0, rest / total.clamp_min(torch.finfo(x.dtype).tiny), 1)

    images = x.reshape(-1, *observation.input_shape)
    images = denormalize(images, observation.mean, observation.std).clamp(0, 1)
    none = torch.zeros(len(x), dtype=torch.long, device=x.device)
    return Reconstruction(
        images=images.unsqueeze(1) if observation.batched else images,
        labels=labels if observation.batched else labels.squeeze(1),
        loss=loss,
        steps=none,
        trace=loss[None],
        trace_steps=none[:1],
    )


def first_linear(observation: Observation) -> str:
    """Return the name of the linear layer that is given the pixels themselves, flattened.

    Raises:
        ParameterError: there is none.
    """
    like = next(iter(observation.gradients.values()))
    probe = torch.linspace(-1, 1, like.new_zeros(observation.input_shape).numel())
    probe = probe.to(like).reshape(1, *observation.input_shape)
    with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []):
        seen, _ = linear_inputs(observation, probe)
    for name, given in seen.items():
        if given.numel() == probe.numel() and torch.equal(given.flatten(), probe.flatten()):
            return name
    first = next(iter(seen.items()), None)
    rest = (
        "it has no linear layer" if first is None else f"{first[0]} sees {first[1].shape[-1]} other features"
    )
    raise ParameterError(
        f"No linear layer of this model is given the pixels ({rest}): the closed form reads the input of a "
        "linear layer only. Use an iterative attack such as ATTACKS['ig']."
    )
