"""How much of an image each layer's gradient tells, on public images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gleak_lib.datasets import ImageDataset, RootSet
from gleak_lib.datasets.base import SplitName
from gleak_lib.defenses.slices import estimated_risk
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import Context, Output, TrainingExperiment, WeightsExperiment
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs.fields import defended


@stored_as("LeakageRiskCell")
@dataclass(frozen=True)
class LeakageRiskExperiment(WeightsExperiment):
    """Risk of each layer as `SlicePerturbation` estimates it on these weights (`defenses.leakage_risk`).

    Attributes:
        training, rounds: as in `AttackExperiment`.
        root: the public images.
        norm: p of the Jacobian's norm; with another than 2 the risk is computed exactly.
    """

    kind: ClassVar[str] = "risk"

    training: TrainingExperiment
    root: RootSet
    rounds: int = 0
    norm: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.norm < math.inf:
            raise ParameterError(f"norm must be a finite number of at least 1, got {self.norm}.")

    @property
    def victims(self) -> int:  # type: ignore[override]
        """Number of images whose gradients are looked at."""
        return self.root.images

    @property
    def split(self) -> SplitName:
        """Where they are from."""
        return self.root.split

    def check(self, dataset: ImageDataset) -> None:
        super().check(dataset)
        self.root.draw(dataset)

    def describe(self) -> str:
        return (
            f"leakage risk of layers on {self.root}, {self.training.architecture}, after {self.rounds} rounds"
            f"{defended(self.training.defense)}, seed {self.training.seed}"
        )

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        names = {"layers": "layer", "sizes": "size", "risk": "risk", "error": "error"}
        return {column: figures[name] for name, column in names.items()}

    def run(self, context: Context) -> Output:
        """Return the layers in the model's order, their entries, their risks and standard errors."""
        dataset = context.dataset(self.training.dataset, self.training.statistics)
        found = estimated_risk(self.training.trained(context).train(), dataset, self.root, self.norm)
        return Output(
            {
                "layers": list(found.layers),
                "sizes": list(found.sizes),
                "risk": list(found.values),
                "error": list(found.errors),
            }
        )
