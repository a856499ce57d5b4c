"""Images that are named and not held, so that an experiment's options can say which they are."""

from dataclasses import dataclass

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
    """

    dataset: str
    images: int = 100
    seed: int = 0
    split: SplitName = "test"

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ParameterError(f"A root set needs at least one image, got images={self.images}.")
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)

    def draw(self, dataset: ImageDataset) -> tuple[Tensor, Tensor]:
        """Return the images, N x C x H x W in [0, 1], and their N labels.

        Raises:
            ParameterError: If `dataset` has another name, or fewer images.
            DataError: If the split is empty.
        """
        if dataset.name != self.dataset:
            raise ParameterError(f"{self} names images of {self.dataset}, got the image set {dataset.name}.")
        return victims(dataset, self.images, self.seed, batch_size=1, split=self.split)
