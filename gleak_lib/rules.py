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


def _conv2d(module: Any, x: Tensor, grad: Tensor, victims: int) -> Grads:
    grads = {}
    n, groups, out = x.shape[0], module.groups, module.out_channels
    columns = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)
    columns = columns.reshape(n * groups, -1, columns.shape[-1])
    g = grad.reshape(n * groups, out // groups, -1)
    weight = g @ columns.transpose(1, 2)  # N*groups x out/groups x (in/groups * kernel)
    weight = weight.reshape(victims, n // victims, *module.weight.shape)
    grads["weight"] = weight.squeeze(1) if n == victims else weight.sum(1)
    if module.bias is not None:
        grads["bias"] = grad.reshape(victims, n // victims, out, -1).sum((1, 3))
    return grads


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
