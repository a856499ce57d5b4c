"""Who holds which images: IID and by-class partitions, and each client's own validation split.

Every function returns index tensors (int64, on the CPU) and draws from the generator it is given.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gleak_lib.errors import ParameterError
from gleak_lib.federated.protocol import Protocol


class Client(NamedTuple):
    """Indices of one client's images: those it trains on, and those it keeps for validation."""

    train: Tensor
    val: Tensor


def iid(samples: int | Tensor, clients: int, generator: torch.Generator) -> list[Tensor]:
    """Deal all samples to the clients at random: equal sizes up to one, every sample exactly once.

    Args:
        samples: how many there are, or their labels (only the length counts).
        clients: number of clients.
        generator: source of the shuffle.

    Raises:
        ParameterError: If there is no client, or fewer samples than clients.
    """
    count = samples if isinstance(samples, int) else len(samples)
    _check_clients(clients)
    if count < clients:
        raise ParameterError(f"{clients} clients cannot share {count} samples: use at most {count} clients.")
    return list(_shuffled(torch.arange(count), generator).tensor_split(clients))


def by_class(
    labels: Tensor,
    clients: int,
    generator: torch.Generator,
    *,
    classes: int = 2,
    samples: tuple[int, int] = (1, 10),
) -> list[Tensor]:
    """Give each client a few samples of a few random classes; no sample goes to two clients (004 §6-A).

    004 uses 2 classes per client and 1 to 10 samples of each (MNIST, Fashion-MNIST: 100 clients) or 1 to 20
    (CIFAR-10: 1,000 clients). Most samples then belong to nobody.

    Args:
        labels: N class indices.
        clients: number of clients.
        generator: source of the classes, the counts and the samples.
        classes: distinct classes a client holds.
        samples: smallest and largest count of samples of each class, drawn uniformly, both included.

    Raises:
        ParameterError: If there are fewer classes, the range is empty or starts below 1, or a class has too
            few samples for the clients that drew it.
    """
    _check_clients(clients)
    low, high = samples
    if not 1 <= low <= high:
        raise ParameterError(f"samples must be a range (low, high) with 1 <= low <= high, got {samples}.")
    labels = labels.flatten().cpu()
    names = labels.unique()
    if not 1 <= classes <= len(names):
        raise ParameterError(f"classes must be 1 to {len(names)}, as many as the labels have, got {classes}.")
    pools = [_shuffled((labels == name).nonzero().flatten(), generator) for name in names]
    taken = [0] * len(pools)
    found = []
    for _ in range(clients):
        parts = []
        for which in torch.randperm(len(pools), generator=generator)[:classes].tolist():
            start, count = taken[which], int(torch.randint(low, high + 1, (), generator=generator))
            if start + count > len(pools[which]):
                raise ParameterError(
                    f"Class {int(names[which])} has {len(pools[which])} samples, too few for {clients} "
                    f"clients with {low} to {high} of each of {classes} classes: use fewer of either."
                )
            parts.append(pools[which][start : start + count])
            taken[which] += count
        found.append(torch.cat(parts))
    return found


def hold_out(
    parts: Sequence[Tensor], generator: torch.Generator, *, fraction: float = 0.1
) -> tuple[Client, ...]:
    """Let each client keep a random share of its samples for validation, at least one (001 §V-A: 10 %).

    With a fraction of 0 nobody keeps any.

    Raises:
        ParameterError: If the fraction is outside [0, 1), or a client would have nothing left to train on.
    """
    if not 0 <= fraction < 1:
        raise ParameterError(f"The validation fraction must be at least 0 and below 1, got {fraction}.")
    if not fraction:
        return tuple(Client(part, part[:0]) for part in parts)
    clients = []
    for number, part in enumerate(parts):
        count = max(1, round(fraction * len(part)))
        if count >= len(part):
            raise ParameterError(
                f"Client {number} has {len(part)} samples and would keep {count} for validation, which "
                "leaves none to train on: use fewer clients, more samples or a smaller val_fraction."
            )
        shuffled = _shuffled(part, generator)
        clients.append(Client(shuffled[count:], shuffled[:count]))
    return tuple(clients)


def deal(labels: Tensor, protocol: Protocol, generator: torch.Generator) -> tuple[Client, ...]:
    """Return who holds which of N images with these labels, and what each client keeps for validation.

    With `validation='split'` clients keep nothing, and each part is what it would be otherwise, held-out
    images included.

    Raises:
        ParameterError: If there are too few samples for the clients.
    """
    if protocol.partition == "iid":
        parts = iid(labels, protocol.clients, generator)
    else:
        held = {"classes": protocol.classes_per_client, "samples": protocol.samples_per_class}
        parts = by_class(labels, protocol.clients, generator, **held)
    return hold_out(parts, generator, fraction=0 if protocol.validation == "split" else protocol.val_fraction)


def _shuffled(index: Tensor, generator: torch.Generator) -> Tensor:
    return index[torch.randperm(len(index), generator=generator)]


def _check_clients(clients: int) -> None:
    if clients < 1:
        raise ParameterError(f"clients must be at least 1, got {clients}.")
