"""Initial weights from a seed of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gleak_lib.errors import ParameterError

LEAST, MOST = -(2**63), 2**64 - 1  # what torch takes


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Let torch's global generator of the CPU start from a seed, and put it back as it was; None lets it be.

    Raises:
        ParameterError: If the seed is none that torch takes.
    """
    if seed is not None and not LEAST <= seed <= MOST:
        raise ParameterError(f"seed must be in -2**63 ... 2**64 - 1, got {seed}.")
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield
