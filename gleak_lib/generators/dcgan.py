"""A small DCGAN (Radford et al. 2016) for images of 32 x 32, told the class of each image or not."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.typed import typed

SIZE = 32  # pixels
SLOPE = 0.2  # of the discriminator's activations below zero


@typed
class DCGAN(nn.Module):
    """Latents from N(0, 1) to images: a linear layer to 4 x 4 and three transposed convolutions of stride 2.

    Args:
        latent_size: k, entries of a latent.
        channels: of the images.
        classes: number of classes that it is told, 0 for none.
        width: channels of the last hidden layer; those before have two and four times as many.
        gray: whether all channels are one, as in gray sets that are shown with three.

    Raises:
        ParameterError: If a size is below 1, or `classes` below 0.
    """

    def __init__(
        self, latent_size: int = 64, channels: int = 3, classes: int = 0, width: int = 32, gray: bool = False
    ) -> None:
        super().__init__()
        if min(latent_size, channels, width) < 1 or classes < 0:
            raise ParameterError(
                "latent_size, channels and width must be at least 1 and classes not negative, got "
                f"{latent_size}, {channels}, {width} and {classes}."
            )
        self.latent_size, self.channels, self.classes = latent_size, channels, classes
        self.width, self.gray = width, gray
        layers: list[nn.Module] = [
            nn.Linear(latent_size + classes, 4 * width * 16, bias=False),
            nn.Unflatten(1, (4 * width, 4, 4)),
        ]
        for many in (4, 2, 1):
            after = (many * width) // 2 if many > 1 else (1 if gray else channels)
            layers += [nn.BatchNorm2d(many * width), nn.ReLU()]
            layers += [nn.ConvTranspose2d(many * width, after, 4, 2, 1, bias=many == 1)]
        self.layers = nn.Sequential(*layers, nn.Sigmoid())

    @property
    def options(self) -> dict[str, int | bool]:
        """What it was built with."""
        names = ("latent_size", "channels", "classes", "width", "gray")
        return {name: getattr(self, name) for name in names}

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents N x k and, if it is told them, N class indices to images N x 1 or C x 32 x 32."""
        if self.classes:
            if labels is None:
                raise ParameterError(f"This generator is told one of {self.classes} classes: pass labels.")
            told = labels[:, None] == torch.arange(self.classes, device=z.device)  # one_hot cannot be traced
            z = torch.cat([z, told.to(z.dtype)], 1)
        return self.layers(z)

    def sample(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return images N x C x 32 x 32 in [0, 1] for latents N x k, and their classes if it is told them.

        Raises:
            ShapeError: If the latents are not N x `latent_size`.
            ParameterError: If it is told classes, and there are none.
        """
        if z.dim() != 2 or z.shape[1] != self.latent_size:
            raise ShapeError(f"Latents must be N x {self.latent_size}, got {tuple(z.shape)}.")
        images = self(z, labels)
        return images.expand(-1, self.channels, -1, -1)

    def __repr__(self) -> str:
        """Return what it was built with."""
        return f"DCGAN({', '.join(f'{name}={value}' for name, value in self.options.items())})"


class Discriminator(nn.Module):
    """Tells real images from made ones; a class is one more channel, learned."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.told = nn.Embedding(classes, SIZE * SIZE) if classes else None
        layers: list[nn.Module] = []
        before = channels + bool(classes)
        for many in (1, 2, 4):
            layers += [nn.Conv2d(before, many * width, 4, 2, 1, bias=many == 1)]
            layers += [nn.BatchNorm2d(many * width)] * (many > 1) + [nn.LeakyReLU(SLOPE)]
            before = many * width
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * before, 1))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return N logits, large for real images; images N x C x 32 x 32 in [0, 1]."""
        x = 2 * images - 1
        if self.told is not None:
            x = torch.cat([x, self.told(labels).reshape(-1, 1, SIZE, SIZE)], 1)
        return self.layers(x).squeeze(1)


def loss(logits: Tensor, real: bool) -> Tensor:
    """Return the mean cross-entropy of the answer "real" or "made"."""
    return F.softplus(-logits if real else logits).mean()
