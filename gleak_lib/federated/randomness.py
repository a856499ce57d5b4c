"""Streams of random numbers: everything comes from one generator, and the global one stays untouched."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from gleak_lib.global_generator import isolated

LARGEST_SEED = 2**62


def streams(
    generator: torch.Generator, names: Sequence[str], *, device: torch.device, on_device: Sequence[str] = ()
) -> dict[str, torch.Generator]:
    """Seed one generator per name from `generator`: what one stream consumes changes nothing in another.

    Those named in `on_device` draw on the model's device, the others on the CPU.
    """
    seeds = torch.randint(LARGEST_SEED, (len(names),), generator=generator, device=generator.device).tolist()
    return {
        name: torch.Generator(device if name in on_device else "cpu").manual_seed(seed)
        for name, seed in zip(names, seeds, strict=True)
    }


@contextmanager
def contained(seeds: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed the global generators for the block's duration and restore them afterwards.

    For code that cannot be handed a generator, such as a model's dropout: it becomes reproducible.
    """
    seed = int(torch.randint(LARGEST_SEED, (), generator=seeds, device=seeds.device))
    with isolated(device, seed):
        yield
