"""Federated training: partitions of the data over clients, and federated averaging (001 §V-A)."""

from gleak_lib.federated.aggregation import Aggregator, WeightedMean
from gleak_lib.federated.compensation import Compensation
from gleak_lib.federated.fedavg import clients_of, evaluate, train, train_many
from gleak_lib.federated.history import History
from gleak_lib.federated.local import Defense
from gleak_lib.federated.partition import Client, by_class, hold_out, iid
from gleak_lib.federated.protocol import Protocol

__all__ = [
    "Aggregator",
    "Client",
    "Compensation",
    "Defense",
    "History",
    "Protocol",
    "WeightedMean",
    "by_class",
    "clients_of",
    "evaluate",
    "hold_out",
    "iid",
    "train",
    "train_many",
]
