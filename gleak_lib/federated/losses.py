"""The losses of many models of one architecture at once, each of its own weights on its own images.

A GPU's grouped convolutions are slow where every group has few channels; there they are batched matrix
products of patches.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gleak_lib.gradients import forward


class PatchConv2d(nn.Conv2d):
    """`nn.Conv2d` with zero padding and one group, computed as patches times kernels."""

    def forward(self, input: Tensor) -> Tensor:
        """Map N x C x H x W to N x out x H' x W'."""
        (kh, kw), (sh, sw), (ph, pw) = self.kernel_size, self.stride, self.padding
        x = F.pad(input, (pw, pw, ph, ph)) if ph or pw else input  # type: ignore[arg-type]
        patches = x.unfold(2, kh, sh).unfold(3, kw, sw)
        images, _, height, width = patches.shape[:4]
        rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(images * height * width, -1)
        kernels = self.weight.flatten(1).t()
        out = rows @ kernels if self.bias is None else torch.addmm(self.bias, rows, kernels)
        return out.reshape(images, height, width, -1).permute(0, 3, 1, 2)


def by_patches(model: nn.Module) -> None:
    """Change every plain convolution of `model` (a private copy) into a `PatchConv2d`, in place."""
    for module in model.modules():
        if type(module) is nn.Conv2d and _plain(module):
            module.__class__ = PatchConv2d


def _plain(conv: Any) -> bool:
    one = conv.groups == 1 and tuple(conv.dilation) == (1, 1)
    return one and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


class Losses(nn.Module):
    """Gives each image's loss, cross-entropy + KL (001 Eq. 3), and whether the model is right about it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, labels: Tensor, noise: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return B losses and B truth values of B images."""
        run = forward(self.model, x, noise or None)
        return F.cross_entropy(run.logits, labels, reduction="none") + run.kl, run.logits.argmax(1) == labels


def stacked_losses(
    losses: Losses, state: dict[str, Tensor], x: Tensor, labels: Tensor, noise: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Return R x B of what `Losses` gives; everything given has a leading axis of R rows."""

    def row(state: dict[str, Tensor], x: Tensor, labels: Tensor, noise: tuple[Tensor, ...]) -> Any:
        return torch.func.functional_call(
            losses, {f"model.{n}": v for n, v in state.items()}, (x, labels, noise)
        )

    return torch.func.vmap(row)(state, x, labels, noise)
