"""Variational bottlenecks: PRECODE, the CVB, `Bottleneck` to derive one's own from, and `insert`."""

from gleak_lib.bottlenecks.base import (
    Bottleneck,
    KLForm,
    Sampled,
    SigmaForm,
    VariationalBottleneck,
    kl_divergence,
    sigma_from,
)
from gleak_lib.bottlenecks.cvb import CVB
from gleak_lib.bottlenecks.insert import Bottlenecked, insert
from gleak_lib.bottlenecks.noise import encodings, sample_noise
from gleak_lib.bottlenecks.precode import PRECODE
from gleak_lib.registry import Registry

BOTTLENECKS: dict[str, type[Bottleneck]] = Registry("bottleneck", {"precode": PRECODE, "cvb": CVB})

__all__ = [
    "BOTTLENECKS",
    "CVB",
    "PRECODE",
    "Bottleneck",
    "Bottlenecked",
    "KLForm",
    "Sampled",
    "SigmaForm",
    "VariationalBottleneck",
    "encodings",
    "insert",
    "kl_divergence",
    "sample_noise",
    "sigma_from",
]
