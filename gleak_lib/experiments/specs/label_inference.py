"""How many labels the gradients give away, without any attack on the images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gleak_lib import attacks, datasets
from gleak_lib.attacks.label_inference import RULES
from gleak_lib.datasets import ImageDataset
from gleak_lib.errors import unknown
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs.base import Output
from gleak_lib.experiments.specs.fields import defended
from gleak_lib.experiments.specs.on_weights import WeightsExperiment
from gleak_lib.experiments.specs.training import TrainingExperiment


@stored_as("LabelCell")
@dataclass(frozen=True)
class LabelInferenceExperiment(WeightsExperiment):
    """Accuracy of the label rules: the sign rule for one image, another for more.

    Attributes:
        training, rounds, victims, batch_size, victim_seed, seed: as in `AttackExperiment`.
        distinct: whether no class stands twice in a batch, as GradInversion's rule assumes.
        rule: for more than one image, see `attacks.infer_batch`: `gradinversion`, which takes no batch with
            more images than classes, or `counts`, which attacks use wherever they infer labels.
    """

    kind: ClassVar[str] = "labels"

    training: TrainingExperiment
    rounds: int = 0
    victims: int = 128
    batch_size: int = 1
    distinct: bool = False
    victim_seed: int = 0
    seed: int = 0
    rule: str = "gradinversion"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("label rule", self.rule, RULES)
        super().__post_init__()

    def describe(self) -> str:
        batches = "distinct classes" if self.distinct else "random images"
        how = " by counts" if self.rule == "counts" else ""
        return (
            f"labels inferred{how} on {self.training.dataset}, {self.training.architecture}, after "
            f"{self.rounds} rounds{defended(self.training.defense)}, {self.victims} batches of "
            f"{self.batch_size}, {batches}, seed {self.seed}"
        )

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        return {"victim": list(range(len(figures["accuracy"]))), **figures}

    def drawn(self, dataset: ImageDataset) -> tuple[Tensor, Tensor]:
        return datasets.victims(
            dataset, self.victims, self.victim_seed, batch_size=self.batch_size, distinct_labels=self.distinct
        )

    def run(self, context: Context) -> Output:
        """Return, batch by batch, the share of labels found and the number of classes in it."""
        generator = torch.Generator().manual_seed(self.seed)
        observation, _, labels = self.observed(context, generator, share_labels=False)
        truth = labels.reshape(self.victims, self.batch_size)
        found = attacks.infer(observation, self.rule).cpu()
        return Output(
            {
                "accuracy": attacks.label_accuracy(found, truth).tolist(),
                "classes": [len(set(batch)) for batch in truth.tolist()],
            }
        )
