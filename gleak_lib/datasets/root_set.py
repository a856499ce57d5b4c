"""Images that are named and not held, so that an experiment's options can say which they are."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gleak_lib.datasets.base import SPLITS, ImageDataset, SplitName
from gleak_lib.datasets.victims import victims
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.grammar import Noun
from gleak_lib.typed import typed


@typed
@dataclass(frozen=True)
class RootSet(Noun):
    """A few public images, such as a defender looks at before the training (004 §4: 100 suffice).

    Attributes:
        dataset: name of the image set.
        images: how many.
        seed: of the draw, see `victims`; fewer images with the same seed are the start of more.
        split: where they are drawn from; by default from images that no client holds.
        bias: share of the images that belong to one class, which the seed draws, the others are of other
            classes (004 Table III C, "bias probability"; Cao et al. 2021 call it so: with ten classes 0.1 is
            no bias). None draws without regard to classes.
    """

    dataset: str
    images: int = 100
    seed: int = 0
    split: SplitName = "test"
    bias: float | None = None

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ParameterError(f"A root set needs at least one image, got images={self.images}.")
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        if self.bias is not None and not 0 <= self.bias <= 1:
            raise ParameterError(f"bias must be None or in [0, 1], got {self.bias}.")

    def draw(self, dataset: ImageDataset) -> tuple[Tensor, Tensor]:
        """Return the images, N x C x H x W in [0, 1], and their N labels.

        Raises:
            ParameterError: If `dataset` has another name, or fewer images.
            DataError: If the split is empty.
        """
        if dataset.name != self.dataset:
            raise ParameterError(f"{self} names images of {self.dataset}, got the image set {dataset.name}.")
        if self.bias is None:
            return victims(dataset, self.images, self.seed, split=self.split)
        one = np.random.RandomState(self.seed).randint(dataset.num_classes)
        favored = dataset.split(self.split).labels == one
        count = round(self.bias * self.images)
        parts = [
            victims(dataset, number, self.seed, split=self.split, among=mask.nonzero().flatten())
            for number, mask in ((count, favored), (self.images - count, ~favored))
            if number
        ]
        images, labels = zip(*parts, strict=True)
        return torch.cat(images), torch.cat(labels)
