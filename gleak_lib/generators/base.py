"""What a generator is to an attack: latents in, images in [0, 1] out."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from gleak_lib.errors import ParameterError, ShapeError, shown

PROBES = 3  # latents that a generator is tried on
SAME = 1e-4  # how far an image may move when others are made beside it


@runtime_checkable
class Generator(Protocol):
    """Maps latents from N(0, 1) to images; any object with these two, an `nn.Module` or not."""

    latent_size: int

    def sample(self, z: Tensor) -> Tensor:
        """Return N x C x H x W in [0, 1] for latents N x `latent_size`, differentiable."""
        ...


@runtime_checkable
class ConditionalGenerator(Protocol):
    """One that is told the class of each image; `classes` is their number, 0 where it is told none."""

    latent_size: int
    classes: int

    def sample(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return images of these classes, N indices."""
        ...


def sample(generator: Any, z: Tensor, labels: Tensor) -> Tensor:
    """Return N x C x H x W in [0, 1]; a generator that knows no classes is not told the labels.

    Args:
        generator: a `Generator` or a `ConditionalGenerator`.
        z: latents N x k.
        labels: N class indices.
    """
    if isinstance(generator, ConditionalGenerator) and generator.classes:
        return generator.sample(z, labels)
    return generator.sample(z)


def check_generator(generator: Any, input_shape: tuple[int, ...], like: Tensor) -> None:
    """Refuse a generator that an attack on images of this shape cannot use, having tried it on three latents.

    Args:
        generator: what stands in an attack.
        input_shape: C, H, W of the images.
        like: gives type and device of the latents.

    Raises:
        ParameterError: If it has no `sample`, or an image depends on those made beside it.
        ShapeError: If it takes no latents of its own `latent_size`, or its images are of another shape, not
            finite, or outside [0, 1].
    """
    if not isinstance(generator, Generator):
        raise ParameterError(
            "A generator has latent_size and sample(z), which returns images in [0, 1]; got "
            f"{shown(generator)}. The description of one is trained first: description.trained(context)."
        )
    z = torch.randn(PROBES, generator.latent_size, generator=torch.Generator().manual_seed(0)).to(like)
    labels = torch.zeros(PROBES, dtype=torch.long, device=like.device)
    with torch.no_grad():
        try:
            images = sample(generator, z, labels)
            alone = sample(generator, z[:1], labels[:1])
        except RuntimeError as error:
            raise ShapeError(
                f"The generator does not take latents N x {generator.latent_size}, its latent_size: {error}"
            ) from error
    expected = (PROBES, *input_shape)
    if tuple(images.shape) != expected:
        raise ShapeError(
            f"The generator makes images {tuple(images.shape[1:])}, and those to be found are "
            f"{tuple(input_shape)}: take one that was trained on such images."
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise ShapeError(
            f"A generator's images must be in [0, 1], got [{low:.4g}, {high:.4g}]: rescale them."
        )
    if (images[:1] - alone).abs().max() > SAME:
        raise ParameterError(
            "An image of this generator depends on chance or on those made beside it: call eval() on it."
        )
