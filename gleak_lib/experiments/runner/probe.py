"""A rough estimate where nothing is stored of a machine: what experiments took elsewhere, times its speed.

How fast it is tells one attack: Inverting Gradients on random images, some steps in about a second, beside
what the same steps took on the machine of which most is stored. That one figure stands for everything, for
trainings as well as for other architectures: such an estimate may be wrong by a factor of two or three.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable

import torch

from gleak_lib.attacks import ATTACKS, invert, observe
from gleak_lib.experiments.runner.cost import Costs, Machine, here
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import Experiment
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.models import build
from gleak_lib.types import Observation

IMAGES = 32
REFERENCE = AttackExperiment(
    TrainingExperiment("cifar10"), attack=ATTACKS["ig"].replace(max_steps=3000), victims=IMAGES
)  # of this size are most of the stored ones
FEW, MANY = 4, 20  # steps: what begins and ends an attack is in both, and their difference has none of it
SECONDS = 2.0  # after which no further repetition is begun
MEASURED: dict[Machine, float] = {}  # seconds of a step, measured once a process


class Rough(Costs):
    """Costs that scale what another machine took where this one tells nothing.

    Args:
        known: costs on this machine.
        step: seconds that an image's step of the reference attack takes here.

    Attributes:
        origin: the device whose seconds are scaled, the one of which most is stored; None where none serves.
    """

    def __init__(self, known: Costs, step: float) -> None:
        super().__init__(known.measured, known.machine, known.images)
        self.origin, self._other = None, None
        for device, _ in Counter(one.machine.device for one in self.measured).most_common():
            other = Costs(self.measured, self.machine._replace(device=device), self.images)
            if device != self.machine.device and (seconds := other.seconds(REFERENCE)):
                self.origin, self._other = device, other
                self._factor = step * (REFERENCE.work({}).size or 1.0) / seconds
                return

    def seconds(self, experiment: Experiment) -> float | None:
        """Return how long it will take, if need be roughly; None where none like it was measured."""
        seconds = super().seconds(experiment)
        if seconds is not None or self._other is None:
            return seconds
        elsewhere = self._other.seconds(experiment)
        return None if elsewhere is None else self._factor * elsewhere


def serves(known: Costs, experiments: Iterable[Experiment]) -> bool:
    """Return whether measuring a step would tell of experiments that are not known on this machine."""
    rough = Rough(known, 1.0)
    return any(
        rough.seconds(experiment) is not None
        for experiment in experiments
        if known.seconds(experiment) is None
    )


def step_seconds(machine: Machine, *, measure: bool) -> float | None:
    """Return the seconds of one image's step of the reference attack; None where it is not known.

    Args:
        machine: what will compute; it has to be this one.
        measure: do so now (some seconds), unless it was done before.
    """
    if measure and machine not in MEASURED and machine.device == here("auto").device:
        MEASURED[machine] = _measured(machine)
    return MEASURED.get(machine)


def _measured(machine: Machine) -> float:
    threads, device = torch.get_num_threads(), "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(machine.threads)
    try:
        model = build(REFERENCE.training.model, seed=0).to(device)
        images = torch.rand(IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        observed = observe(model, images.to(device), torch.arange(IMAGES, device=device) % 10)
        end = time.perf_counter() + SECONDS
        _seconds(observed, 1)  # what is done once a process is not counted
        few = many = math.inf
        while many == math.inf or time.perf_counter() < end:  # the shortest: others may use this machine, too
            few, many = min(few, _seconds(observed, FEW)), min(many, _seconds(observed, MANY))
        return (many - few if many > few else many) / (MANY - FEW) / IMAGES
    finally:
        torch.set_num_threads(threads)


def _seconds(observed: Observation, steps: int) -> float:
    """How long some steps take; what begins and ends an attack is in it."""
    attack, generator = REFERENCE.attack.replace(max_steps=steps), torch.Generator().manual_seed(0)
    began = time.perf_counter()
    invert(observed, attack, generator=generator)
    return time.perf_counter() - began
