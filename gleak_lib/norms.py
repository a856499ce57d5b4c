"""What a normalisation layer does before its affine part, and BatchNorm over each victim's own batch."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        """Return x (N x C x ...) minus the mean and over the standard deviation of its victim's batch."""
        rows = x.reshape(-1, self.batch_size, x.shape[1], x[0, 0].numel())
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


def normalized(module: nn.Module, x: Tensor) -> Tensor:
    """Return the input of the affine part of a GroupNorm, LayerNorm, BatchNorm (evaluation) or VictimBatchNorm."""
    if isinstance(module, nn.GroupNorm):
        return F.group_norm(x, module.num_groups, eps=module.eps)
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, module.normalized_shape, eps=module.eps)
    if isinstance(module, VictimBatchNorm):
        return module.normalize(x)
    return F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps)
