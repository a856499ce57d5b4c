"""Training a DCGAN on the server's own images."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gleak_lib.datasets import Pixels
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.extras import require
from gleak_lib.fresh import fresh
from gleak_lib.generators.dcgan import DCGAN, SIZE, Discriminator, loss
from gleak_lib.typed import typed


@typed
def train(
    images: Pixels | Tensor,
    labels: Tensor,
    *,
    classes: int = 0,
    latent_size: int = 64,
    width: int = 32,
    steps: int = 2_000,
    batch_size: int = 64,
    lr: float = 2e-4,
    ema: float = 0.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> tuple[DCGAN, dict[str, list[float]]]:
    """Train a DCGAN (Radford et al. 2016): cross-entropy against a discriminator, Adam with beta_1 = 0.5.

    The same seed gives the same generator on one machine with as many threads. An attacker trains on images
    of their own, never on the victims'.

    Args:
        images: N x C x 32 x 32 in [0, 1]; of `Pixels` that keep gray images once, one channel is learned.
        labels: N class indices.
        classes: how many there are to tell the generator; 0 tells it none.
        latent_size, width: see `DCGAN`.
        steps: batches, each one step of the discriminator and one of the generator.
        batch_size: images in a batch, at least 2.
        lr: learning rate of both.
        ema: in [0, 1), decay of the running mean of the generator's weights, which is returned in their place
            (Yazici et al. 2019); 0 returns the last. Below 3 / (1 - ema) steps the first still count.
        seed: of weights, batches and latents.
        device: where it is trained.
        progress: show a bar.

    Returns:
        The generator in evaluation mode, its weights frozen; and the losses of both networks by step.

    Raises:
        ShapeError: If images are not 32 x 32, there is no label for each, or a label is out of range.
        ParameterError: If there are fewer images than `batch_size`, or a number is out of range.
    """
    count, channels, *size = images.shape
    if size != [SIZE, SIZE] or len(labels) != count:
        raise ShapeError(
            f"A DCGAN learns N x C x {SIZE} x {SIZE} and N labels, got "
            f"{tuple(images.shape)} and {len(labels)}."
        )
    if classes and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise ShapeError(f"labels must be in [0, {classes - 1}], got up to {int(labels.max())}.")
    if not 2 <= batch_size <= count or steps < 1 or not lr > 0:
        raise ParameterError(
            f"batch_size must be in 2 ... {count} (the images), steps at least 1 and lr positive, got "
            f"{batch_size}, {steps} and {lr}."
        )
    if not 0 <= ema < 1:
        raise ParameterError(f"ema must be in [0, 1), got {ema}.")
    gray = isinstance(images, Pixels) and images.stored.shape[1] == 1
    shown = 1 if gray else channels
    what = f"A DCGAN of width {width}"
    made = fresh(lambda: DCGAN(latent_size, channels, classes, width, gray), seed=seed, what=what).to(device)
    judge = fresh(lambda: Discriminator(shown, classes, width), seed=seed, what=what).to(device)
    mean = AveragedModel(made, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True)
    both = [Adam(network.parameters(), lr=lr, betas=(0.5, 0.999)) for network in (made, judge)]
    stream = torch.Generator().manual_seed(seed)
    losses: dict[str, list[float]] = {"generator": [], "discriminator": []}
    for _ in _bar(steps, progress):
        index = torch.randint(count, (batch_size,), generator=stream)
        z = torch.randn(batch_size, latent_size, generator=stream).to(device)
        real, told = images[index][:, :shown].to(device), labels[index].to(device)
        fake = made(z, told)
        ask = loss(judge(real, told), True) + loss(judge(fake.detach(), told), False)
        _step(judge, both[1], ask)
        fool = loss(judge(fake, told), True)
        _step(made, both[0], fool)
        if ema:
            mean.update_parameters(made)
        losses["discriminator"].append(float(ask.detach()))
        losses["generator"].append(float(fool.detach()))
    if ema:
        made.load_state_dict(mean.module.state_dict())
    return made.eval().requires_grad_(False), losses


def _step(network: nn.Module, optimizer: Adam, value: Tensor) -> None:
    parameters = list(network.parameters())  # the other network's gradients are not computed
    for parameter, gradient in zip(parameters, torch.autograd.grad(value, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def _bar(steps: int, show: bool) -> Any:
    return require("tqdm.auto", "book").trange(steps, desc="DCGAN", unit="step") if show else range(steps)
