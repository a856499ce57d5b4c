"""Variational bottlenecks: PRECODE, the CVB, and how to put one into a model of your own."""

from gleak_lib.bottlenecks.base import (
    KLForm,
    Sampled,
    SigmaForm,
    VariationalBottleneck,
    kl_divergence,
    sigma_from,
)
from gleak_lib.bottlenecks.cvb import CVB
from gleak_lib.bottlenecks.insert import Bottlenecked, insert
from gleak_lib.bottlenecks.precode import PRECODE
from gleak_lib.registry import Registry

BottleneckSpec = PRECODE | CVB

BOTTLENECKS: dict[str, type[PRECODE] | type[CVB]] = Registry("bottleneck", {"precode": PRECODE, "cvb": CVB})

__all__ = [
    "BOTTLENECKS",
    "CVB",
    "PRECODE",
    "BottleneckSpec",
    "Bottlenecked",
    "KLForm",
    "Sampled",
    "SigmaForm",
    "VariationalBottleneck",
    "insert",
    "kl_divergence",
    "sigma_from",
]
