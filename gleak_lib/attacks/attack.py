"""An attack that takes steps, composed of parts."""

from dataclasses import dataclass
from typing import Any

import torch

from gleak_lib.attacks import engine
from gleak_lib.attacks.inversion import Inversion
from gleak_lib.attacks.parts import Parts
from gleak_lib.typed import typed
from gleak_lib.types import Observation, Reconstruction


@typed
@dataclass(frozen=True)
class Attack(Parts, Inversion):
    """A gradient-inversion attack (001 Eq. 1); by default Inverting Gradients as 001 §V-B runs it.

    Attributes:
        name: what tables call it.
        match: which gradients are compared, and how.
        priors: what else is minimized: functions of the images, `TotalVariation`, `LabelDistance`, ...; those
            of weight 0 are left out.
        labels: the dummies' labels: `Known()`, `Inferred()` or `Optimized()`.
        noise: of the dummies' bottlenecks: `Resample()`, `Fixed()`, `Given()` or `Optimize()`.
        variables: what is searched in: `Pixels()`, or `Variables` of your own.
        optimizer: `Adam()`, `LBFGS()`, or an `Optimizer` of your own.
        schedule: learning rate and stop rule.
        restarts: how often it starts anew; the lowest loss wins.
        keep: the returned iterate: the one whose loss was lowest (`evaluated`), or, as in the CVB paper's
            code, the one a step further (`next`).
    """

    @property
    def kind(self) -> str:
        return type(self.optimizer).__name__.lower()

    @property
    def evaluations(self) -> int:
        return self.schedule.max_steps * self.noise.samples * self.restarts * self.optimizer.evaluations

    def matched(self, observation: Observation) -> tuple[str, ...]:
        return self.match.names(observation)

    def run(
        self, observation: Observation, *, generator: torch.Generator | None = None, **options: Any
    ) -> Reconstruction:
        return engine.run([observation], self, generators=[generator], **options)
