"""Convolutions as matrix products of patches: with weights of their own in every row, one batched product.

A GPU's grouped convolutions are slow where every group has few channels, batched matrix products are not.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
