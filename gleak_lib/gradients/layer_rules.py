"""Fast rules: each victim's weight gradient from a layer's input and the gradient of its output.

A rule maps (module, input N x ..., gradient of the output N x ..., V) to the gradients of the module's own
parameters, V x their shape or in factors (see `factored`): products with patches for convolutions, outer
products for linear layers, closed forms for norms. A module of yours joins by having a method
`victim_gradients`.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gleak_lib.gradients import kernel_rows
from gleak_lib.gradients.factored import FactoredGrads, Outer, factors_pay
from gleak_lib.gradients.norm_layers import VictimBatchNorm, normalized, takes_batch_statistics
from gleak_lib.gradients.unfolding import patches_of

Rule = Callable[[nn.Module, Tensor, Tensor, int], FactoredGrads]


@runtime_checkable
class HasVictimGradients(Protocol):
    """A module that brings its own fast rule, for parameters that no standard layer holds."""

    def victim_gradients(self, x: Tensor, grad_output: Tensor, victims: int) -> FactoredGrads: ...


def _linear(module: Any, x: Tensor, grad: Tensor, victims: int) -> FactoredGrads:
    grads: dict[str, Tensor | Outer] = {}
    g = grad.reshape(victims, -1, grad.shape[-1])
    grads["weight"] = Outer(g, x.reshape(victims, -1, x.shape[-1]), tuple(module.weight.shape))
    if module.bias is not None:
        grads["bias"] = g.sum(1)
    return grads


LARGE_MAP = 32  # output pixels from which products by kernel rows beat unfolding on a CPU


def _conv2d(module: Any, x: Tensor, grad: Tensor, victims: int) -> FactoredGrads:
    rows, out, pixels = x.shape[0] // victims, module.out_channels, grad.shape[-2:].numel()
    grads: dict[str, Tensor | Outer] = {}
    if module.groups == 1 and factors_pay(rows * pixels, out, module.weight[0].numel()):
        grads["weight"] = _conv_weight_in_factors(module, x, grad, victims)
    else:
        # without a stride each pixel lies in k * k patches, and unfolding moves that much more memory
        dense = module.stride in (1, (1, 1)) and pixels > LARGE_MAP
        if dense and x.device.type == "cpu":
            weight = kernel_rows.weight_gradients(module, x, grad)
        else:
            weight = _conv_weight_by_unfolding(module, x, grad)
        weight = weight.reshape(victims, rows, *module.weight.shape)
        grads["weight"] = weight.squeeze(1) if rows == 1 else weight.sum(1)
    if module.bias is not None:
        grads["bias"] = grad.reshape(victims, rows, out, -1).sum((1, 3))
    return grads


def _conv_weight_in_factors(module: Any, x: Tensor, grad: Tensor, victims: int) -> Outer:
    """Each victim's weight gradient as a sum of outer products, one for each pixel of the outputs."""
    left, right = (
        t.transpose(1, 2).reshape(victims, -1, t.shape[1]) for t in (grad.flatten(2), patches_of(module, x))
    )
    return Outer(left, right, tuple(module.weight.shape))


def _conv_weight_by_unfolding(module: Any, x: Tensor, grad: Tensor) -> Tensor:
    """Each image's weight gradient, N x out x (in/groups * kernel), as a matrix product with its patches."""
    images, groups, out = x.shape[0], module.groups, module.out_channels
    patches = patches_of(module, x)
    patches = patches.reshape(images * groups, -1, patches.shape[-1])
    return _Product.apply(grad.reshape(images * groups, out // groups, -1), patches)  # type: ignore[return-value]


class _Product(torch.autograd.Function):
    """a @ b^T whose derivative in b comes contiguous, as `fold` wants it, and not as a transpose."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a @ b.transpose(1, 2)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        a, b = ctx.saved_tensors
        by_a, by_b = grad.to(b.dtype) @ b, grad.to(a.dtype).transpose(1, 2) @ a  # under autocast they differ
        return by_a.to(a.dtype), by_b.to(b.dtype)


def _norm(module: Any, x: Tensor, grad: Tensor, victims: int) -> FactoredGrads:
    grads: dict[str, Tensor | Outer] = {}
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


def _own(module: Any, x: Tensor, grad: Tensor, victims: int) -> FactoredGrads:
    return module.victim_gradients(x, grad, victims)


def rule_of(module: nn.Module) -> Rule | None:
    """Return the fast rule for a module's own parameters, or None if there is none."""
    if isinstance(module, HasVictimGradients):
        return _own
    if type(module) is nn.Linear:
        return _linear
    if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return _conv2d
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and takes_batch_statistics(module):
        return None  # what `prepare` has not replaced
    norms = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, VictimBatchNorm)
    return _norm if type(module) in norms else None
