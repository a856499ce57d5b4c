"""Whether a reconstruction points to its original among all images: re-identification by matching."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gleak_lib.datasets import Pixels
from gleak_lib.errors import ParameterError
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import Experiment, Output, Work
from gleak_lib.experiments.specs.scores import EXAMPLES

CHUNK = 4096  # candidates at once; as floats they take 50 MB


@stored_as("LinkageCell")
@dataclass(frozen=True)
class ReidentificationExperiment(Experiment):
    """The rank of each victim's own image among all training images, by likeness to its reconstruction.

    Likeness is the correlation of the pixels, which brightness and contrast do not change. It is what
    somebody could compute who holds the archive, a hospital for instance, and a picture without a name.

    Attributes:
        attack: at most 8 victims, the images that a result keeps.

    Raises:
        ParameterError: more victims, or victims of several images.
    """

    kind: ClassVar[str] = "linkage"

    attack: AttackExperiment

    def __post_init__(self) -> None:
        if self.attack.victims > EXAMPLES or self.attack.batch_size > 1:
            raise ParameterError(
                f"A linkage needs at most {EXAMPLES} victims of one image, got {self.attack.victims} of "
                f"{self.attack.batch_size}."
            )

    @property
    def subject(self) -> AttackExperiment:
        return self.attack

    def work(self, images: Mapping[str, int]) -> Work:
        return self.attack.work(images).under(self.kind)

    def describe(self) -> str:
        return f"linkage of what was found by {self.attack.describe()}"

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        ranks = figures["ranks"]
        return {"image": list(range(len(ranks))), "rank": ranks, "candidates": figures["candidates"]}

    def run(self, context: Context) -> Output:
        """Return the ranks (1: nothing in the set is more alike), and among how many images."""
        examples = self.attack.run(context).examples
        assert examples is not None
        truth, found = (
            torch.from_numpy(examples[name]).float() / 255 for name in ("truth", "reconstruction")
        )
        candidates = context.dataset(self.attack.training.dataset, self.pixel_statistics).train.images
        return Output({"ranks": ranks(found, truth, candidates).tolist(), "candidates": len(candidates)})


def ranks(found: Tensor, truth: Tensor, candidates: Pixels) -> Tensor:
    """Return for each of V reconstructions 1 + the number of candidates more alike than its original.

    Args:
        found, truth: V x C x H x W in [0, 1].
        candidates: N images; the originals among them do not count against themselves.
    """
    own = (standardized(found) * standardized(truth)).sum(1)
    more = torch.zeros(len(found), dtype=torch.long)
    for start in range(0, len(candidates), CHUNK):
        likeness = standardized(found) @ standardized(candidates[start : start + CHUNK]).T
        more += (likeness > own[:, None] + 1e-5).sum(1)
    return more + 1


def standardized(images: Tensor) -> Tensor:
    """Return N x CHW of mean 0 and length 1; an image of one color is all zeros."""
    flat = images.flatten(1)
    return torch.nn.functional.normalize(flat - flat.mean(1, keepdim=True), dim=1)
