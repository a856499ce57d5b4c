"""What differentially private training has cost each client of its privacy."""

import functools
import math
from collections.abc import Sequence

from gleak_lib.defenses import Privacy, epsilon
from gleak_lib.federated.partition import Client
from gleak_lib.federated.protocol import Protocol


def spent(
    privacy: Privacy, clients: Sequence[Client], rounds: Sequence[int], protocol: Protocol
) -> list[float]:
    """Return each client's epsilon at the mechanism's delta, for its own number of images and of rounds.

    An epoch takes n = ceil(images / batch size) steps, each accounted at the sampling rate 1 / n, as Opacus
    does. It covers one image of one client, against everyone who sees all that the client sends; the
    validation images are not trained on and not covered.

    Args:
        privacy: of the clients' defense.
        clients: with their training images.
        rounds: in how many rounds each has taken part.
        protocol: gives local epochs and batch size.

    Raises:
        MissingDependencyError: If Opacus is not installed.
    """

    @functools.cache
    def known(steps: int, rounds: int) -> float:
        return epsilon(privacy, sample_rate=1 / steps, steps=steps * rounds * protocol.local_epochs)

    steps = [math.ceil(len(client.train) / protocol.batch_size) for client in clients]
    return list(map(known, steps, rounds))
