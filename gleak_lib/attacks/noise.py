"""The noise of the dummies' bottlenecks: drawn, told, or a further unknown of the attack.

The unknown is the draw eps itself, or the sample z = mu(x) + sigma(x) eps that the bottleneck decodes. With z
the decoder's input no longer moves with the image, but eps = (z - mu(x)) / sigma(x) does. The client's weight
gradient takes eps for a constant, so that it is computed outside the pass whose gradient is taken.
"""

import abc
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gleak_lib import gradients as engine
from gleak_lib.attacks.part import AtLeastOne, NotNegative, Part, Positive
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.bottlenecks import VariationalBottleneck, sample_noise
from gleak_lib.errors import ParameterError
from gleak_lib.typed import typed
from gleak_lib.types import Observation

Maps = tuple[Tensor, ...]
"""Noise, N x map for each bottleneck of each update, N = V x samples x B."""
Models = Sequence[tuple[nn.Module, int]]
"""Of each update the model, and how many bottlenecks it has."""
PREFIX = "noise"


@dataclass(frozen=True)
class Noise(Part, abc.ABC):
    """What the dummies' bottlenecks use; each step's dummy gradient is averaged over `samples` draws."""

    leaves: ClassVar[dict[str, str]] = {"samples": "noise_samples"}
    samples: AtLeastOne = field(default=1, kw_only=True)

    def draws(self, evaluations: int) -> int:
        """Return how often it is drawn in a step of so many evaluations."""
        return 1

    @abc.abstractmethod
    def source(self, observation: Observation, draw: Callable[[], Maps]) -> Callable[[], Maps]:
        """Return what gives the noise of each step, for all victims; `draw` draws from N(0, 1)."""

    def start(self, models: Models, images: Tensor, draw: Callable[[], Maps]) -> Unknowns:
        """Return the unknowns that the noise adds; see `used`."""
        return {}

    def used(self, models: Models, images: Tensor, unknowns: Unknowns, drawn: Maps) -> Maps:
        """Return the noise that a step uses, given what `source` gave, for images V x B x C x H x W."""
        return drawn

    def penalty(self, used: Maps, victims: int) -> Tensor | None:
        """Return what it adds to the loss, V values; None for nothing."""
        return None

    def rate(self, name: str, lr: Tensor, of_all: float) -> Tensor:
        """Return an unknown's learning rate, where others have `lr` (V), which began as `of_all`."""
        return lr


@typed
@dataclass(frozen=True)
class Resample(Noise):
    """New noise in each step; with `each_evaluation` of the loss inside a step of L-BFGS, too, as the CVB
    paper's code draws it for iDLG and CPL.
    """

    leaves: ClassVar = Noise.leaves | {"each_evaluation": "noise_each_evaluation"}
    each_evaluation: bool = False

    def draws(self, evaluations: int) -> int:
        return evaluations if self.each_evaluation else 1

    def source(self, observation: Observation, draw: Callable[[], Maps]) -> Callable[[], Maps]:
        return draw


@typed
@dataclass(frozen=True)
class Fixed(Noise):
    """One draw for all steps."""

    def source(self, observation: Observation, draw: Callable[[], Maps]) -> Callable[[], Maps]:
        drawn = draw()
        return lambda: drawn


@typed
@dataclass(frozen=True)
class Given(Noise):
    """The true noise, where an observation grants it (`share_noise=True`)."""

    def source(self, observation: Observation, draw: Callable[[], Maps]) -> Callable[[], Maps]:
        known = [one.noise for one in (observation, *observation.later)]
        if any(noise is None for noise in known):
            raise ParameterError("Given() needs an observation that grants the noise (share_noise=True).")
        rows = observation.victims, observation.batch_size
        parts = (n.reshape(*rows, *n.shape[1:]) for noise in known for n in noise or ())
        given = tuple(copies(n, self.samples).flatten(0, 1) for n in parts)
        return lambda: given


