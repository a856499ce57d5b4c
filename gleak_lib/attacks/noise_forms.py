"""The two forms of a bottleneck's noise: the draw eps itself, and the sample z = mu(x) + sigma(x) eps."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from gleak_lib import gradients as engine
from gleak_lib.bottlenecks import VariationalBottleneck
from gleak_lib.errors import ParameterError


def to_samples(model: nn.Module, x: Tensor, noise: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return z = mu + sigma eps of each bottleneck, N x map.

    Args:
        model: with bottlenecks of this package.
        x: N x C x H x W, normalized.
        noise: eps, N x map each.
    """
    found: dict[int, Tensor] = {}

    def note(module: Any, inputs: tuple[Any, ...]) -> None:
        mu, sigma = module.encode(inputs[0])
        found[id(inputs[1])] = mu + sigma * inputs[1]

    _run(model, x, noise, note)
    return tuple(found[id(n)] for n in noise)


def to_noise(model: nn.Module, x: Tensor, samples: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return eps = (z - mu) / sigma of each bottleneck, N x map; undoes `to_samples`."""

    def replace(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        features, sample, *others = inputs
        mu, sigma = module.encode(features)
        return features, (sample - mu) / sigma, *others

    return _run(model, x, samples, replace)


def _run(
    model: nn.Module, x: Tensor, values: Sequence[Tensor], hook: Callable[..., Any]
) -> tuple[Tensor, ...]:
    """Run the model with a hook before each bottleneck; return the noise that they used."""
    places = [module for module in model.modules() if isinstance(module, VariationalBottleneck)]
    if len(places) != len(values):
        raise ParameterError(
            f"noise_form='z' knows the bottlenecks of gleak_lib.bottlenecks only, and this model has "
            f"{len(values)} of which {len(places)} are: use noise_form='eps'."
        )
    if not places:
        return ()
    with ExitStack() as hooks:
        for module in places:
            hooks.callback(module.register_forward_pre_hook(hook).remove)
        return engine.forward(model, x, values).noise
