"""What is to be computed, in which order: trainings before the experiments that need their weights.

`plan` makes tasks of the missing experiments, `Queue` hands them out. An experiment waits for the training
that makes its weights and for no other. Whoever has just computed a task gets one like it next, so that
weights, image set and compiled step serve again; where several work at once, what others wait for goes
first, and among equals what takes longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gleak_lib.experiments.context import Context
from gleak_lib.experiments.runner.cost import Costs
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import Experiment
from gleak_lib.experiments.specs.on_weights import needed_trainings, trajectory
from gleak_lib.experiments.specs.together import side_by_side
from gleak_lib.experiments.specs.trained_weights import path_of
from gleak_lib.experiments.specs.training import TrainingExperiment


@dataclass(frozen=True)
class Task:
    """What a worker is handed at once.

    Attributes:
        experiments: what is computed; more than one only where they are computed together, see `together` and
            `specs.together.side_by_side`.
        depends_on: the training in the plan that makes the weights it needs, if there is one.
        seconds: what it will take; None where nothing tells.
        critical_path: the same and the longest task that depends on it.
        affinity: image set, shape and weights, each None where there is none.
    """

    experiments: tuple[Experiment, ...]
    depends_on: TrainingExperiment | None = None
    seconds: float | None = None
    critical_path: float = 0.0
    affinity: tuple[Any, ...] = ()

    def like(self, other: "Task | None") -> int:
        """Return how much of another task serves this one: weights count most, then shape, then images."""
        if other is None:
            return 0
        agree = [a == b and a is not None for a, b in zip(self.affinity, other.affinity, strict=True)]
        return sum(2**number for number, same in enumerate(agree) if same)


def plan(missing: Sequence[Experiment], context: Context, costs: Costs | None = None) -> list[Task]:
    """Return the tasks that compute what is missing, in an order in which one worker can do them.

    A training that was asked for keeps the weights that others need; where none was, one is added.

    Args:
        missing: the experiments to compute, each once.
        context: says where trained weights are kept.
        costs: of experiments on the machine that computes; None knows none.
    """
    trainings, maker = _trainings(missing, context)
    tasks = [_task(group, None, costs) for group in together(trainings, context)]
    attacked = [experiment for experiment in missing if isinstance(experiment, AttackExperiment)]
    groups = side_by_side(attacked, context.device)
    of: dict[Experiment, tuple[Experiment, ...]] = {one: group for group in groups for one in group}
    for experiment in missing:
        group = of.get(experiment, (experiment,))
        if not isinstance(experiment, TrainingExperiment) and experiment == group[0]:
            tasks.append(_task(group, maker.get(experiment.needs), costs))
    longest: dict[Experiment | None, float] = {}
    for task in tasks:
        longest[task.depends_on] = max(longest.get(task.depends_on, 0.0), task.critical_path)
    return [
        replace(
            task, critical_path=task.critical_path + max(longest.get(one, 0.0) for one in task.experiments)
        )
        for task in tasks
    ]


def _trainings(
    missing: Sequence[Experiment], context: Context
) -> tuple[list[TrainingExperiment], dict[Experiment | None, TrainingExperiment]]:
    """Return all trainings to compute, and by weights that are lacking the training that makes them."""
    trainings = [experiment for experiment in missing if isinstance(experiment, TrainingExperiment)]
    maker: dict[Experiment | None, TrainingExperiment] = {}
    for last, rounds in needed_trainings(missing).items():
        lacking = tuple(r for r in rounds if not path_of(last.at(r), context).exists())
        if not lacking:
            continue
        fits = (
            number
            for number, training in enumerate(trainings)
            if training.protocol.rounds >= max(lacking) and trajectory(training) == trajectory(last)
        )
        if (place := next(fits, None)) is None:
            place = len(trainings)
            trainings.append(last.at(max(lacking)))
        chosen = trainings[place]
        trainings[place] = replace(chosen, keep=tuple(sorted({*chosen.keep, *lacking})))
        maker |= dict.fromkeys((last.at(r) for r in lacking), trainings[place])
    return trainings, maker


def together(
    trainings: Sequence[TrainingExperiment], context: Context
) -> list[tuple[TrainingExperiment, ...]]:
    """Return groups of trainings that are computed at once: on a GPU, those that differ in their seeds alone.

    A GPU stacks them (`federated.train_many`); processor cores are kept busy by the clients of one.
    """
    if context.device != "cuda":
        return [(training,) for training in trainings]
    groups: dict[TrainingExperiment, list[TrainingExperiment]] = {}
    for training in trainings:
        alike = groups.setdefault(replace(training, seed=0, keep=()), [])
        alike.append(training)
    return [tuple(group) for group in groups.values()]


def _task(
    experiments: tuple[Experiment, ...], depends_on: TrainingExperiment | None, costs: Costs | None
) -> Task:
    each = [None if costs is None else costs.seconds(experiment) for experiment in experiments]
    known = [seconds for seconds in each if seconds is not None]
    seconds = sum(known) if len(known) == len(each) else None
    first = experiments[0]
    source = first if isinstance(first, TrainingExperiment) else first.needs
    weights = trajectory(source) if isinstance(source, TrainingExperiment) else None
    affinity = (first.dataset_name, first.work({}).groups[0], weights)
    return Task(experiments, depends_on, seconds, float("inf") if seconds is None else seconds, affinity)


class Queue:
    """Tasks that wait to be computed.

    Args:
        tasks: as `plan` returns them.
        parallel: whether several workers take from it.

    Attributes:
        left: tasks that nobody took.
    """

    def __init__(self, tasks: Sequence[Task], *, parallel: bool = False) -> None:
        self.left, self.parallel = list(tasks), parallel
        self._awaited = {task.depends_on for task in tasks if task.depends_on is not None}
        self._unfinished = set(self._awaited)

    def take(self, last: Task | None = None, seconds: float | None = None) -> Task | None:
        """Return the next task and forget it; None where none can begin now.

        Args:
            last: what the one who asks has just computed.
            seconds: the time that is left; a task that is expected to take longer is not begun.
        """
        if seconds is not None and seconds <= 0:
            return None
        ready = [
            task for task in self.left if task.depends_on not in self._unfinished and _fits(task, seconds)
        ]
        if not ready:
            return None
        chosen = max(ready, key=lambda task: self._rank(task, last))
        self.left.remove(chosen)
        return chosen

    def ended(self, task: Task, *, failed: bool = False) -> list[Task]:
        """Let those begin that waited for `task`; if it failed, return them instead: they cannot."""
        waited = [other for other in self.left if other.depends_on in task.experiments] if failed else []
        self.left = [other for other in self.left if other not in waited]
        self._unfinished.difference_update(task.experiments)
        return waited

    def _rank(self, task: Task, last: Task | None) -> tuple[float, ...]:
        """Whoever is alone goes through the experiments as asked; `max` takes the first among equals."""
        if not self.parallel:
            return (task.like(last),)
        return (not self._awaited.isdisjoint(task.experiments), task.like(last), task.critical_path)


def _fits(task: Task, seconds: float | None) -> bool:
    return seconds is None or task.seconds is None or task.seconds <= seconds
