"""Several models of one architecture as one: each has its own weights and an equal share of the rows."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gleak_lib.errors import ParameterError
from gleak_lib.gradients.factored import FactoredGrads, dense
from gleak_lib.gradients.layer_rules import rule_of
from gleak_lib.gradients.verify import path

WEIGHTLESS = (nn.Linear, nn.Conv2d)  # their rules look at no weights, and so serve all shares at once


class StackedLayer(nn.Module):
    """A layer of W models: the i-th of W equal shares of the rows meets the i-th model's weights.

    Names and shapes of its parameters are the first layer's. On a CPU a loop over the shares is as fast as a
    grouped convolution, or faster; all that has no weights runs for all rows at once.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = tuple(layers)  # in a tuple they are no submodules
        for name, parameter in layers[0].named_parameters(recurse=False):
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map N rows, N a multiple of W."""
        return torch.cat([layer(share) for layer, share in zip(self.layers, self._shares(x), strict=True)])

    def victim_gradients(self, x: Tensor, grad_output: Tensor, victims: int) -> FactoredGrads:
        """Return each victim's gradient of the weights that its rows have met."""
        first = self.layers[0]
        if type(first) in WEIGHTLESS:
            return _rule(first)(first, x, grad_output, victims)
        shares = zip(self.layers, self._shares(x), self._shares(grad_output), strict=True)
        parts = [_rule(layer)(layer, a, b, victims // len(self.layers)) for layer, a, b in shares]
        return {name: torch.cat([dense(part[name]) for part in parts]) for name in parts[0]}

    def _shares(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(len(x) // len(self.layers))


def _rule(layer: nn.Module) -> Any:
    return rule_of(layer)


def stack(models: Sequence[nn.Module], like: Tensor, names: Sequence[str]) -> nn.Module:
    """Return one module of several, whose rows are shared among them in their order.

    Args:
        models: made by `gradients.prepare`, of one architecture, without noise.
        like: N x C x H x W; its values do not count.
        names: parameters whose gradients will be taken.

    Raises:
        ParameterError: If they differ in their structure, or the gradients of one are not to be had by the
            layers' rules.
    """
    first = models[0]
    for model in models:
        if _structure(model) != _structure(first):
            raise ParameterError(
                "Models can be attacked together only if they differ in weights alone, and these differ "
                "in their modules or in shapes."
            )
        if (way := path(model, like, names)) != "fast":
            raise ParameterError(
                "Models can be attacked together only if every layer has a fast rule, and the gradients of "
                f"this {type(model).__name__} are taken by {way}."
            )
    whole = copy.deepcopy(first)
    stacked: dict[nn.Module, StackedLayer] = {}
    for name, module in list(whole.named_modules(remove_duplicate=False)):
        if rule_of(module) is not None and any(True for _ in module.parameters(recurse=False)):
            if module not in stacked:
                stacked[module] = StackedLayer([model.get_submodule(name) for model in models])
            parent, _, child = name.rpartition(".")
            setattr(whole.get_submodule(parent), child, stacked[module])
        elif any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
            raise ParameterError(
                "Models can be attacked together only if all their weights stand in layers with fast rules, "
                f"and {name or type(module).__name__} has parameters or buffers outside of any."
            )
    return whole


def _structure(model: nn.Module) -> Any:
    shapes = [(name, parameter.shape) for name, parameter in model.named_parameters(remove_duplicate=False)]
    return [(name, type(module)) for name, module in model.named_modules(remove_duplicate=False)], shapes
