"""An attack watched while it runs: the dummies of a few victims at some of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from gleak_lib.attacks import Attack, Known, Resample
from gleak_lib.attacks.engine import on_device
from gleak_lib.attacks.noise import drawing
from gleak_lib.attacks.objective import Problem
from gleak_lib.attacks.step import Step
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import Context, Output, TrainingExperiment, WeightsExperiment, Work
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs.fields import defended, integers
from gleak_lib.experiments.specs.on_weights import steps
from gleak_lib.pixels import denormalize
from gleak_lib.types import Observation

MOST = 8  # victims: each adds frames x C x H x W bytes to what is stored


@stored_as("MovieCell")
@dataclass(frozen=True)
class AnimationExperiment(WeightsExperiment):
    """The dummies, not the best iterates, of an attack on V images at up to `frames` of its steps.

    The steps are those that `attacks.invert` takes from the same seed.

    Attributes:
        training, rounds, victim_seed, seed: as in `AttackExperiment`.
        attack: an iterative attack that resamples noise and knows the labels, in one trial.
        victims: V, at most 8.
        frames: most frames, the starting point among them; they lie closer together at the beginning.
    """

    kind: ClassVar[str] = "movie"

    training: TrainingExperiment
    rounds: int = 0
    attack: Attack = field(default_factory=Attack)
    victims: int = 4
    frames: int = 30
    victim_seed: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        integers(self, frames=2)
        if not 1 <= self.victims <= MOST:
            raise ParameterError(f"A movie shows 1 to {MOST} victims, got {self.victims}.")
        if not 2 <= self.frames <= 100:
            raise ParameterError(f"A movie has 2 to 100 frames, got {self.frames}.")
        if not isinstance(self.attack, Attack):
            raise ParameterError("A movie needs an attack that takes steps; a closed form has none.")
        for name, value in {"labels": Known(), "noise": Resample()}.items():
            if getattr(self.attack, name) != value:
                raise ParameterError(f"A movie needs an attack with {name}={value!r}.")
        for name, value in {"restarts": 1, "statistics_weight": 0}.items():
            if self.attack.settings[name] != value:
                raise ParameterError(f"A movie needs an attack with {name}={value!r}.")

    def describe(self) -> str:
        return (
            f"movie of {self.attack.name} on {self.training.architecture}, {self.training.dataset}, "
            f"after {self.rounds} rounds{defended(self.training.defense)}, {self.victims} victims, "
            f"{self.attack.schedule.max_steps} steps"
        )

    def work(self, images: Mapping[str, int]) -> Work:
        return steps(self.training, self.attack, self.victims).under(self.kind)

    def run(self, context: Context) -> Output:
        """Return the steps shown and the loss at each (frames x V); the images are `truth` and `frames`."""
        generator = torch.Generator().manual_seed(self.seed)
        observation, images, _ = self.observed(context, generator)
        steps = shown(self.attack.schedule.max_steps, self.frames)
        found, losses = watch(observation, self.attack, steps, generator)
        figures: dict[str, Any] = {"steps": list(found), "loss": losses}
        frames = np.concatenate([found[step] for step in found])
        truth = (images.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        return Output(figures, {"truth": truth, "frames": frames})


def shown(steps: int, frames: int) -> list[int]:
    """Return which steps to show: 0, the last, and others in between that grow geometrically."""
    between = np.geomspace(1, steps, frames - 1).round().astype(int).tolist()
    return sorted({0, *between, steps})


def watch(
    observation: Observation, attack: Attack, steps: list[int], generator: torch.Generator
) -> tuple[dict[int, np.ndarray], list[list[float]]]:
    """Run an attack; return the dummies after each of `steps` (uint8, V x C x H x W) and their losses."""
    names = attack.matched(observation)
    device = next(iter(observation.gradients.values())).device
    stream = on_device(generator, device)
    assert observation.labels is not None
    problem = Problem.of(observation, observation.labels, names, attack.match)
    step = Step(observation, attack, names)
    state = step.start(attack.variables.start(observation, stream))
    draw = drawing(observation, 1, stream)
    frames, losses = {}, []
    for t in range(1, max(steps) + 2):  # a step tells the loss of the point it starts from
        x = attack.variables.images(state.unknowns, observation)
        image = denormalize(x, observation.mean, observation.std).squeeze(1)
        state, loss = step(state, problem, draw(), t)
        if t - 1 in steps:
            frames[t - 1] = (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
            losses.append(loss.tolist())
    return frames, losses
