"""How long an experiment will take: the seconds of others like it on the same device, scaled by size.

An experiment says how much it computes (`Experiment.work`): a *size*, how often one unit of its work is done,
and *groups* of experiments whose units cost alike, the narrowest first. Its cost is its size times the
seconds per unit of the measured experiments in its narrowest group that has any: of the few that are nearest
in size, the median. Where nothing like it was measured on this device there is no estimate from here; `probe`
has a rough one.
"""

import contextlib
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from gleak_lib.attacks import LBFGS
from gleak_lib.datasets.search import at_size
from gleak_lib.errors import StoreError
from gleak_lib.experiments.atomic import read_json
from gleak_lib.experiments.context import choose_device, device_name
from gleak_lib.experiments.specs import shapes
from gleak_lib.experiments.specs.base import Experiment, Work, from_json
from gleak_lib.experiments.store import benchmarks

NEAREST = 5  # so many measured experiments decide at most, those whose size is closest,
ALIKE = 4  # and none whose size differs by more than this factor beyond the closest
# what runs an attack's step as `invert` does, and whether that was compiled
CPU_METHODS = {"engine": False, "fast": False, "compiled": True}
CUDA_METHODS = {"engine": False, "graph": False, "graph, compiled": True}

Group = tuple[Any, ...]


class Machine(NamedTuple):
    """What decides the cost of a unit, apart from the experiment: as written down with each result."""

    device: str
    threads: int
    compile: bool = False

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.device} ({threads}{', compiled' if self.compile else ''})"


class Measured(NamedTuple):
    """An experiment, or a step of a benchmark, that was timed."""

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
    """

    def __init__(
        self, measured: Iterable[Measured], machine: Machine, images: Mapping[str, int] | None = None
    ) -> None:
        self.measured, self.machine, self.images = list(measured), machine, dict(images or {})
        self._found: dict[tuple[bool, Group], list[tuple[bool, float, float]]] = {}
        for (groups, size), (device, threads, compiled), seconds in self.measured:
            if device != machine.device or not size or not (size > 0 and 0 <= seconds < math.inf):
                continue
            for group in groups:
                found = self._found.setdefault((compiled, group), [])
                found.append((threads == machine.threads, size, seconds / size))

    def seconds(self, experiment: Experiment) -> float | None:
        """Return how long an experiment will take, None where nothing like it was measured on this machine.

        Experiments that were compiled, or not, as asked go before others, whatever their group; and within a
        group those with the same number of threads.
        """
        groups, size = experiment.work(self.images)
        if not size or size < 0:
            return None
        for compiled in (self.machine.compile, not self.machine.compile):
            for group in groups:
                if found := self._found.get((compiled, group)):
                    best = max(same_threads for same_threads, _, _ in found)
                    near = sorted((abs(math.log(size / s)), rate) for same, s, rate in found if same == best)
                    farthest = near[0][0] + math.log(ALIKE)
                    return size * median(rate for far, rate in near[:NEAREST] if far <= farthest)
        return None


def read(folders: Iterable[Path], machine: Machine) -> Costs:
    """Return costs from stored results, and from benchmarks for what no result on this machine tells.

    Args:
        folders: of results; each may have a folder `benchmarks`.
        machine: where experiments are to run.
    """
    images: dict[str, int] = {}
    there = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    stored = [entry for folder in there for entry in _stored(folder, images)]
    measured = list(_measured(stored, images))
    known = {
        (one.machine.compile, group)
        for one in measured
        if one.machine.device == machine.device
        for group in one.work.groups
    }
    steps = [step for folder in there for step in _benchmarks(folder / benchmarks.BENCHMARKS, machine.device)]
    measured += [one for one in steps if (one.machine.compile, one.work.groups[0]) not in known]
    return Costs(measured, machine, images)


def _stored(folder: Path, images: dict[str, int]) -> Iterator[tuple[Experiment, Machine, float]]:
    """Stored experiments with machine and seconds; the numbers of training images are noted on the way."""
    for path in sorted(folder.glob("*/*.json")):
        try:
            found = _timed(path, path.stat().st_mtime_ns)
        except (
            Exception
        ):  # failures, benchmarks, experiments of other versions, files damaged in whatever way
            continue
        images.update(found[3])
        yield found[:3]


@functools.lru_cache(maxsize=10_000)  # every chapter of a command asks for the same files
def _timed(path: Path, changed: int) -> tuple[Experiment, Machine, float, dict[str, int]]:
    """A stored experiment, where it ran, its seconds, and the number of training images of its set."""
    stored = read_json(path)
    origin = stored["provenance"]
    if problem := shapes.misfit(origin, shapes.PROVENANCE, "provenance"):
        raise StoreError(problem)
    machine = Machine(origin["device"], int(origin["threads"]), bool(origin["compile"]))
    seconds, data, experiment = float(origin["seconds"]), origin["data"], from_json(stored["cell"])
    counted = {at_size(data["name"])[0]: int(data["images"][0])} if data else {}
    return experiment, machine, seconds, counted


def _measured(
    stored: Iterable[tuple[Experiment, Machine, float]], images: Mapping[str, int]
) -> Iterator[Measured]:
    for experiment, origin, seconds in stored:
        with contextlib.suppress(OverflowError):  # an odd value, too large for a size
            yield Measured(experiment.work(images), origin, seconds)


def _benchmarks(folder: Path, device: str) -> Iterator[Measured]:
    """Steps that benchmarks/*.py timed on a device."""
    for row in benchmarks.latest(benchmarks.read(folder)):
        try:
            if row.machine["device"] == device and row.benchmark in ("throughput", "attacks"):
                yield from _row(row)
        except Exception:  # an odd value tells nothing
            continue


def _row(row: benchmarks.Row) -> Iterator[Measured]:
    """One line of attacks.json or throughput.json: milliseconds of a victim's step."""
    usual = CPU_METHODS if row.machine["kind"] == "cpu" else CUDA_METHODS
    settings, method = row.settings, str(row.settings["method"])
    if method not in usual or row.figures.get("ms") is None:
        return
    how, victims = str(settings["optimizer"]), float(settings["victims"])
    model = str(settings["model"]).partition(" ")[0]
    yield Measured(
        Work((("attack", how, "family", model),), victims * (LBFGS().inner_steps if how == "lbfgs" else 1)),
        Machine(str(row.machine["device"]), int(row.machine["threads"]), usual[method]),
        float(row.figures["ms"]) / 1000 * victims,
    )
