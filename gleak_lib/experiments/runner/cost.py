"""How long an experiment will take: the seconds of others like it on the same device, scaled by size.

An experiment says how much it computes (`Experiment.work`): a *size*, how often one unit of its work is done,
and *groups* of experiments whose units cost alike, the narrowest first. Its cost is its size times the
seconds per unit of the measured experiments in its narrowest group that has any of about its size (a small
run pays for compilation as a large one does): of the few that are nearest in size, the median. Where nothing
like it was measured on this device, it is roughly what it costs on the device of which most is stored, times
how much slower one known attack's step is here (`probe`).
"""

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from gleak_lib.attacks import ATTACKS
from gleak_lib.datasets.search import at_size
from gleak_lib.experiments.atomic import read_json
from gleak_lib.experiments.context import choose_device, device_name
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import Experiment, Work, from_json
from gleak_lib.experiments.specs.training import TrainingExperiment

NEAREST = 5  # so many measured experiments decide at most, those whose size is closest,
ALIKE = 4  # and none whose size differs by more than this factor beyond the closest
FAR = 16  # a group whose sizes all differ by more than this factor is asked after all others
REFERENCE = AttackExperiment(
    TrainingExperiment("cifar10"), attack=ATTACKS["ig"].replace(max_steps=3000), victims=32
)  # how fast it is compares devices; of this size are most of the stored ones


class Machine(NamedTuple):
    """What decides the cost of a unit, apart from the experiment: as written down with each result."""

    device: str
    threads: int
    compile: bool = False

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.device} ({threads}{', compiled' if self.compile else ''})"


class Measured(NamedTuple):
    """An experiment that was timed."""

    work: Work
    machine: Machine
    seconds: float


def here(device: str = "auto", compile: bool = False) -> Machine:
    """Return the machine that this process computes on."""
    return Machine(device_name(choose_device(device)), torch.get_num_threads(), compile)


class Costs:
    """Seconds that experiments are expected to take on one machine.

    Args:
        measured: what was timed, on any machine.
        machine: where the experiments are to run.
        images: training images of image sets, by their names without a size.

    Attributes:
        step: seconds that one image's step of `REFERENCE` takes on the machine; None, which allows no rough
            estimates, until somebody says.
    """

    def __init__(
        self, measured: Iterable[Measured], machine: Machine, images: Mapping[str, int] | None = None
    ) -> None:
        self.machine, self.images = machine, dict(images or {})
        self.step: float | None = None
        self._found: dict[tuple[Any, ...], list[tuple[bool, float, float]]] = {}
        self._devices: Counter[str] = Counter()
        for (groups, size), (device, threads, compiled), seconds in measured:
            if not size or not (size > 0 and 0 <= seconds < math.inf):
                continue
            self._devices[device] += 1
            for group in groups:
                found = self._found.setdefault((device, compiled, group), [])
                found.append((threads == machine.threads, size, seconds / size))

    def seconds(self, experiment: Experiment) -> float | None:
        """Return how long an experiment will take, if need be roughly; None where nothing tells."""
        found = self._on(self.machine.device, experiment)
        if found is not None or self.step is None or (seconds := self.elsewhere(experiment)) is None:
            return found
        theirs = self._on(self.origin, REFERENCE)
        return seconds * self.step * (REFERENCE.work({}).size or 1.0) / theirs if theirs else None

    def elsewhere(self, experiment: Experiment) -> float | None:
        """Return how long an experiment will take on `origin`; None where nothing tells."""
        return self._on(self.origin, experiment)

    @functools.cached_property
    def origin(self) -> str | None:
        """The device whose seconds are scaled: where most is stored, `REFERENCE` included; None of none."""
        others = [device for device, _ in self._devices.most_common() if device != self.machine.device]
        return next((device for device in others if self._on(device, REFERENCE)), None)

    def _on(self, device: str | None, experiment: Experiment) -> float | None:
        """How long it takes on a device.

        Sizes that are not far go before all others; then experiments that were compiled, or not, as asked,
        whatever their group; and within a group those with the same number of threads.
        """
        groups, size = experiment.work(self.images)
        if not size or size < 0:
            return None
        kinds = (self.machine.compile, not self.machine.compile)
        asked = [(compiled, group) for compiled in kinds for group in groups]
        for limit in (math.log(FAR), math.inf):
            for compiled, group in asked:
                if found := self._found.get((device, compiled, group)):
                    best = max(same_threads for same_threads, _, _ in found)
                    near = sorted((abs(math.log(size / s)), rate) for same, s, rate in found if same == best)
                    if (closest := near[0][0]) <= limit:
                        farthest = closest + math.log(ALIKE)
                        return size * median(rate for far, rate in near[:NEAREST] if far <= farthest)
        return None


def read(folders: Iterable[Path], machine: Machine) -> Costs:
    """Return costs from stored results.

    Args:
        folders: of results.
        machine: where experiments are to run.
    """
    images: dict[str, int] = {}
    stored: list[tuple[Experiment, Machine, float]] = []
    for folder in dict.fromkeys(Path(folder).resolve() for folder in folders):
        for path in sorted(folder.glob("*/*.json")):
            try:
                experiment, origin, seconds, counted = _timed(path, path.stat().st_mtime_ns)
            except Exception:  # failures, benchmarks, other versions' experiments, files damaged in any way
                continue
            images.update(counted)
            stored.append((experiment, origin, seconds))
    measured = []
    for experiment, origin, seconds in stored:
        with contextlib.suppress(OverflowError):  # an odd value, too large for a size
            measured.append(Measured(experiment.work(images), origin, seconds))
    return Costs(measured, machine, images)


@functools.lru_cache(maxsize=10_000)  # every chapter of a command asks for the same files
def _timed(path: Path, changed: int) -> tuple[Experiment, Machine, float, dict[str, int]]:
    """A stored experiment, where it ran, its seconds, and the number of training images of its set."""
    stored = read_json(path)
    origin = stored["provenance"]
    machine = Machine(str(origin["device"]), int(origin["threads"]), bool(origin["compile"]))
    seconds, data, experiment = float(origin["seconds"]), origin["data"], from_json(stored["cell"])
    counted = {at_size(data["name"])[0]: int(data["images"][0])} if data else {}
    return experiment, machine, seconds, counted
