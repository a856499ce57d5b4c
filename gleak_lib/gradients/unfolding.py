"""Patches of images and their sum, for convolutions as matrix products (unfold, fold)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[int, int]


# One operation to torch.compile: what it makes of `fold` by itself, a scatter with atomic additions, takes
# 8 times as long on a CPU.
@torch.library.custom_op("gleak::fold", mutates_args=())
def fold(
    patches: Tensor,
    height: int,
    width: int,
    kernel: list[int],
    dilation: list[int],
    padding: list[int],
    stride: list[int],
) -> Tensor:
    """Sum N x (C * kernel) x L patches back into images N x C x height x width (see `F.fold`)."""
    return F.fold(patches, (height, width), tuple(kernel), tuple(dilation), tuple(padding), tuple(stride))


@fold.register_fake
def _(patches, height, width, kernel, dilation, padding, stride):
    return patches.new_empty(patches.shape[0], patches.shape[1] // (kernel[0] * kernel[1]), height, width)


class _Unfold(torch.autograd.Function):
    """`F.unfold` with `fold` as its derivative, and the other way round as often as one likes."""

    @staticmethod
    def forward(ctx, x: Tensor, *geometry: list[int]) -> Tensor:
        ctx.geometry, ctx.size = geometry, x.shape[-2:]
        return F.unfold(x, *map(tuple, geometry))

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        return _Fold.apply(grad, *ctx.size, *ctx.geometry), None, None, None, None


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(ctx, patches: Tensor, height: int, width: int, *geometry: list[int]) -> Tensor:
        ctx.geometry = geometry
        return fold(patches, height, width, *geometry)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        return _Unfold.apply(grad, *ctx.geometry), None, None, None, None, None, None


def patches_of(conv: Any, x: Tensor) -> Tensor:
    """Unfold images N x C x H x W to N x (C * kernel) x L, L output pixels of the convolution `conv`."""
    return _Unfold.apply(  # type: ignore[return-value]
        x, list(conv.kernel_size), list(conv.dilation), list(conv.padding), list(conv.stride)
    )
