"""What PRECODE and the CVB share: encode to (mu, sigma), sample, decode, and a KL term (001 §II-C3, Eq. 2-3).

b = mu + sigma * eps with eps ~ N(0, 1). The noise can be handed in, so that an attack can fix, resample
or optimise it, and is always handed back. Bottlenecks sample in training and in evaluation alike.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gleak_lib import memory
from gleak_lib.errors import ParameterError, ShapeError, unknown

KLForm = Literal["exact", "bits", "paper-code"]
SigmaForm = Literal["clipped-softplus", "softplus"]


class Sampled(NamedTuple):
    """Output of a bottleneck: decoded features, the unweighted KL term a row, and the noise used."""

    features: Tensor  # N x the shape that came in
    kl: Tensor  # N
    noise: Tensor  # N x map


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


def check_beta(beta: float) -> None:
    """Refuse a weight of the KL term that cannot be one.

    Raises:
        ParameterError: If `beta` is negative or not finite.
    """
    if not 0 <= beta < math.inf:
        raise ParameterError(f"beta must be finite and not negative, got {beta}.")


def check_memory(entries: int, what: str) -> None:
    """Refuse a bottleneck whose training would not fit into memory: weights, gradients, two moments of Adam.

    Raises:
        ParameterError: If it would not.
    """
    memory.require(4 * 4 * entries, what)


def check_forms(kl: str, sigma: str, sigma_floor: float) -> None:
    """Refuse forms of the KL term and of sigma that there are not, and a least sigma that cannot be one.

    Raises:
        UnknownNameError: If `kl` or `sigma` names no form.
        ParameterError: If `sigma_floor` is negative or not finite.
    """
    if kl not in get_args(KLForm):
        raise unknown("form of the KL term", kl, get_args(KLForm))
    if sigma not in get_args(SigmaForm):
        raise unknown("form of sigma", sigma, get_args(SigmaForm))
    if not 0 <= sigma_floor < math.inf:
        raise ParameterError(f"sigma_floor must be finite and not negative, got {sigma_floor}.")


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
