"""What a normalisation layer does before its affine part, and BatchNorm over each victim's own batch."""

import copy
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
            ShapeError: one value a channel, of which nothing but zero would be left.
        """
        rows = x.reshape(-1, self.batch_size, x.shape[1], x[0, 0].numel())
        if rows.shape[1] * rows.shape[3] == 1:
            raise ShapeError(
                "BatchNorm in training mode sees one value a channel (one image, one pixel), of which it "
                "leaves nothing: call model.eval(), or give each victim more images."
            )
        mean = rows.mean((1, 3), keepdim=True)
        variance = (rows - mean).square().mean((1, 3), keepdim=True)
        return ((rows - mean) * torch.rsqrt(variance + self.eps)).reshape(x.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, then apply the affine part, as `nn.BatchNorm2d` does in training mode."""
        y = self.normalize(x)
        if self.weight is None:
            return y
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return y * self.weight.view(shape) + self.bias.view(shape)


def normalized(module: Any, x: Tensor) -> Tensor:
    """Return what a GroupNorm, LayerNorm, BatchNorm (evaluation) or VictimBatchNorm scales and shifts."""
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(x, module.num_groups, eps=module.eps)
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, module.normalized_shape, eps=module.eps)
    if isinstance(module, VictimBatchNorm):
        return module.normalize(x)
    return F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps)


class ElementaryLayerNorm(nn.LayerNorm):
    """LayerNorm in elementary operations.

    `torch.func.vmap` of `F.layer_norm` gives wrong second derivatives of its weight's gradient (seen with
    torch 2.15 against finite differences); those of elementary operations are right.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last dimensions, then apply the affine part."""
        dims = tuple(range(-len(self.normalized_shape), 0))
        centred = x - x.mean(dims, keepdim=True)
        y = centred * torch.rsqrt(centred.square().mean(dims, keepdim=True) + self.eps)
        y = y if self.weight is None else y * self.weight
        return y if self.bias is None else y + self.bias


_ELEMENTARY: "WeakKeyDictionary[nn.Module, nn.Module]" = WeakKeyDictionary()


def elementary(model: nn.Module) -> nn.Module:
    """Return `model` itself, or a copy whose LayerNorms are elementary if it has any (made once a model)."""
    if not any(type(module) is nn.LayerNorm for module in model.modules()):
        return model
    if model not in _ELEMENTARY:
        twin = copy.deepcopy(model)
        for module in twin.modules():
            if type(module) is nn.LayerNorm:
                module.__class__ = ElementaryLayerNorm
        _ELEMENTARY[model] = twin
    return _ELEMENTARY[model]
