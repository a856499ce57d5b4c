"""What the store gives back for an experiment, and views of it that plots and tables take."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gleak_lib.errors import StoreError
from gleak_lib.experiments import encoding
from gleak_lib.experiments.specs.base import Experiment
from gleak_lib.experiments.specs.scores import QUANTILES

SHOWN: set[str] = set()
"""Results whose pictures were asked for in this process, as "kind/key"; `make tidy` keeps these."""


@dataclass(frozen=True, eq=False)
class Result:
    """A finished experiment.

    Attributes:
        experiment: what was asked.
        figures: plain numbers, rounded to six digits; see `specs.scores`.
        provenance: versions, device, images, seconds and date of the run.
        examples: a few images, uint8 N x C x H x W each (`truth`, `reconstruction`), or None.
    """

    experiment: Experiment
    figures: dict[str, Any]
    provenance: dict[str, Any]
    examples: dict[str, np.ndarray] | None = None

    def images(self, name: str) -> Tensor:
        """Return the example images `truth` or `reconstruction`, N x C x H x W in [0, 1].

        Raises:
            StoreError: the experiment keeps no such images.
        """
        if self.examples is None or name not in self.examples:
            raise StoreError(
                f"{self.experiment.describe()} keeps no images named {name!r}: the repository has "
                "pictures of what the published chapters show, and no others. To compute it again, "
                "with its pictures, delete "
                f"{self.experiment.kind}/{self.experiment.key}.json in the folder of results."
            )
        SHOWN.update(f"{self.experiment.kind}/{key}" for key in encoding.keys(self.experiment))
        return torch.from_numpy(self.examples[name]).float() / 255

    def trace(self) -> tuple[Tensor, Tensor]:
        """Return T steps and T x 5 losses, as `plots.traces` takes them.

        The five columns are least, quartiles and largest over the victims: their quartiles are the victims'.
        """
        stored = self.figures["trace"]
        losses = [[np.nan if v is None else v for v in stored[name]] for name in QUANTILES]
        return torch.tensor(stored["step"]), torch.tensor(losses, dtype=torch.float64).T
