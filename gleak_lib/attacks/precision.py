"""Arithmetic of the dummy gradients: float32, or faster and coarser."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Precision = Literal["float32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bf16")


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Let CUDA's products and convolutions use TF32 or not, for a while; convolutions do by default."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = precision == "tf32"
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def mixed(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which dummy gradients are computed: bfloat16 products under `bf16`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
