"""What an attack's gradients do on the way: similarity to the client's, layer by layer, step by step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gleak_lib.attacks import Attack, Known
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackExperiment, Context, Experiment, Output, Work
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.pixels import normalize

from gleak_book.kinds.gradient_watch import Watch

WATCHABLE = {
    "noise_samples": 1,
    "restarts": 1,
    "statistics": "own",
    "stop_after": 0,
    "stop_below": 0,
}
"""Settings that a watched attack must have: one gradient a step, and every victim runs through all steps."""


@stored_as("TracksCell")
@dataclass(frozen=True)
class GradientTracksExperiment(Experiment):
    """An attack, watched: the dummy's gradients beside the client's (001 §III-A, Figs. 5 and 6).

    The dummy's gradients are those that the attack itself sees, under the noise of that very step.

    Attributes:
        attacked: the attack; every victim must run through all of its steps (see `WATCHABLE`).
        points: at most so many steps on a curve, half of them spread evenly, half on a log scale.
        tail: steps at the end, all of them looked at, over which mean and fluctuation are taken.
        shown: the first so many victims keep curves of their own, and tracks of two gradient entries.
    """

    kind: ClassVar[str] = "tracks"

    attacked: AttackExperiment
    points: int = 120
    tail: int = 200
    shown: int = 3

    def __post_init__(self) -> None:
        attack = self.attacked.attack
        if not isinstance(attack, Attack):
            raise ParameterError("An attack can be watched only if it takes steps.")
        has = attack.settings
        wrong = [f"{name}={value!r}" for name, value in WATCHABLE.items() if has[name] != value]
        wrong += [] if attack.labels == Known() else ["labels=Known()"]
        if wrong:
            raise ParameterError(
                f"An attack can be watched only with {', '.join(wrong)}: use attack.replace(...)."
            )
        if not self.attacked.share_labels or self.attacked.updates > 1:
            raise ParameterError("An attack can be watched only with share_labels=True and updates=1.")
        if not 2 <= self.tail <= has["max_steps"]:
            raise ParameterError(
                f"tail must be 2 to {has['max_steps']}, the attack's max_steps, got {self.tail}."
            )
        if self.points < 2 or not 1 <= self.shown <= self.attacked.victims:
            raise ParameterError(
                f"points must be at least 2 and shown 1 to {self.attacked.victims}, the number of victims, "
                f"got {self.points} and {self.shown}."
            )

    @property
    def subject(self) -> AttackExperiment:
        return self.attacked

    def work(self, images: Mapping[str, int]) -> Work:
        return self.attacked.work(images).under(self.kind)

    def describe(self) -> str:
        return f"tracks of gradients: {self.attacked.describe()}"

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        """Return the rows of the attack that was watched."""
        return self.attacked.rows(figures, scaling)

    def run(self, context: Context) -> Output:
        """Run the attack, and return its figures and what was watched (`tracks`)."""
        seen, attack = self.attacked.seen(context), self.attacked.attack
        assert isinstance(attack, Attack)  # it was looked at
        most = attack.schedule.max_steps
        watch = Watch(
            seen.observation,
            recorded(most, self.points),
            range(most - self.tail + 1, most + 1),
            self.shown,
            torch.Generator().manual_seed(self.attacked.seed),
        )
        output = self.attacked.invert(seen, context, watch)
        pixels = normalize(seen.images.to(context.device), seen.observation.mean, seen.observation.std)
        signal = {"truth": watch.signal(pixels), "dummy": watch.signal(watch.image)}
        return Output({**output.figures, "tracks": watch.figures() | {"signal": signal}}, output.examples)


def recorded(steps: int, points: int) -> list[int]:
    """Return at most `points` steps from the first to the last, half evenly spaced, half by ratio."""
    even = np.linspace(1, steps, points - points // 2)
    ratio = np.geomspace(1, steps, points // 2)
    return np.unique(np.concatenate([even, ratio]).round().astype(int)).tolist()
