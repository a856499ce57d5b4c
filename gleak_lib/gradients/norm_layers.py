"""What a normalization layer does before its affine part, and BatchNorm over each victim's own batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gleak_lib.errors import ShapeError


class VictimBatchNorm(nn.Module):
    """BatchNorm in training mode for V victims at once: statistics over each victim's B images only.

    Args:
        source: the BatchNorm layer that it stands for; its weight and bias are shared.
        batch_size: B.
    """

    def __init__(self, source: nn.modules.batchnorm._BatchNorm, batch_size: int) -> None:
        super().__init__()
        self.weight, self.bias = source.weight, source.bias
        self.eps, self.batch_size = source.eps, batch_size

    def normalize(self, x: Tensor) -> Tensor:
        """Return x (N x C x ...) minus the mean and over the standard deviation of its victim's batch.

        Raises:
            ShapeError: one value per channel, of which nothing but zero would be left.
        """
        rows = x.reshape(-1, self.batch_size, x.shape[1], x[0, 0].numel())
        if rows.shape[1] * rows.shape[3] == 1:
            raise ShapeError(
                "BatchNorm in training mode sees one value per channel (one image, one pixel), of which it "
                "leaves nothing: call model.eval(), or give each victim more images."
            )
        mean = rows.mean((1, 3), keepdim=True)
        variance = (rows - mean).square().mean((1, 3), keepdim=True)
        return ((rows - mean) * torch.rsqrt(variance + self.eps)).reshape(x.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize, then apply the affine part, as `nn.BatchNorm2d` does in training mode."""
        y = self.normalize(x)
        if self.weight is None:
            return y
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return y * self.weight.view(shape) + self.bias.view(shape)


def takes_batch_statistics(module: nn.modules.batchnorm._BatchNorm) -> bool:
    """Whether a BatchNorm normalizes by its batch: in training mode, or without running averages."""
    return module.training or module.running_mean is None


def per_victim(module: nn.Module, batch_size: int) -> nn.Module:
    """Return the stand-in for a BatchNorm that normalizes by its batch; any other module itself.

    A subclass with a forward of its own stays what it is.
    """
    known = (nn.modules.batchnorm._BatchNorm.forward, nn.SyncBatchNorm.forward)
    if not isinstance(module, nn.modules.batchnorm._BatchNorm) or type(module).forward not in known:
        return module
    return VictimBatchNorm(module, batch_size) if takes_batch_statistics(module) else module


def normalized(module: Any, x: Tensor) -> Tensor:
    """Return what a GroupNorm, LayerNorm, BatchNorm (evaluation) or VictimBatchNorm scales and shifts."""
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(x, module.num_groups, eps=module.eps)
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, module.normalized_shape, eps=module.eps)
    if isinstance(module, VictimBatchNorm):
        return module.normalize(x)
    return F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps)


class ElementaryLayerNorms(TorchFunctionMode):
    """Within it, `F.layer_norm` and all that is made of it are computed by elementary operations.

    `torch.func.vmap` of `F.layer_norm` gives wrong second derivatives of its weight's gradient (seen with
    torch 2.15 against finite differences); those of elementary operations are right.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Replace the one function, call the others."""
        if func in (F.layer_norm, torch.layer_norm):
            return _layer_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    dims = tuple(range(-len(normalized_shape), 0))
    centered = input - input.mean(dims, keepdim=True)
    y = centered * torch.rsqrt(centered.square().mean(dims, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias
