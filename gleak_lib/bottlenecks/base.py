"""What PRECODE and the CVB share: encode to (mu, sigma), sample, decode, and a KL term (001 §II-C3, Eq. 2-3).

b = mu + sigma * eps with eps ~ N(0, 1). The noise can be handed in, so that an attack can fix, resample
or optimize it, and is always handed back. Bottlenecks sample in training and in evaluation alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gleak_lib import memory
from gleak_lib.errors import ParameterError, ShapeError, unknown
from gleak_lib.grammar import Noun

KLForm = Literal["exact", "bits", "paper-code"]
SigmaForm = Literal["clipped-softplus", "softplus"]


class Sampled(NamedTuple):
    """Output of a bottleneck: decoded features, the unweighted KL term a row, and the noise used."""

    features: Tensor  #: N x the shape that came in
    kl: Tensor  #: N
    noise: Tensor  #: N x map


def sigma_from(raw: Tensor, form: SigmaForm = "clipped-softplus") -> Tensor:
    """Return the standard deviation sigma of what the encoder says, element by element.

    Args:
        raw: any shape.
        form: `clipped-softplus` is softplus(clip(raw, -5, 5)), between 0.0067 and 5.0067, as in the CVB
            paper's public code; `softplus` has no clip, as in the PRECODE paper's own release.

    Raises:
        UnknownNameError: If there is no such form.
    """
    if form == "clipped-softplus":
        return F.softplus(raw.clamp(-5.0, 5.0))
    if form == "softplus":
        return F.softplus(raw)
    raise unknown("form of sigma", form, get_args(SigmaForm))


def kl_divergence(mu: Tensor, sigma: Tensor, form: KLForm = "exact") -> Tensor:
    """KL term of N(mu, sigma) against N(0, 1): summed over axis 1, averaged over the rest of the map.

    Args:
        mu, sigma: N x K or N x K x H x W; sigma is a standard deviation, positive.
        form: `exact` is -1/2 sum(1 + log sigma^2 - mu^2 - sigma^2) (001 Eq. 3); `bits` is the same over
            ln 2, as in the PRECODE paper's own release; `paper-code` is what the CVB paper's public code
            computes, -1/2 sum(1 + sigma - mu^2 - exp(sigma)), which takes sigma for a log-variance: its
            minimum is the smallest sigma, not sigma = 1.

    Returns:
        N values, not weighted by beta.

    Raises:
        UnknownNameError: If there is no such form.
    """
    if form in ("exact", "bits"):
        terms = -0.5 * (1 + 2 * sigma.log() - mu.square() - sigma.square())
        terms = terms / math.log(2) if form == "bits" else terms
    elif form == "paper-code":
        terms = -0.5 * (1 + sigma - mu.square() - sigma.exp())
    else:
        raise unknown("form of the KL term", form, get_args(KLForm))
    return terms.sum(1).flatten(1).mean(1) if terms.dim() > 2 else terms.sum(1)


def check_memory(entries: int, what: str) -> None:
    """Refuse a bottleneck whose training would not fit into memory: weights, gradients, two moments of Adam.

    Raises:
        ParameterError: If it would not fit.
    """
    memory.require(4 * 4 * entries, what)


class VariationalBottleneck(nn.Module):
    """Encoder, sampling and decoder around features of a fixed shape; the features keep their shape.

    Args:
        encoder: maps N x `inner_shape` to N x 2K (x H x W): mu and raw sigma along axis 1.
        decoder: maps N x `noise_shape` back to N x `inner_shape`.
        shape: the features' shape without the leading axis.
        inner_shape: the shape that encoder and decoder work in.
        noise_shape: the sampled map's shape, K or K x H x W.
        beta: weight of the KL term in the loss (001 Eq. 3).
        kl: form of the KL term, see `kl_divergence`.
        sigma_floor: the least sigma: smaller ones are raised to it before the KL term is taken, and no
            gradient passes through those.
        sigma: how sigma comes of what the encoder says, see `sigma_from`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        shape: tuple[int, ...],
        inner_shape: tuple[int, ...],
        noise_shape: tuple[int, ...],
        beta: float,
        kl: KLForm,
        sigma_floor: float = 0.0,
        sigma: SigmaForm = "clipped-softplus",
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.shape, self.inner_shape, self.noise_shape = shape, inner_shape, noise_shape
        self.beta = beta
        self.kl: KLForm = kl
        self.sigma_floor = sigma_floor
        self.sigma: SigmaForm = sigma

    def encode(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and sigma, N x `noise_shape` each, of features N x `shape`."""
        if tuple(features.shape[1:]) != self.shape:
            raise ShapeError(
                f"This bottleneck was built for features of shape {self.shape}, "
                f"got {tuple(features.shape[1:])}: build the model for this input_shape."
            )
        mu, raw = self.encoder(features.reshape(-1, *self.inner_shape)).chunk(2, dim=1)
        sigma = sigma_from(raw, self.sigma)
        return mu, sigma.clamp_min(self.sigma_floor) if self.sigma_floor else sigma

    def forward(
        self, features: Tensor, noise: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Sampled:
        """Sample the bottleneck once a row; `noise` (N x `noise_shape`) replaces the random draw."""
        mu, sigma = self.encode(features)
        if noise is None:
            noise = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
        elif noise.shape != mu.shape:
            raise ShapeError(f"The bottleneck's noise must be {tuple(mu.shape)}, got {tuple(noise.shape)}.")
        decoded = self.decoder(mu + sigma * noise).reshape(features.shape)
        return Sampled(decoded, kl_divergence(mu, sigma, self.kl), noise)


@dataclass(frozen=True)
class Bottleneck(Noun):
    """What makes a `VariationalBottleneck` for a position of a network, once the features' shape is known.

    Derive a frozen dataclass from it that has settings of its own and defines `build`; models, experiments
    and texts then take it as they take PRECODE and the CVB.

    Attributes:
        position: the feature stage that it follows, counted from 1.
        beta: weight of the KL term (001 Eq. 3), at least 0.
        kl: form of the KL term, see `kl_divergence`.
        sigma_floor: the least sigma, so that training cannot take the noise away; 0 in the sources. Clipping
            alone keeps sigma above 0.0067, so that only a larger floor changes anything; without it
            (`sigma="softplus"`) nothing else does.
    """

    position: int = 1
    beta: float = field(default=0.01, kw_only=True)
    kl: KLForm = field(default="exact", kw_only=True)
    sigma_floor: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 <= self.beta < math.inf:
            raise ParameterError(f"beta must be finite and not negative, got {self.beta}.")
        if self.kl not in get_args(KLForm):
            raise unknown("form of the KL term", self.kl, get_args(KLForm))
        if not 0 <= self.sigma_floor < math.inf:
            raise ParameterError(f"sigma_floor must be finite and not negative, got {self.sigma_floor}.")

    def build(self, shape: tuple[int, ...]) -> VariationalBottleneck:
        """Build the module for features of `shape` (without the leading axis), best with `around`.

        Raises:
            ShapeError: If it cannot stand behind features of that shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define build.")

    def around(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        shape: tuple[int, ...],
        *,
        inner_shape: tuple[int, ...],
        noise_shape: tuple[int, ...],
        sigma: SigmaForm = "clipped-softplus",
    ) -> VariationalBottleneck:
        """Return the module of this encoder and decoder, with beta, KL form and least sigma.

        Args:
            encoder, decoder, shape, inner_shape, noise_shape, sigma: see `VariationalBottleneck`.
        """
        return VariationalBottleneck(
            encoder,
            decoder,
            shape=shape,
            inner_shape=inner_shape,
            noise_shape=noise_shape,
            beta=self.beta,
            kl=self.kl,
            sigma_floor=self.sigma_floor,
            sigma=sigma,
        )

    def arguments(self, nouns: Callable[[Any], str] = str) -> list[str]:
        """Return the position, and what differs from the defaults."""
        return [str(self.position), *(a for a in super().arguments(nouns) if not a.startswith("position="))]


def made(spec: Bottleneck, shape: tuple[int, ...]) -> VariationalBottleneck:
    """Return what a specification builds behind features of `shape`.

    Raises:
        ParameterError: If it is no `VariationalBottleneck`.
    """
    module = spec.build(shape)
    if not isinstance(module, VariationalBottleneck):
        raise ParameterError(
            f"{type(spec).__name__}.build must return a VariationalBottleneck, as self.around(...) does, got "
            f"{type(module).__name__}."
        )
    return module
