"""A generator of the server's own: a frozen description, whose weights are trained where they are missing."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from gleak_lib import generators
from gleak_lib.attacks import Attack, Inversion, Latent
from gleak_lib.datasets import ImageDataset
from gleak_lib.datasets.search import at_size, check_name
from gleak_lib.errors import ParameterError
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs import trained_weights
from gleak_lib.experiments.specs.base import Experiment, Output, Work
from gleak_lib.experiments.specs.fields import integers
from gleak_lib.generators import DCGAN

CURVE_POINTS = 100  # of the losses that are stored


@stored_as("GeneratorCell")
@dataclass(frozen=True)
class GeneratorExperiment(Experiment):
    """A DCGAN trained on a training split; it stands in an attack: `Latent(GeneratorExperiment(...))`.

    Its weights lie beside those of trainings and are no part of any result.

    Attributes:
        dataset: a name that `datasets.load` knows.
        latent_size, width: see `generators.DCGAN`.
        conditional: whether it is told the classes.
        steps, batch_size, lr, seed, ema: see `generators.train`.
    """

    kind: ClassVar[str] = "generator"

    dataset: str
    latent_size: int = 64
    width: int = 24
    conditional: bool = True
    steps: int = 1_500
    batch_size: int = 64
    lr: float = 4e-4
    seed: int = 0
    ema: float = 0.0

    def __post_init__(self) -> None:
        integers(self, latent_size=1, width=1, steps=1, batch_size=2, seed=None)
        if not self.lr > 0:
            raise ParameterError(f"lr must be positive, got {self.lr}.")
        if not 0 <= self.ema < 1:
            raise ParameterError(f"ema must be in [0, 1), got {self.ema}.")
        check_name(self.dataset)

    def describe(self) -> str:
        told = "told the classes" if self.conditional else "told no classes"
        return f"DCGAN on {self.dataset}, {self.steps:,} steps, {told}, seed {self.seed}"

    def work(self, images: Mapping[str, int]) -> Work:
        name = at_size(self.dataset)[0]
        return Work(((self.kind, self.width, name), (self.kind, self.width)), self.steps * self.batch_size)

    def check(self, dataset: ImageDataset) -> None:
        dataset.require_training()

    def build(self, dataset: ImageDataset) -> DCGAN:
        """Return the network without its weights."""
        classes = dataset.num_classes if self.conditional else 0
        gray = dataset.train.images.stored.shape[1] == 1
        made = DCGAN(self.latent_size, dataset.input_shape[0], classes, self.width, gray)
        return made.eval().requires_grad_(False)

    def trained(self, context: Context) -> DCGAN:
        """Return the generator, trained now if its weights are not at hand."""
        made = self.build(context.dataset(self.dataset))
        state = trained_weights.load(self, context, made)
        if state is None:
            return self._train(context)[0].to(context.device)
        made.load_state_dict(state)
        return made.to(context.device)

    def run(self, context: Context) -> Output:
        """Train, keep the weights, and return the losses; the examples are one sample of each class."""
        made, losses = self._train(context)
        steps = np.unique(np.linspace(1, self.steps, min(CURVE_POINTS, self.steps)).round().astype(int))
        curves = {name: [values[step - 1] for step in steps] for name, values in losses.items()}
        count = sum(p.numel() for p in made.parameters())
        images = len(context.dataset(self.dataset).train)
        z = torch.randn(10, self.latent_size, generator=torch.Generator().manual_seed(self.seed))
        told = torch.arange(10) % max(made.classes, 1)
        pixels = (made.cpu().sample(z, told) * 255).round().to(torch.uint8).numpy()
        figures = {"parameters": count, "images": images, "loss": {"step": steps.tolist(), **curves}}
        return Output(figures, {"samples": pixels})

    def _train(self, context: Context) -> tuple[DCGAN, dict[str, list[float]]]:
        dataset = context.dataset(self.dataset)
        made, losses = generators.train(
            dataset.train.images,
            dataset.train.labels,
            classes=dataset.num_classes if self.conditional else 0,
            latent_size=self.latent_size,
            width=self.width,
            steps=self.steps,
            batch_size=self.batch_size,
            lr=self.lr,
            ema=self.ema,
            seed=self.seed,
            device=context.device,
            progress=context.progress,
        )
        trained_weights.save(self, made.state_dict(), context)
        return made, losses


def described(attack: Inversion) -> GeneratorExperiment | None:
    """Return the description of the generator that an attack searches with, if it has one."""
    if isinstance(attack, Attack) and isinstance(attack.variables, Latent):
        generator = attack.variables.generator
        return generator if isinstance(generator, GeneratorExperiment) else None
    return None


def with_weights(attack: Inversion, context: Context) -> Inversion:
    """Return the attack with its generator trained, where it only describes one."""
    generator = described(attack)
    if generator is None or not isinstance(attack, Attack):
        return attack
    variables = dataclasses.replace(attack.variables, generator=generator.trained(context))  # type: ignore[type-var]
    return attack.replace(variables=variables)
