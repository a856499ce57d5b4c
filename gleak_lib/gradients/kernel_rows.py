"""Each image's weight gradient of a convolution without a stride: one matrix product for each kernel row.

Unfolding copies a pixel once for every entry of the kernel. Here it is copied once for every column of it,
and line after line, so that what a row of the kernel sees is a view of that copy, at an offset of its own.

A geometry is kernel, padding, dilation, size of the input and size of the output, each height and width.
What works on slices in place is one operation each to torch.compile: left to the compiler, a step was slower
than a plain one.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Sizes = list[int]


def weight_gradients(conv: Any, x: Tensor, grad: Tensor) -> Tensor:
    """Return N x out x in / groups x kernel, one for each image, of an `nn.Conv2d` of stride 1.

    Args:
        conv: the layer, padded with zeros or not at all.
        x: N x in x H x W, its input.
        grad: N x out x H' x W', the gradient of its output.
    """
    images, groups, (rows, columns) = len(x), conv.groups, conv.kernel_size
    sizes = (conv.kernel_size, conv.padding, conv.dilation, x.shape[2:], grad.shape[2:])
    geometry = [list(size) for size in sizes]
    copies = _Copies.apply(x, *geometry).reshape(images * groups, x.shape[1] // groups * columns, -1)
    found = _Products.apply(grad.reshape(images * groups, grad.shape[1] // groups, -1), copies, *geometry)
    return found.reshape(images, grad.shape[1], rows, -1, columns).transpose(2, 3)  # type: ignore[union-attr]


def _padded(padding: Sizes, size: Sizes) -> tuple[int, int]:
    return size[0] + 2 * padding[0], size[1] + 2 * padding[1]


def _lines(kernel: Sizes, dilation: Sizes, out: Sizes) -> Iterator[slice]:
    """Where the copies have what each row of the kernel sees, for all pixels of the output."""
    for row in range(kernel[0]):
        first = row * dilation[0] * out[1]
        yield slice(first, first + out[0] * out[1])


def _columns(kernel: Sizes, dilation: Sizes, out: Sizes) -> Iterator[slice]:
    """The columns of the padded input that each column of the kernel sees."""
    for column in range(kernel[1]):
        first = column * dilation[1]
        yield slice(first, first + out[1])


@torch.library.custom_op("gleak::column_copies", mutates_args=())
def column_copies(
    x: Tensor, kernel: Sizes, padding: Sizes, dilation: Sizes, size: Sizes, out: Sizes
) -> Tensor:
    """N x C x H x W to N x C x kernel columns x (padded H * W'): what each column sees, line by line."""
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    return torch.stack([padded[..., seen] for seen in _columns(kernel, dilation, out)], 2).flatten(3)


@column_copies.register_fake
def _(x, kernel, padding, dilation, size, out):
    return x.new_empty(*x.shape[:2], kernel[1], _padded(padding, size)[0] * out[1])


@torch.library.custom_op("gleak::column_sums", mutates_args=())
def column_sums(
    copies: Tensor, kernel: Sizes, padding: Sizes, dilation: Sizes, size: Sizes, out: Sizes
) -> Tensor:
    """The transpose of `column_copies`: what was copied from a pixel is added up."""
    parts = copies.unflatten(3, (-1, out[1])).unbind(2)
    padded = copies.new_zeros(*copies.shape[:2], *_padded(padding, size))
    for part, seen in zip(parts, _columns(kernel, dilation, out), strict=True):
        padded[..., seen] += part
    (top, left), (height, width) = padding, size
    return padded[..., top : top + height, left : left + width].contiguous()


@column_sums.register_fake
def _(copies, kernel, padding, dilation, size, out):
    return copies.new_empty(*copies.shape[:2], *size)


class _Copies(torch.autograd.Function):
    """`column_copies` with `column_sums` as its derivative, and the other way round."""

    @staticmethod
    def forward(ctx, x: Tensor, *geometry: Sizes) -> Tensor:
        ctx.geometry = geometry
        return column_copies(x, *geometry)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        return _Sums.apply(grad, *ctx.geometry), *(None,) * 5


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, copies: Tensor, *geometry: Sizes) -> Tensor:
        ctx.geometry = geometry
        return column_sums(copies, *geometry)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        return _Copies.apply(grad, *ctx.geometry), *(None,) * 5


class _Products(torch.autograd.Function):
    """Output gradients N x out x L and copies N x K x ... to N x out x kernel rows x K."""

    @staticmethod
    def forward(ctx, grad: Tensor, copies: Tensor, *geometry: Sizes) -> Tensor:
        ctx.save_for_backward(grad, copies)
        ctx.geometry = geometry
        kernel, _, dilation, _, out = geometry
        rows = [grad @ copies[..., seen].transpose(1, 2) for seen in _lines(kernel, dilation, out)]
        return torch.stack(rows, 2)

    @staticmethod
    def backward(ctx, direction: Tensor):  # type: ignore[override]
        grad, copies = ctx.saved_tensors
        kernel, _, dilation, _, out = ctx.geometry
        kind = torch.promote_types(grad.dtype, copies.dtype)  # under autocast they differ
        find = _derivatives if torch.is_grad_enabled() else product_derivatives
        by_grad, by_copies = find(
            direction.to(kind), grad.to(kind), copies.to(kind), list(kernel), list(dilation), list(out)
        )
        return by_grad.to(grad.dtype), by_copies.to(copies.dtype), *(None,) * 5


def _derivatives(
    direction: Tensor, grad: Tensor, copies: Tensor, kernel: Sizes, dilation: Sizes, out: Sizes
) -> tuple[Tensor, Tensor]:
    """Derivatives of the products in a direction, by the output gradients and by the copies."""
    by_grad, by_copies = torch.zeros_like(grad), torch.zeros_like(copies)
    for one, seen in zip(direction.unbind(2), _lines(kernel, dilation, out), strict=True):
        by_grad = by_grad.baddbmm(one, copies[..., seen])
        by_copies[..., seen].baddbmm_(one.transpose(1, 2), grad)
    return by_grad, by_copies


product_derivatives = torch.library.custom_op("gleak::product_derivatives", _derivatives, mutates_args=())


@product_derivatives.register_fake
def _(direction, grad, copies, kernel, dilation, out):
    return torch.empty_like(grad), torch.empty_like(copies)
