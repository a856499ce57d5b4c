"""The bottlenecks' noise as a further unknown of an attack: its prior, and its two forms.

A client's gradient depends on the one draw eps that its bottlenecks used. An attack that optimises eps with
the image may take eps itself as the unknown, or the sample z = mu(x) + sigma(x) eps that the bottleneck
decodes. With z the decoder's input no longer moves with the image, but the encoder's gradient still needs
eps = (z - mu(x)) / sigma(x), which then does. The client's weight gradient takes eps for a constant, so that
it is computed outside the pass whose gradient is taken.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from gleak_lib import gradients as engine
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.bottlenecks import VariationalBottleneck
from gleak_lib.errors import ParameterError

PREFIX = "noise"


def as_unknowns(noise: Sequence[Tensor], victims: int) -> Unknowns:
    """Return noise, N x map for each bottleneck, as unknowns `noise0` ..., V x B x map each."""
    return {f"{PREFIX}{i}": n.reshape(victims, -1, *n.shape[1:]) for i, n in enumerate(noise)}


def from_unknowns(unknowns: Unknowns) -> tuple[Tensor, ...]:
    """Undo `as_unknowns`; empty where the noise is no unknown."""
    return tuple(u.flatten(0, 1) for name, u in unknowns.items() if name.startswith(PREFIX))


def prior(noise: Sequence[Tensor], form: str, victims: int) -> Tensor:
    """Return the prior of N(0, 1) noise, V values: summed over bottlenecks, averaged over images.

    Args:
        noise: N x map for each bottleneck.
        form: `norm` is | |eps|^2 / d - 1 | over the d entries of a map, zero on the sphere near which the
            noise lies; `map` is |eps|^2 / 2d, the negative log density an entry, smallest at eps = 0.
        victims: V.
    """
    squares = [n.flatten(1).square().mean(1) for n in noise]
    terms = [(s - 1).abs() if form == "norm" else s / 2 for s in squares]
    return sum((t.reshape(victims, -1).mean(1) for t in terms), start=noise[0].new_zeros(victims))


def to_samples(model: nn.Module, x: Tensor, noise: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return z = mu + sigma eps of each bottleneck, N x map.

    Args:
        model: with bottlenecks of this package.
        x: N x C x H x W, normalised.
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
