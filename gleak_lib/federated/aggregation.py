"""What the server makes of a round's updates: an aggregator, the weighted mean by default."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gleak_lib.gradients.factored import by_row
from gleak_lib.grammar import Noun
from gleak_lib.types import Grads


class Aggregator(Noun, ABC):
    """Turns what the participants of a round share into the one update that the server applies.

    An update is the difference of a client's trained parameters before and after its local training,
    theta_before - theta_after, divided by nothing, after the defenses that act on it; the server subtracts
    the aggregate from the global parameters. Buffers (running statistics) are averaged apart from it.
    Derive a frozen dataclass.
    """

    def init(self, parameters: Grads) -> Any:
        """Return the state before the first round; `parameters` are the trained ones of the fresh model."""
        return None

    @abstractmethod
    def aggregate(self, updates: Iterable[Grads], weights: Sequence[float], state: Any) -> tuple[Grads, Any]:
        """Return the aggregate, by parameter name in the parameters' shapes, and the next state.

        Args:
            updates: blocks of one or more participants in order, v x shape each, to be read once; one at a
                time need be in memory.
            weights: one per participant, positive, summing to 1.
            state: what the last round returned.
        """


@dataclass(frozen=True)
class WeightedMean(Aggregator):
    """The weighted mean of the updates: federated averaging (McMahan et al. 2017)."""

    def aggregate(self, updates: Iterable[Grads], weights: Sequence[float], state: Any) -> tuple[Grads, Any]:
        mean: Grads = {}
        first = 0
        for block in updates:
            rows = len(next(iter(block.values())))
            for name, update in block.items():
                share = torch.tensor(weights[first : first + rows], dtype=update.dtype, device=update.device)
                part = (share @ by_row(update)).view(update.shape[1:])
                mean[name] = mean[name] + part if name in mean else part
            first += rows
        return mean, state
