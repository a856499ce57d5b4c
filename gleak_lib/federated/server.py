"""One communication round as the server runs it: participants, their updates, the average, the measures."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gleak_lib.errors import GradientError
from gleak_lib.federated.data import Images
from gleak_lib.federated.local import Defense, Objective, measure, train_locally
from gleak_lib.federated.partition import Client
from gleak_lib.federated.protocol import Protocol

State = dict[str, Tensor]


@dataclass
class Federation:
    """The parties of a training: the global model, which a round changes in place, and who trains it on what.

    `streams` has the generators `participants` and `shuffle` (CPU), `noise` and `val` (the model's device);
    `validation` are images that are measured instead of what the clients keep; `taken` counts the rounds in
    which each client took part.
    """

    model: nn.Module
    loss_of: Objective
    images: Images
    clients: Sequence[Client]
    protocol: Protocol
    streams: dict[str, torch.Generator]
    defense: Defense | None = None
    validation: Images | None = None
    taken: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.taken = [0] * len(self.clients)

    def run_round(self, number: int, lr: float) -> float:
        """Let the participants train from the global weights and average them; return the mean loss.

        Raises:
            GradientError: a participant's loss is not finite.
        """
        chosen, weights = self.participants()
        start, losses = snapshot(self.model), []

        def local_states() -> Iterator[State]:  # one at a time: 200 participants need no 200 models
            for client in chosen:
                self.model.load_state_dict(start)
                losses.append(self._train_client(client, number, lr))
                yield self.model.state_dict()

        self.model.load_state_dict(average(local_states(), weights, start))
        return sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)

    def validate(self, number: int) -> tuple[float, float]:
        """Return loss and accuracy of the global model, means over all clients' validation splits.

        Where there is one validation split for all, they are means over its images.
        """
        images, index = self.validation, None
        if images is None:
            images, index = self.images, torch.cat([client.val for client in self.clients])
        sizes = [len(images)] if index is None else [len(client.val) for client in self.clients]
        losses, hits = measure(self.model, self.loss_of, images, index, self.streams["val"])
        loss, accuracy = (
            float(torch.stack([part.double().mean() for part in values.split(sizes)]).mean())
            for values in (losses, hits)
        )
        if not math.isfinite(loss):
            raise GradientError(f"The validation loss is {loss} after round {number}: lower lr.")
        return loss, accuracy

    def participants(self) -> tuple[list[int], list[float]]:
        """Draw a round's participants, and count it; return them and their weights in the average."""
        chosen, count = list(range(len(self.clients))), self.protocol.clients_per_round
        if count is not None:
            drawn = torch.randperm(len(self.clients), generator=self.streams["participants"])
            chosen = sorted(drawn[:count].tolist())
        for client in chosen:
            self.taken[client] += 1
        return chosen, [float(len(self.clients[c].train)) if self.protocol.weighted else 1.0 for c in chosen]

    def check(self, loss: float, client: int, number: int, lr: float) -> None:
        """Refuse a participant's loss that is not finite.

        Raises:
            GradientError: so it is; the message names client and round.
        """
        if not math.isfinite(loss):
            raise GradientError(
                f"The training loss of client {client} is {loss} in round {number}: lower lr (now {lr:g}) or "
                "the bottleneck's beta, and look for images that are not finite."
            )

    def _train_client(self, client: int, number: int, lr: float) -> float:
        loss = train_locally(
            self.model,
            self.loss_of,
            self.images,
            self.clients[client].train,
            self.protocol,
            lr=lr,
            shuffle=self.streams["shuffle"],
            noise=self.streams["noise"],
            defense=self.defense,
        )
        self.check(loss, client, number, lr)
        return loss


class Round(NamedTuple):
    """One round that a training asks for: whose, its number (from 1) and the clients' learning rate."""

    federation: Federation
    number: int
    lr: float


def average(states: Iterable[State], weights: Sequence[float], start: State) -> State:
    """Return the weighted mean of the participants' states (FedAvg); integer buffers are rounded.

    Args:
        states: weights and buffers of each participant, detached; they may share memory, one is read at a
            time.
        weights: one a participant; only their ratios count.
        start: the state that all started from. What nobody changed is taken from it bit for bit.
    """
    moved: State = {}
    for state, weight in zip(states, weights, strict=True):
        for name, value in start.items():
            if not torch.equal(state[name], value):
                step = (state[name] - _exact(value)) * (weight / sum(weights))
                moved[name] = moved[name] + step if name in moved else step
    mean = dict(start)
    for name, step in moved.items():
        value = start[name]
        total = _exact(value) + step
        mean[name] = total if total.dtype == value.dtype else total.round().to(value.dtype)
    return mean


def snapshot(model: nn.Module) -> State:
    """Return a copy of the model's weights and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _exact(value: Tensor) -> Tensor:
    return value if value.is_floating_point() else value.double()
