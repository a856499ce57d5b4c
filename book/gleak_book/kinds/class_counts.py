"""How many images of each class an image set has, stored so that a reader without the images sees it too."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from gleak_lib.datasets.search import check_name
from gleak_lib.experiments import Context, Experiment, Output
from gleak_lib.experiments.encoding import stored_as


@stored_as("CensusCell")
@dataclass(frozen=True)
class ClassCountsExperiment(Experiment):
    """Images by class and split.

    Attributes:
        dataset: a name that `datasets.load` knows.
    """

    kind: ClassVar[str] = "census"

    dataset: str

    def __post_init__(self) -> None:
        check_name(self.dataset)

    def describe(self) -> str:
        return f"images by class of {self.dataset}"

    def run(self, context: Context) -> Output:
        """Return the number of classes, and for each split its images by class."""
        dataset = context.dataset(self.dataset)
        counts = {
            name: torch.bincount(getattr(dataset, name).labels, minlength=dataset.num_classes).tolist()
            for name in ("train", "val", "test")
        }
        about = {"num_classes": dataset.num_classes, "victims_only": dataset.victims_only}
        return Output(about | {"counts": counts})