@typed
@dataclass(frozen=True)
class Optimize(Noise):
    """A further unknown, optimized with the image: `noise0` ..., V x (samples * B) x map, per bottleneck.

    Of several samples, as many as the client averaged over (`defenses.average_noise`), each is an unknown.

    Attributes:
        lr: initial learning rate; it falls as the image's does. L-BFGS has one for all.
        prior: what `weight` multiplies: `| |eps|^2 / d - 1 |` over the d entries of a map (`norm`), zero on
            the sphere near which the noise lies, or `|eps|^2 / 2d`, the negative log density per entry
            (`map`).
        weight: gamma, the weight of that prior.
        form: the unknown itself: the noise `eps`, or the sample `z` = mu + sigma eps.
    """

    leaves: ClassVar = {name: f"noise_{name}" for name in ("samples", "lr", "prior", "weight", "form")}
    lr: Positive = 0.05
    prior: Literal["norm", "map"] = "norm"
    weight: NotNegative = 1e-4
    form: Literal["eps", "z"] = "eps"

    def source(self, observation: Observation, draw: Callable[[], Maps]) -> Callable[[], Maps]:
        return tuple  # it is among the unknowns

    def start(self, models: Models, images: Tensor, draw: Callable[[], Maps]) -> Unknowns:
        drawn = draw()
        if self.form == "z":
            with torch.no_grad():
                drawn = _by_update(to_samples, models, copies(images, self.samples), drawn)
        return {f"{PREFIX}{i}": n.reshape(len(images), -1, *n.shape[1:]) for i, n in enumerate(drawn)}

    def used(self, models: Models, images: Tensor, unknowns: Unknowns, drawn: Maps) -> Maps:
        own = tuple(u.flatten(0, 1) for name, u in unknowns.items() if name.startswith(PREFIX))
        if not own or self.form == "eps":
            return own or drawn
        return _by_update(to_noise, models, copies(images, self.samples), own)

    def penalty(self, used: Maps, victims: int) -> Tensor | None:
        return self.weight * prior(used, self.prior, victims) if self.weight and used else None

    def rate(self, name: str, lr: Tensor, of_all: float) -> Tensor:
        return lr * (self.lr / of_all) if name.startswith(PREFIX) else lr


def prior(noise: Sequence[Tensor], form: str, victims: int) -> Tensor:
    """Return a prior of `Optimize`, V values: summed over bottlenecks, averaged over images."""
    squares = [n.flatten(1).square().mean(1) for n in noise]
    terms = [(s - 1).abs() if form == "norm" else s / 2 for s in squares]
    return sum((t.reshape(victims, -1).mean(1) for t in terms), start=noise[0].new_zeros(victims))


def drawing(observation: Observation, draws: int, generator: torch.Generator) -> Callable[[], Maps]:
    """Return what draws noise from N(0, 1), V x draws x B rows for each bottleneck of each update."""
    like = observation.like
    rows = observation.victims * draws * observation.batch_size
    updates = (observation, *observation.later)
    return lambda: tuple(n for one in updates for n in sample_noise(one.model, rows, like, generator))


def copies(t: Tensor, samples: int) -> Tensor:
    """Return V x (samples * B) x ...: the mean over draws is that of a batch of repeated images."""
    return t.repeat(1, samples, *[1] * (t.dim() - 2)) if samples > 1 else t


def _by_update(convert: Callable[..., Maps], models: Models, images: Tensor, values: Maps) -> Maps:
    found: Maps = ()
    for model, count in models:
        found += convert(model, images.flatten(0, 1), values[len(found) : len(found) + count])
    return found


def to_samples(model: nn.Module, x: Tensor, noise: Sequence[Tensor]) -> Maps:
    """Return z = mu + sigma eps of each bottleneck of this package, N x map, for images N x C x H x W."""
    found: dict[int, Tensor] = {}

    def note(module: Any, inputs: tuple[Any, ...]) -> None:
        mu, sigma = module.encode(inputs[0])
        found[id(inputs[1])] = mu + sigma * inputs[1]

    _run(model, x, noise, note)
    return tuple(found[id(n)] for n in noise)


def to_noise(model: nn.Module, x: Tensor, samples: Sequence[Tensor]) -> Maps:
    """Return eps = (z - mu) / sigma of each bottleneck, N x map; undoes `to_samples`."""

    def replace(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        features, sample, *others = inputs
        mu, sigma = module.encode(features)
        return features, (sample - mu) / sigma, *others

    return _run(model, x, samples, replace)


def _run(model: nn.Module, x: Tensor, values: Sequence[Tensor], hook: Callable[..., Any]) -> Maps:
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
