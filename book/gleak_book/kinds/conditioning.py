"""How well gradients determine images, without any attack."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from gleak_lib import attacks
from gleak_lib.experiments import Context, Output, TrainingExperiment, WeightsExperiment
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs.fields import count, integers

COLUMNS = ("gradient_norm", "rms", "effective_rank", "flat")


@stored_as("ConditioningCell")
@dataclass(frozen=True)
class ConditioningExperiment(WeightsExperiment):
    """Singular values of the Jacobian of each image's gradient direction (`attacks.conditioning`).

    Attributes:
        training, rounds, victims, victim_seed, mode: as in `AttackExperiment`.
        probes: random directions per image; 0 takes all of them and is exact.
        seed: of the probes and the bottlenecks' noise.
    """

    kind: ClassVar[str] = "conditioning"
    unbounded: ClassVar[tuple[str, ...]] = ("flat",)  # of models without activations

    training: TrainingExperiment
    rounds: int = 0
    victims: int = 4
    victim_seed: int = 0
    probes: int = 8
    seed: int = 0
    mode: Literal["train", "eval"] = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        integers(self, probes=0)

    def describe(self) -> str:
        how = f"{self.probes} probes" if self.probes else "all directions"
        return (
            f"conditioning of {count(self.victims, 'image')} from {self.training.images}, "
            f"{self.training.architecture}, after {count(self.rounds, 'round')}, {how}, seed {self.seed}"
        )

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        found = {name: figures[name] for name in COLUMNS}
        return {"victim": list(range(len(found["rms"]))), **found}

    def run(self, context: Context) -> Output:
        """Return a value per image, and the singular values where all directions were taken."""
        dataset, model, images, labels = self.at_hand(context)
        found = attacks.conditioning(
            model,
            images,
            labels,
            mean=dataset.mean,
            std=dataset.std,
            probes=self.probes or None,
            generator=torch.Generator().manual_seed(self.seed),
        )
        figures: dict[str, Any] = {name: getattr(found, name).tolist() for name in COLUMNS}
        if found.singular_values is not None:
            figures["singular_values"] = found.singular_values.tolist()
        return Output(figures)
