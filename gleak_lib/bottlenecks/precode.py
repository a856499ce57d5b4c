"""PRECODE's variational bottleneck (001 §II-C3, 000 §4): fully connected encoder and decoder."""

import math
from dataclasses import dataclass
from typing import get_args

from torch import nn

from gleak_lib.bottlenecks.base import Bottleneck, SigmaForm, VariationalBottleneck, check_memory
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.typed import typed


@typed
@dataclass(frozen=True)
class PRECODE(Bottleneck):
    """Specification of a PRECODE module: flatten, linear layer to 2k, sample k values, linear layer back.

    It adds 3 * k * (size of the features) parameters and, by default, no biases. That is the module as 001
    compares itself with; 001's public code holds no PRECODE, and sigma = softplus(clip(raw, -5, 5)) is that
    code's for the CVB. The PRECODE paper's own release has biases in both layers, no clip, and the KL term
    over ln 2; by default its k is 256, its beta 1e-3:
    `PRECODE(position, k=256, beta=1e-3, kl="bits", bias=True, sigma="softplus")`.

    Attributes:
        k: size of the bottleneck, K in 001, at least 1.
        bias: biases of the encoder (2k) and of the decoder (size of the features).
        sigma: how sigma comes of what the encoder says, see `sigma_from`.
        position, beta, kl, sigma_floor: see `Bottleneck`.
    """

    k: int = 8
    bias: bool = False
    sigma: SigmaForm = "clipped-softplus"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ParameterError(f"PRECODE's k must be at least 1, got {self.k}.")
        if self.sigma not in get_args(SigmaForm):
            raise unknown("form of sigma", self.sigma, get_args(SigmaForm))

    def build(self, shape: tuple[int, ...]) -> VariationalBottleneck:
        """Build the module for features of `shape` (without the leading axis).

        Raises:
            ParameterError: If its training would not fit into memory.
        """
        size = math.prod(shape)
        check_memory(3 * self.k * size, f"Training PRECODE with k={self.k} behind {size} features")
        return self.around(
            nn.Linear(size, 2 * self.k, bias=self.bias),
            nn.Linear(self.k, size, bias=self.bias),
            shape,
            inner_shape=(size,),
            noise_shape=(self.k,),
            sigma=self.sigma,
        )
