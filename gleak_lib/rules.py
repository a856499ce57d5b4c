"""Fast rules: each victim's weight gradient from a layer's input and the gradient of its output.

A rule maps (module, input N x ..., gradient of the output N x ..., V) to the gradients of the module's own
parameters, V x their shape: unfold + bmm for convolutions, outer products for linear layers, closed forms
for norms. A module of yours joins by having a method `victim_gradients`.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional as F

from gleak_lib.norms import VictimBatchNorm, normalized
from gleak_lib.types import Grads

Rule = Callable[[nn.Module, Tensor, Tensor, int], Grads]


@runtime_checkable
class HasVictimGradients(Protocol):
    """A module that brings its own fast rule, for parameters that no standard layer holds."""

    def victim_gradients(self, x: Tensor, grad_output: Tensor, victims: int) -> Grads: ...


def _linear(module: Any, x: Tensor, grad: Tensor, victims: int) -> Grads:
    grads = {}
    g = grad.reshape(victims, -1, grad.shape[-1])
    grads["weight"] = g.transpose(1, 2) @ x.reshape(victims, -1, x.shape[-1])
    if module.bias is not None:
        grads["bias"] = g.sum(1)
    return grads


LARGE_MAP = 32  # output pixels from which a grouped convolution can beat unfold + bmm on a CPU


def _conv2d(module: Any, x: Tensor, grad: Tensor, victims: int) -> Grads:
    images, out = x.shape[0], module.out_channels
    # without a stride each pixel lies in k * k patches, and unfolding moves that much more memory
    dense = module.stride in (1, (1, 1)) and module.groups == 1 and grad.shape[-2:].numel() > LARGE_MAP
    if dense and x.device.type == "cpu":
        weight = _conv_weight_by_correlation(module, x, grad)
    else:
        weight = _conv_weight_by_unfolding(module, x, grad)
    weight = weight.reshape(victims, images // victims, *module.weight.shape)
    grads = {"weight": weight.squeeze(1) if images == victims else weight.sum(1)}
    if module.bias is not None:
        grads["bias"] = grad.reshape(victims, images // victims, out, -1).sum((1, 3))
    return grads


def _conv_weight_by_unfolding(module: Any, x: Tensor, grad: Tensor) -> Tensor:
    """Each image's weight gradient, N x out x (in/groups * kernel), as a matrix product with its patches."""
    images, groups, out = x.shape[0], module.groups, module.out_channels
    patches = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)
    patches = patches.reshape(images * groups, -1, patches.shape[-1])
    return grad.reshape(images * groups, out // groups, -1) @ patches.transpose(1, 2)


def _conv_weight_by_correlation(module: Any, x: Tensor, grad: Tensor) -> Tensor:
    """The same as a correlation of the input with the output's gradient: one grouped convolution."""
    images, out = x.shape[0], module.out_channels
    kernels = grad.reshape(images * out, 1, *grad.shape[2:])
    weight = F.conv2d(
        x.transpose(0, 1), kernels, None, module.dilation, module.padding, module.stride, groups=images
    )
    height, width = module.kernel_size
    weight = weight[..., :height, :width].reshape(x.shape[1], images, out, height, width)
    return weight.permute(1, 2, 0, 3, 4)


def _norm(module: Any, x: Tensor, grad: Tensor, victims: int) -> Grads:
    grads = {}
    product = grad * normalized(module, x)
    if isinstance(module, nn.LayerNorm):
        width = tuple(module.normalized_shape)
        grads["weight"] = product.reshape(victims, -1, *width).sum(1)
        if module.bias is not None:
            grads["bias"] = grad.reshape(victims, -1, *width).sum(1)
        return grads
    rows = x.shape[0] // victims
    grads["weight"] = product.reshape(victims, rows, x.shape[1], -1).sum((1, 3))
    grads["bias"] = grad.reshape(victims, rows, x.shape[1], -1).sum((1, 3))
    return grads


def _own(module: Any, x: Tensor, grad: Tensor, victims: int) -> Grads:
    return module.victim_gradients(x, grad, victims)


def rule_of(module: nn.Module) -> Rule | None:
    """Return the fast rule for a module's own parameters, or None if there is none."""
    if isinstance(module, HasVictimGradients):
        return _own
    if type(module) is nn.Linear:
        return _linear
    if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return _conv2d
    norms = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, VictimBatchNorm)
    return _norm if type(module) in norms else None
