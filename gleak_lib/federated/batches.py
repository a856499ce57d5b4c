"""What a client consumes in a round, known before it trains: its batches, and the draws from the streams.

The plain loop trains one client after the other from the same streams. Engines that train several at once
find here the very batches and noise that the loop would have drawn, in its order.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gleak_lib.attacks.observe import sample_noise
from gleak_lib.federated.protocol import Protocol


def epochs(index: Tensor, protocol: Protocol, shuffle: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of a client's images, shuffled anew in each local epoch."""
    for _ in range(protocol.local_epochs):
        yield index[torch.randperm(len(index), generator=shuffle)]


def batches(index: Tensor, protocol: Protocol, shuffle: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of a client's batches in a round; an epoch's last one may be smaller."""
    for order in epochs(index, protocol, shuffle):
        yield from order.split(protocol.batch_size)


def least_batch(model: nn.Module, images: int) -> int:
    """Return the smallest batch that a client with so many images trains on.

    A last batch of a single image is left out where the model has BatchNorm, which knows no statistics of
    one image.
    """
    return min(2 if has_batchnorm(model) else 1, images)


def has_batchnorm(model: nn.Module) -> bool:
    """Whether a layer takes statistics over the batch."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


def skip(
    model: nn.Module, index: Tensor, protocol: Protocol, shuffle: torch.Generator, noise: torch.Generator
) -> tuple[torch.Generator, torch.Generator]:
    """Return copies of the streams where they stand, and advance them by what one client consumes."""
    copies = shuffle.clone_state(), noise.clone_state()
    like = next(model.parameters())
    for batch in batches(index, protocol, shuffle):
        if len(batch) >= least_batch(model, len(index)):
            sample_noise(model, len(batch), like, noise)
    return copies
