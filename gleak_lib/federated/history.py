"""What a federated training gives back."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from gleak_lib.errors import ParameterError
from gleak_lib.federated.partition import Client
from gleak_lib.federated.protocol import Protocol
from gleak_lib.federated.server import State

MEASURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_accuracy", "lr",
            "train_seconds", "eval_seconds")  # fmt: skip


@dataclass(repr=False)
class History:
    """Measurements of every round, and the weights that an attack or a table needs.

    Every list is indexed by the round: entry r describes the global model after r rounds, entry 0 the
    fresh weights. Accuracies are shares in [0, 1]. What was not measured is NaN: validation where nothing is
    held out, validation and test between two evaluations (`Protocol.evaluate_every`).

    Attributes:
        protocol: the protocol that was followed.
        mean, std: pixel statistics with which the images were normalized, one value per channel.
        clients: indices of each client's training and validation images in the split; none of the latter with
            `validation='split'`.
        train_loss, train_accuracy: means over the round's local steps, each measured on its batch before the
            step, so on the clients' own weights on their way, in training mode and not on the global model;
            over the clients as the updates are weighted; NaN at 0.
        val_loss, val_accuracy: of the global model, mean over all clients' validation splits, or over the
            images of the one of all.
        test_accuracy: of the global model; empty where no test split was given.
        test_logits, test_labels: N x K and N, what the model of `best_round` said of the test split (the same
            draw of noise as its accuracy); None where none was given.
        lr: the clients' learning rate in that round.
        train_seconds, eval_seconds: wall-clock time of the round's training and aggregation (its share, where
            trainings run side by side), and of its evaluation.
        best_round: round of the smallest validation loss, the first of equals; without validation the last.
        best_state, last_state: weights and buffers after `best_round` and after the last round.
        snapshots: weights and buffers after the rounds that were asked for, as far as they were reached.
        stopped_early: whether patience ended the training.
        epsilon: each client's privacy loss over all its rounds, where the defense of the local steps is
            differentially private (see `federated.privacy.spent`), else None; infinite without noise.
        delta: the probability that goes with it.
        method: how the rounds were computed, `loop`, `threads` or `stacked` (see `train`).
        model: a copy of the given model with the weights of `best_round`, in evaluation mode.
    """

    protocol: Protocol
    mean: tuple[float, ...]
    std: tuple[float, ...]
    clients: tuple[Client, ...]
    model: nn.Module
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    test_logits: Tensor | None = None
    test_labels: Tensor | None = None
    lr: list[float] = field(default_factory=list)
    train_seconds: list[float] = field(default_factory=list)
    eval_seconds: list[float] = field(default_factory=list)
    best_round: int = 0
    best_state: State = field(default_factory=dict)
    last_state: State = field(default_factory=dict)
    snapshots: dict[int, State] = field(default_factory=dict)
    stopped_early: bool = False
    epsilon: list[float] | None = None
    delta: float | None = None
    method: str = "loop"

    def __repr__(self) -> str:
        """What there is; weights, indices and the measurements of every round would fill pages."""
        if self.test_accuracy:
            found = f"test accuracy {self.accuracy:.3g} after round {self.best_round}"
        else:
            found = f"no test accuracy, best round {self.best_round}"
        return (
            f"<History of a {type(self.model).__name__}: {self.rounds} rounds, {len(self.clients)} clients, "
            f"{found}{', stopped early' if self.stopped_early else ''}>"
        )

    @property
    def rounds(self) -> int:
        """Number of rounds that were run."""
        return max(0, len(self.val_loss) - 1)

    @property
    def accuracy(self) -> float:
        """Test accuracy of the best model, in [0, 1].

        Raises:
            ParameterError: If no test split was given to `train`.
        """
        if not self.test_accuracy:
            raise ParameterError("There is no test accuracy: pass test=... to train.")
        return self.test_accuracy[self.best_round]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but weights and indices as plain numbers (NaN as None), fit for JSON."""
        return {
            "protocol": dataclasses.asdict(self.protocol),
            "mean": list(self.mean),
            "std": list(self.std),
            "client_sizes": [[len(c.train), len(c.val)] for c in self.clients],
            "rounds": self.rounds,
            "best_round": self.best_round,
            "stopped_early": self.stopped_early,
            "method": self.method,
            "accuracy": self.accuracy if self.test_accuracy else None,
            "epsilon": self.epsilon,
            "delta": self.delta,
        } | {name: [None if math.isnan(v) else v for v in getattr(self, name)] for name in MEASURES}
