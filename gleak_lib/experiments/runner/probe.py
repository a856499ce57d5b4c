"""How fast this machine is, where nothing is stored of it: for estimates from what was stored of another.

One attack tells: Inverting Gradients on random images, some steps in about a second. That one figure stands
for everything, for trainings as well as for other architectures: an estimate scaled by it may be wrong by a
factor of two or three.
"""

import math
import time

import torch

from gleak_lib.attacks import invert, observe
from gleak_lib.experiments.runner.cost import REFERENCE, Machine, here
from gleak_lib.models import build
from gleak_lib.types import Observation

IMAGES = REFERENCE.victims
FEW, MANY = 4, 20  # steps: what begins and ends an attack is in both, and their difference has none of it
SECONDS = 2.0  # after which no further repetition is begun
MEASURED: dict[Machine, float] = {}  # seconds of a step, measured once a process


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
