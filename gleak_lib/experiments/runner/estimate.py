"""What a run will compute and how long that will take: said beforehand, and by `gleak status`."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gleak_lib.datasets.search import at_size
from gleak_lib.errors import GleakError
from gleak_lib.experiments import paths
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.runner import cost, probe
from gleak_lib.experiments.runner.planner import Queue, Task, plan
from gleak_lib.experiments.specs.base import Experiment
from gleak_lib.experiments.specs.fields import duration
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.experiments.store.store import Store


@dataclass(frozen=True)
class Estimate:
    """Tasks on a machine with so many workers.

    Attributes:
        tasks: what is to be computed.
        machine: of each worker, None where it is not known.
        workers: how many compute at once.
        origin: the other device that rough estimates were scaled from, None where there are none.
    """

    tasks: Sequence[Task]
    machine: cost.Machine | None
    workers: int = 1
    origin: str | None = None

    @property
    def seconds(self) -> float:
        """Expected duration of what is known: the sum shared out, but no less than the longest path."""
        known = [task for task in self.tasks if task.seconds is not None]
        total = sum(task.seconds or 0.0 for task in known)
        paths = [task.critical_path for task in known if task.critical_path != float("inf")]
        return max([total / self.workers, *paths], default=0.0)

    def __str__(self) -> str:
        """For instance "about 6 min on AMD EPYC (2 threads)", and what a rough estimate comes from."""
        if self.machine is None:
            return "no estimate: the workers are not known yet"
        where = f"on {self.machine}"
        if self.workers > 1:
            where = f"with {self.workers} workers {where}"
        count = sum(len(task.experiments) for task in self.tasks)
        unknown = sum(len(task.experiments) for task in self.tasks if task.seconds is None)
        if not count:
            return "nothing to compute"
        rough = f" (rough: what it took on {self.origin}, and some steps here)" if self.origin else ""
        if unknown == count:
            return f"no estimate {where}: nothing like it was measured there"
        if unknown:
            known = duration(self.seconds)
            return f"at least {known} {where}, and no estimate for {unknown} of {count} experiments{rough}"
        return f"about {duration(self.seconds)} {where}{rough}"

    def lines(self) -> list[str]:
        """Return the tasks as one after the other would take them, a line each."""
        queue, last, lines = Queue(self.tasks, parallel=self.workers > 1), None, []
        while (last := queue.take(last)) is not None:
            time = "?" if last.seconds is None else duration(last.seconds)
            lines += [
                f"{time:>10}  {experiment.kind} {experiment.key}  {experiment.describe()}"
                for experiment in last.experiments
            ]
            queue.ended(last)
        return lines


def estimate(
    missing: Sequence[Experiment],
    store: Store,
    context: Context,
    machine: cost.Machine | None,
    workers: int = 1,
    *,
    measure: bool = False,
) -> Estimate:
    """Return tasks that compute missing experiments, and how long they take.

    Args:
        missing: the experiments to compute, each once.
        store: its results, and those of the checkout, tell what experiments cost.
        context: says where trained weights are kept.
        machine: of each worker; None where it is not known.
        workers: how many compute at once.
        measure: where results of this machine do not tell, find out in some seconds how fast it is; else a
            rough estimate is made only where that was done before.
    """
    if machine is None or not missing:
        return Estimate(plan(missing, context), machine, workers)
    costs = cost.read(folders(store), machine)
    _count_images(missing, costs, context)
    found = Estimate(plan(missing, context, costs), machine, workers)
    unknown = [one for task in found.tasks if task.seconds is None for one in task.experiments]
    if any(costs.elsewhere(experiment) is not None for experiment in unknown):
        costs.step = probe.step_seconds(machine, measure=measure)
    if costs.step is None:
        return found
    return Estimate(plan(missing, context, costs), machine, workers, costs.origin)


def _count_images(experiments: Sequence[Experiment], costs: cost.Costs, context: Context) -> None:
    """Look how many training images there are in sets of which nothing is stored."""
    for name in {
        experiment.dataset_name
        for experiment in experiments
        if isinstance(experiment, TrainingExperiment) or experiment.needs
    }:
        plain = at_size(name)[0] if name else None
        if name and plain and plain not in costs.images:
            with contextlib.suppress(GleakError):  # it is not here: the run will say so
                costs.images[plain] = len(context.dataset(name).train)


def folders(store: Store) -> list[Path]:
    """Return the folders whose results tell what experiments cost: the store's, and the checkout's."""
    try:
        return [store.folder, paths.root() / "results"]
    except GleakError:
        return [store.folder]
