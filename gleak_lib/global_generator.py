"""Torch's global generator, which is one for all threads: who uses it holds it, and leaves it as it was."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_HELD = threading.RLock()


def states(device: torch.device) -> list[torch.Tensor]:
    """Return the states of the global generators of the CPU and, where it is a GPU, of the device."""
    found = [torch.get_rng_state()]
    return [*found, torch.cuda.get_rng_state(device)] if device.type == "cuda" else found


@contextmanager
def isolated(device: torch.device | None = None, seed: int | None = None) -> Iterator[None]:
    """Keep other threads' `isolated` blocks out, and restore the global generators afterwards.

    Args:
        device: whose generator counts beside the CPU's, where it is a GPU.
        seed: of the generators at the block's beginning; None leaves them as they are.
    """
    cuda = device is not None and device.type == "cuda"
    with _HELD, torch.random.fork_rng(devices=[device] if cuda else []):
        if seed is not None:
            seed = int(seed)
            torch.default_generator.manual_seed(seed)
            if cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
        yield
