"""One communication round as the server runs it: participants, their updates, the aggregate, the measures."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gleak_lib.defenses import Defense as Transformation
from gleak_lib.errors import GradientError
from gleak_lib.federated.data import Images
from gleak_lib.federated.local import Defense, Means, measure, train_locally
from gleak_lib.federated.partition import Client
from gleak_lib.federated.protocol import Protocol
from gleak_lib.federated.weights import checked, trained
from gleak_lib.types import Grads

State = dict[str, Tensor]


@dataclass
class Federation:
    """The parties of a training: the global model, which a round changes in place, and who trains it on what.

    `streams` has the generators `participants` and `shuffle` (CPU), `noise`, `val` and `update` (the model's
    device); `defense` acts on local steps, `on_update` on what is shared; `validation` are images that are
    measured instead of what the clients keep; `participations` counts each client's rounds; `aggregation` is
    the aggregator's state.
    """

    model: nn.Module
    images: Images
    clients: Sequence[Client]
    protocol: Protocol
    streams: dict[str, torch.Generator]
    defense: Defense | None = None
    on_update: Transformation | None = None
    validation: Images | None = None
    participations: list[int] = field(init=False)
    aggregation: Any = field(init=False)

    def __post_init__(self) -> None:
        self.participations = [0] * len(self.clients)
        fresh = {name: p.detach().clone() for name, p in trained(self.model).items()}
        self.aggregation = self.protocol.aggregation.init(fresh)

    def shared(self, updates: Grads) -> Grads:
        """Return a block of updates, v x shape, as their clients share them: see `local.Defense`."""
        if self.on_update is None:
            return updates
        return checked(self.on_update(updates, generator=self.streams["update"]), updates)

    def round(self, number: int, lr: float) -> "Round":
        """Draw the participants of a round, and count them."""
        chosen, count = list(range(len(self.clients))), self.protocol.clients_per_round
        if count is not None:
            drawn = torch.randperm(len(self.clients), generator=self.streams["participants"])
            chosen = sorted(drawn[:count].tolist())
        for client in chosen:
            self.participations[client] += 1
        weights = [float(len(self.clients[c].train)) if self.protocol.weighted else 1.0 for c in chosen]
        return Round(self, number, lr, chosen, weights)

    def validate(self, number: int) -> tuple[float, float]:
        """Return loss and accuracy of the global model, means over all clients' validation splits.

        Where there is one validation split for all, they are means over its images; NaN where there is none.
        """
        images, index = self.validation, None
        if images is None:
            images, index = self.images, torch.cat([client.val for client in self.clients])
        if index is not None and not len(index):
            return math.nan, math.nan
        sizes = [len(images)] if index is None else [len(client.val) for client in self.clients]
        losses, hits, _ = measure(self.model, images, index, self.streams["val"])
        loss, accuracy = (
            float(torch.stack([part.double().mean() for part in values.split(sizes)]).mean())
            for values in (losses, hits)
        )
        if not math.isfinite(loss):
            raise GradientError(f"The validation loss is {loss} after round {number}: lower lr.")
        return loss, accuracy


class Round(NamedTuple):
    """One round: its number (from 1), the clients' learning rate, who takes part, the weights."""

    federation: Federation
    number: int
    lr: float
    clients: list[int]
    weights: list[float]

    def train(self) -> Means:
        """Train one participant after the other, in the global model itself, and aggregate."""
        federation, start = self.federation, snapshot(self.federation.model)

        def results() -> Iterator[tuple[Means, State]]:
            for client in self.clients:
                federation.model.load_state_dict(start)
                streams = federation.streams["shuffle"], federation.streams["noise"]
                yield self.train_client(client, federation.model, *streams), federation.model.state_dict()

        return self.merge(start, results())

    def train_client(
        self, client: int, model: nn.Module, shuffle: torch.Generator, noise: torch.Generator
    ) -> Means:
        """Train `model`, which has the global weights, as one participant does; see `train_locally`."""
        parties = self.federation
        index, defense = parties.clients[client].train, parties.defense
        options = {"lr": self.lr, "shuffle": shuffle, "noise": noise, "defense": defense}
        return train_locally(model, parties.images, index, parties.protocol, **options)

    def merge(self, start: State, results: Iterable[tuple[Means, State]]) -> Means:
        """Put the aggregate of the participants' weights into the model; return the mean of their measures.

        Args:
            start: weights and buffers that all started from.
            results: each participant's measures, weights and buffers, in order; they may share memory, one is
                read at a time.
        """
        each: list[Means] = []
        buffers: list[State] = []
        names = trained(self.federation.model)
        others = start.keys() - names.keys()

        def updates() -> Iterator[Grads]:  # one at a time: 200 participants need no 200 models
            for client, (means, state) in zip(self.clients, results, strict=True):
                self.check(means, client)
                each.append(means)
                changed = {n for n in others if not torch.equal(state[n], start[n])}
                buffers.append({n: state[n].clone() for n in changed})
                yield {name: (start[name] - state[name])[None] for name in names}

        read = updates()
        step = self.aggregate(read)
        for _ in read:  # what an aggregator has not read is trained all the same
            pass
        self.federation.model.load_state_dict(average(buffers, self.weights, start))
        with torch.no_grad():
            for name, parameter in names.items():
                parameter.copy_(start[name] - step[name])
        return self.mean(each)

    def aggregate(self, updates: Iterable[Grads]) -> Grads:
        """Return what the server subtracts from the global parameters.

        Args:
            updates: blocks of participants in order, v x shape each.

        Raises:
            GradientError: If a defense or the aggregator returns other names or shapes than it was given.
        """
        federation, weights = self.federation, [w / sum(self.weights) for w in self.weights]
        shared = map(federation.shared, updates)
        step, state = federation.protocol.aggregation.aggregate(shared, weights, federation.aggregation)
        federation.aggregation = state
        found = {name: value.shape for name, value in step.items()}
        own = {name: p.shape for name, p in trained(federation.model).items()}
        for name in sorted(own.keys() | found.keys()):
            if own.get(name) != (shape := found.get(name)):
                raise GradientError(
                    f"The aggregator returned {name!r} of shape {shape and tuple(shape)}: it must return the "
                    "names and shapes that it was given."
                )
        return step

    def check(self, means: Means, client: int) -> None:
        """Refuse a participant's loss that is not finite.

        Raises:
            GradientError: If it is NaN or infinite; the message names client and round.
        """
        if not math.isfinite(means[0]):
            raise GradientError(
                f"The training loss of client {client} is {means[0]} in round {self.number}: lower lr (now "
                f"{self.lr:g}) or the bottleneck's beta, and look for images that are not finite."
            )

    def mean(self, each: Sequence[Means]) -> Means:
        """Return the participants' mean loss and accuracy, weighted as their updates are."""
        loss, accuracy = (
            sum(w * value for w, value in zip(self.weights, values, strict=True)) / sum(self.weights)
            for values in zip(*each, strict=True)
        )
        return loss, accuracy


def average(states: Sequence[State], weights: Sequence[float], start: State) -> State:
    """Return the weighted mean of the participants' buffers; integers are rounded.

    Args:
        states: what each participant changed, the rest may be missing.
        weights: one per participant; only their ratios count.
        start: the state that all started from. What nobody changed is taken from it bit for bit.
    """
    moved: State = {}
    for state, weight in zip(states, weights, strict=True):
        for name, value in state.items():
            step = (value - _exact(start[name])) * (weight / sum(weights))
            moved[name] = moved[name] + step if name in moved else step
    mean = dict(start)
    for name, step in moved.items():
        total = _exact(start[name]) + step
        mean[name] = total if total.dtype == start[name].dtype else total.round().to(start[name].dtype)
    return mean


def snapshot(model: nn.Module) -> State:
    """Return a copy of the model's weights and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _exact(value: Tensor) -> Tensor:
    return value if value.is_floating_point() else value.double()
