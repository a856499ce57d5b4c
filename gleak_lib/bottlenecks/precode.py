"""PRECODE's variational bottleneck (001 §II-C3, 000 §4): fully connected encoder and decoder."""

import math
from dataclasses import dataclass

from torch import nn

from gleak_lib.bottlenecks.base import (
    KLForm,
    SigmaForm,
    VariationalBottleneck,
    check_beta,
    check_forms,
    check_memory,
)
from gleak_lib.errors import ParameterError
from gleak_lib.typed import typed


@typed
@dataclass(frozen=True)
class PRECODE:
    """Specification of a PRECODE module: flatten, linear layer to 2k, sample k values, linear layer back.

    It adds 3 * k * (size of the features) parameters and, by default, no biases. That is the module as 001
    compares itself with; 001's public code holds no PRECODE, and sigma = softplus(clip(raw, -5, 5)) is that
    code's for the CVB. The PRECODE paper's own release has biases in both layers, no clip, and the KL term
    over ln 2; by default its k is 256, its beta 1e-3:
    `PRECODE(position, k=256, beta=1e-3, kl="bits", bias=True, sigma="softplus")`.

    Attributes:
        position: the feature stage that it follows, counted from 1.
        k: size of the bottleneck, K in 001.
        beta: weight of the KL term (001 Eq. 3).
        kl: form of the KL term, see `gleak_lib.bottlenecks.kl_divergence`.
        sigma_floor: the least sigma, so that training cannot take the noise away; 0 in the sources. Clipping
            alone keeps sigma above 0.0067, so that only a larger floor changes anything; without it
            (`sigma="softplus"`) nothing else does.
        bias: biases of the encoder (2k) and of the decoder (size of the features).
        sigma: how sigma comes of what the encoder says, see `gleak_lib.bottlenecks.sigma_from`.

    Raises:
        UnknownNameError: If `kl` or `sigma` names no form.
        ParameterError: If `k` is less than 1, or `sigma_floor` negative or not finite.
    """

    position: int = 1
    k: int = 8
    beta: float = 0.01
    kl: KLForm = "exact"
    sigma_floor: float = 0.0
    bias: bool = False
    sigma: SigmaForm = "clipped-softplus"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ParameterError(f"PRECODE's k must be at least 1, got {self.k}.")
        check_beta(self.beta)
        check_forms(self.kl, self.sigma, self.sigma_floor)

    def build(self, shape: tuple[int, ...]) -> VariationalBottleneck:
        """Build the module for features of `shape` (without the leading axis).

        Raises:
            ParameterError: its training would not fit into memory.
        """
        size = math.prod(shape)
        check_memory(3 * self.k * size, f"Training PRECODE with k={self.k} behind {size} features")
        return VariationalBottleneck(
            nn.Linear(size, 2 * self.k, bias=self.bias),
            nn.Linear(self.k, size, bias=self.bias),
            shape=shape,
            inner_shape=(size,),
            noise_shape=(self.k,),
            beta=self.beta,
            kl=self.kl,
            sigma_floor=self.sigma_floor,
            sigma=self.sigma,
        )
