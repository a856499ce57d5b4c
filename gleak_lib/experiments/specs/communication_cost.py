"""What a client sends: bytes of one shared gradient, with its defense."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from gleak_lib import models
from gleak_lib.defenses import NO_DEFENSE, Defense, bytes_shared
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs.base import Output
from gleak_lib.experiments.specs.fields import defended
from gleak_lib.experiments.specs.on_weights import WeightsExperiment
from gleak_lib.experiments.specs.training import TrainingExperiment


@stored_as("TrafficCell")
@dataclass(frozen=True)
class CommunicationCostExperiment(WeightsExperiment):
    """Bytes of a gradient as it is shared, see `defenses.bytes_shared`; nothing is attacked.

    Attributes:
        training, rounds, victim_seed, seed, defense: as in `AttackExperiment`.
        victims: updates over which the bytes are averaged.
        batch_size: images behind an update; 64 is the local batch of 001 §V-A.
    """

    kind: ClassVar[str] = "traffic"

    training: TrainingExperiment
    rounds: int = 0
    victims: int = 2
    batch_size: int = 64
    victim_seed: int = 0
    seed: int = 0
    defense: Defense = NO_DEFENSE

    def describe(self) -> str:
        return (
            f"bytes of a gradient of {self.training.dataset}, {self.training.architecture}, after "
            f"{self.rounds} rounds, batches of {self.batch_size}{defended(self.defense)}"
        )

    def run(self, context: Context) -> Output:
        """Return the number of parameters, the mean bytes, and those of the same numbers in float32."""
        observation, _, _ = self.observed(context, torch.Generator().manual_seed(self.seed))
        count = models.count_parameters(observation.model)
        sent = bytes_shared(observation.gradients, self.defense)
        return Output({"parameters": count, "bytes": float(sent.double().mean()), "dense": 4 * count})
