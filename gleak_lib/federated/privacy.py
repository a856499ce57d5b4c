"""What differentially private training has cost each client of its privacy."""

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
        MissingDependencyError: Opacus is not installed.
    """
    settings = [
        (math.ceil(len(client.train) / protocol.batch_size), taken)
        for client, taken in zip(clients, rounds, strict=True)
    ]
    known = {
        (steps, taken): epsilon(privacy, sample_rate=1 / steps, steps=steps * taken * protocol.local_epochs)
        for steps, taken in set(settings)
    }
    return [known[setting] for setting in settings]
