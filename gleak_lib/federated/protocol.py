"""The protocol of a federated training: every number that decides its outcome, apart from the seed."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from gleak_lib.errors import ParameterError, unknown
from gleak_lib.federated.aggregation import Aggregator, WeightedMean

OPTIONS = {
    "optimizer": ("adam", "sgd"),
    "partition": ("iid", "by_class"),
    "validation": ("clients", "split"),
}
LEAST = {"rounds": 0, "clients": 1, "local_epochs": 1, "batch_size": 1, "classes_per_client": 1,
         "evaluate_every": 1, "patience": 1, "halve_lr_after": 1, "clients_per_round": 1}  # fmt: skip
MAYBE = ("patience", "halve_lr_after", "clients_per_round")  # or None
DEALT_BY = ("clients", "validation", "val_fraction", "partition", "classes_per_client", "samples_per_class")
"""Settings that decide, with the seed, which images each client trains on."""


@dataclass(frozen=True)
class Protocol:
    """Federated averaging as in 001 §V-A; the defaults are that paper's.

    Attributes:
        rounds: communication rounds at most; 0 trains nothing and measures the fresh weights.
        clients: number of clients.
        clients_per_round: clients drawn at random for each round; None takes all (004 §6-A: 10 of 100).
        local_epochs: passes of a client over its own data in a round.
        batch_size: images in a local step; the last batch of an epoch may be smaller.
        optimizer: 'adam' or 'sgd' (without momentum); its state starts anew each round at each client.
        lr: the clients' learning rate.
        betas: Adam's.
        validation: 'clients': each client keeps a share of its images for validation, as 001's text says;
            'split': clients train on all of theirs, and the set's own validation split is measured, as that
            paper's public code does on MedMNIST's sets. There the split is dealt to the clients,
            and the mean is over their batches; here it is over the images.
        val_fraction: share of a client's images kept for validation, at least one image; not read with
            `validation='split'`. 0 keeps none: nothing is validated, no training stops early, and the best
            round is the last.
        patience: stop after so many rounds without a better mean validation loss; None never stops early.
        halve_lr_after: halve the clients' learning rate after so many rounds without a better mean
            validation loss, and again after as many more. The CVB paper's public code means 15, but makes
            its scheduler anew each round, so that nothing is ever halved: None, the default, does the same.
        weighted: average by the clients' numbers of training images, else all alike.
        aggregation: what the server makes of the clients' updates, see `Aggregator`.
        evaluate_every: rounds from one evaluation (validation and test) to the next; round 0 and the last are
            always evaluated, and a training stops early only where it is.
        partition: 'iid', or 'by_class' (004 §6-A), which alone reads the next two.
        classes_per_client: classes that a client holds.
        samples_per_class: smallest and largest number of samples of each.

    Raises:
        ParameterError: If a value is of the wrong type or out of range; the message names it.
    """

    rounds: int = 300
    clients: int = 10
    clients_per_round: int | None = None
    local_epochs: int = 1
    batch_size: int = 64
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    validation: Literal["clients", "split"] = "clients"
    val_fraction: float = 0.1
    patience: int | None = 40
    halve_lr_after: int | None = None
    weighted: bool = True
    partition: Literal["iid", "by_class"] = "iid"
    classes_per_client: int = 2
    samples_per_class: tuple[int, int] = (1, 10)
    aggregation: Aggregator = WeightedMean()  # noqa: RUF009  (frozen)
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not (value is None and name in MAYBE) and (type(value) is not int or value < least):
                self._refuse(name, f"an integer of at least {least}")
        if self.clients_per_round is not None and self.clients_per_round > self.clients:
            self._refuse("clients_per_round", f"at most the number of clients, {self.clients}")
        if not _number(self.lr) or not 0 < self.lr < math.inf:
            self._refuse("lr", "a positive number")
        if not _number(self.val_fraction) or not 0 <= self.val_fraction < 1:
            self._refuse("val_fraction", "a number of at least 0 and below 1")
        if self.halve_lr_after is not None:
            if self.validation == "clients" and not self.val_fraction:
                self._refuse("halve_lr_after", "None without validation (val_fraction=0)")
            if self.halve_lr_after % self.evaluate_every:
                self._refuse("halve_lr_after", f"a multiple of evaluate_every, {self.evaluate_every}")
        if not isinstance(self.aggregation, Aggregator):
            self._refuse("aggregation", "an Aggregator, such as WeightedMean()")
        low, high = self._pair("betas")
        if not (0 <= low < 1 and 0 <= high < 1):
            self._refuse("betas", "two numbers in [0, 1)")
        low, high = self._pair("samples_per_class")
        if not (isinstance(low, int) and isinstance(high, int) and 1 <= low <= high):
            self._refuse("samples_per_class", "two integers (low, high) with 1 <= low <= high")
        if not isinstance(self.weighted, bool):
            self._refuse("weighted", "True or False")
        for name, options in OPTIONS.items():
            if getattr(self, name) not in options:
                raise unknown(name, getattr(self, name), options)

    def replace(self, **changes: Any) -> "Protocol":
        """Return a copy with some values changed."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise unknown("protocol setting", name, known)
        return dataclasses.replace(self, **changes)

    def untrained(self) -> "Protocol":
        """Return the protocol of no round that deals the images to the clients as this one does."""
        return Protocol(rounds=0, **{name: getattr(self, name) for name in DEALT_BY})

    def _pair(self, name: str) -> tuple[Any, Any]:
        value = getattr(self, name)
        if not isinstance(value, (tuple, list)) or len(value) != 2 or not all(map(_number, value)):
            self._refuse(name, "two numbers")
        object.__setattr__(self, name, tuple(value))  # a list, as YAML gives it, cannot be hashed
        return value[0], value[1]

    def _refuse(self, name: str, expected: str) -> None:
        raise ParameterError(f"{name} must be {expected}, got {getattr(self, name)!r}.")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
