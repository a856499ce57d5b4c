"""What a generator gives without any gradient: the control beside which an attack with it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from gleak_lib import datasets, generators, metrics
from gleak_lib.datasets import ImageDataset
from gleak_lib.datasets.base import SplitName
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import Context, Experiment, GeneratorExperiment, Output, Work, ranks
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs.fields import integers
from gleak_lib.experiments.specs.scores import EXAMPLES
from torch import Tensor

CONTROLS = ("one sample", "mean image", "nearest sample")
SCORES = ("mse", "psnr", "ssim", "rank")
AT_ONCE = 500  # samples


@stored_as("GeneratorControlCell")
@dataclass(frozen=True)
class GeneratorControlExperiment(Experiment):
    """Samples of each victim's class, held against the victim: one of them, their mean, and the nearest.

    The nearest (least squared error) is chosen by the truth: no attacker could, and what an attack finds
    beyond it, no luck explains.

    Attributes:
        generator: the description of the generator.
        dataset: the victims' image set.
        victims, victim_seed, split: as for `AttackExperiment`; at most 8 victims.
        samples: of each victim's class.
        seed: of the latents.
    """

    kind: ClassVar[str] = "generator-control"

    generator: GeneratorExperiment
    dataset: str
    victims: int = 8
    victim_seed: int = 0
    split: SplitName = "test"
    samples: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        integers(self, victims=1, victim_seed=0, samples=1, seed=None)
        if self.victims > EXAMPLES:
            raise ParameterError(f"There are at most {EXAMPLES} victims, got {self.victims}.")

    def check(self, dataset: ImageDataset) -> None:
        datasets.victims(dataset, self.victims, self.victim_seed, split=self.split)

    def work(self, images: Mapping[str, int]) -> Work:
        return Work(((self.kind, self.generator.width),), self.victims * self.samples)

    def describe(self) -> str:
        return (
            f"{self.samples:,} samples of {self.generator.describe()} beside {self.victims} victims of "
            f"{self.dataset} ({self.split}, seed {self.victim_seed})"
        )

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        """Return a row per control and victim; images are scored as they are."""
        found = figures["scores"]
        count = len(figures["labels"])
        columns = {name: [v for control in CONTROLS for v in found[control][name]] for name in SCORES}
        return {
            "control": [control for control in CONTROLS for _ in range(count)],
            "victim": list(range(count)) * len(CONTROLS),
            "true_label": figures["labels"] * len(CONTROLS),
            **columns,
        }

    def run(self, context: Context) -> Output:
        """Return the scores of the three, and their ranks among the training images (see `ranks`)."""
        dataset = context.dataset(self.dataset)
        truth, labels = datasets.victims(dataset, self.victims, self.victim_seed, split=self.split)
        generator = self.generator.trained(context)
        stream = torch.Generator().manual_seed(self.seed)
        found = [self._controls(generator, *pair, stream) for pair in zip(truth, labels, strict=True)]
        images = dict(zip(CONTROLS, map(torch.stack, zip(*found, strict=True)), strict=True))
        scores = {}
        for name, pred in images.items():
            values = {"mse": metrics.mse(pred, truth), "psnr": metrics.psnr(pred, truth)}
            values |= {"ssim": metrics.ssim(pred, truth), "rank": ranks(pred, truth, dataset.train.images)}
            scores[name] = {score: value.tolist() for score, value in values.items()}
        pictures = {"truth": truth, **images}
        examples = {
            n.replace(" ", "_"): (p * 255).round().to(torch.uint8).numpy() for n, p in pictures.items()
        }
        return Output({"labels": labels.tolist(), "scores": scores}, examples)

    def _controls(
        self, generator: Any, truth: Tensor, label: Tensor, stream: torch.Generator
    ) -> list[Tensor]:
        """Return one sample, the mean and the nearest, C x H x W each."""
        first = nearest = total = None
        least = torch.inf
        for start in range(0, self.samples, AT_ONCE):
            count = min(AT_ONCE, self.samples - start)
            z = torch.randn(count, generator.latent_size, generator=stream)
            with torch.no_grad():
                made = generators.sample(generator, z, label.expand(count)).cpu()
            errors = (made - truth).square().flatten(1).sum(1)
            if float(errors.min()) < least:
                least, nearest = float(errors.min()), made[errors.argmin()].clone()
            first = made[0].clone() if first is None else first
            total = made.sum(0) if total is None else total + made.sum(0)
        assert first is not None and nearest is not None and total is not None
        return [first, total / self.samples, nearest]
