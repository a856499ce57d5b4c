"""What is to be computed, in which order: trainings before the cells that need their weights.

`plan` makes tasks of the missing cells, `Queue` hands them out. A cell waits for the training that makes its
weights and for no other. Whoever has just computed a task gets one like it next, so that weights, image set
and compiled step serve again; where several work at once, what others wait for goes first, and among equals
what takes longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gleak_lib.experiments.context import Context
from gleak_lib.experiments.runner.cost import Costs
from gleak_lib.experiments.specs.attack import AttackCell, side_by_side
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.on_weights import needed_trainings, trajectory
from gleak_lib.experiments.specs.trained_weights import path_of
from gleak_lib.experiments.specs.training import TrainingCell


@dataclass(frozen=True)
class Task:
    """What a worker is handed at once.

    Attributes:
        cells: what is computed; more than one only where they are computed together, see `together` and
            `specs.attack.side_by_side`.
        depends_on: the training in the plan that makes the weights it needs, if there is one.
        seconds: what it will take; None where nothing tells.
        critical_path: the same and the longest task that depends on it.
        affinity: image set, shape and weights, each None where there is none.
    """

    cells: tuple[Cell, ...]
    depends_on: TrainingCell | None = None
    seconds: float | None = None
    critical_path: float = 0.0
    affinity: tuple[Any, ...] = ()

    def like(self, other: "Task | None") -> int:
        """Return how much of another task serves this one: weights count most, then shape, then images."""
        if other is None:
            return 0
        agree = [a == b and a is not None for a, b in zip(self.affinity, other.affinity, strict=True)]
        return sum(2**number for number, same in enumerate(agree) if same)


def plan(missing: Sequence[Cell], context: Context, costs: Costs | None = None) -> list[Task]:
    """Return the tasks that compute what is missing, in an order in which one worker can do them.

    A training that was asked for keeps the weights that others need; where none was, one is added.

    Args:
        missing: the cells to compute, each once.
        context: says where trained weights are kept.
        costs: of cells on the machine that computes; None knows none.
    """
    trainings = [cell for cell in missing if isinstance(cell, TrainingCell)]
    maker: dict[TrainingCell, TrainingCell] = {}  # by the weights that are lacking
    for last, rounds in needed_trainings(missing).items():
        lacking = tuple(r for r in rounds if not path_of(last.at(r), context).exists())
        if not lacking:
            continue
        fits = [
            number
            for number, training in enumerate(trainings)
            if training.protocol.rounds >= max(lacking) and trajectory(training) == trajectory(last)
        ]
        if fits:
            chosen = trainings[fits[0]]
            trainings[fits[0]] = replace(chosen, keep=tuple(sorted({*chosen.keep, *lacking})))
        else:
            trainings.append(replace(last.at(max(lacking)), keep=lacking))
        maker |= dict.fromkeys((last.at(r) for r in lacking), trainings[fits[0] if fits else -1])
    others = [cell for cell in missing if not isinstance(cell, TrainingCell)]
    tasks = [_task(cells, None, costs) for cells in together(trainings, context)]
    attacked = [cell for cell in others if isinstance(cell, AttackCell)]
    of: dict[Cell, tuple[Cell, ...]] = {}
    of |= {group[0]: group for group in side_by_side(attacked, context.device)}
    joined = {cell for group in of.values() for cell in group[1:]}
    tasks += [
        _task(
            of.get(cell, (cell,)),
            maker.get(cell.needs) if isinstance(cell.needs, TrainingCell) else None,
            costs,
        )
        for cell in others
        if cell not in joined
    ]
    longest: dict[TrainingCell, float] = {}
    for task in tasks:
        if (needed := task.depends_on) is not None:
            longest[needed] = max(longest.get(needed, 0.0), task.critical_path)
    return [
        replace(task, critical_path=task.critical_path + max(longest.get(cell, 0.0) for cell in task.cells))  # type: ignore[arg-type]
        for task in tasks
    ]


def together(trainings: Sequence[TrainingCell], context: Context) -> list[tuple[TrainingCell, ...]]:
    """Return groups of trainings that are computed at once: on a GPU, those that differ in their seeds alone.

    A GPU stacks them (`federated.train_many`); processor cores are kept busy by the clients of one.
    """
    if context.device != "cuda":
        return [(training,) for training in trainings]
    groups: dict[TrainingCell, list[TrainingCell]] = {}
    for training in trainings:
        alike = groups.setdefault(replace(training, seed=0, keep=()), [])
        alike.append(training)
    return [tuple(group) for group in groups.values()]


def _task(cells: tuple[Cell, ...], depends_on: TrainingCell | None, costs: Costs | None) -> Task:
    each = [None if costs is None else costs.seconds(cell) for cell in cells]
    known = [seconds for seconds in each if seconds is not None]
    seconds = sum(known) if len(known) == len(each) else None
    first = cells[0]
    source = first if isinstance(first, TrainingCell) else first.needs
    weights = trajectory(source) if isinstance(source, TrainingCell) else None
    affinity = (first.dataset_name, first.work({}).groups[0], weights)
    return Task(cells, depends_on, seconds, float("inf") if seconds is None else seconds, affinity)


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
        waited = [other for other in self.left if other.depends_on in task.cells] if failed else []
        self.left = [other for other in self.left if other not in waited]
        self._unfinished.difference_update(task.cells)
        return waited

    def _rank(self, task: Task, last: Task | None) -> tuple[float, ...]:
        """Whoever is alone goes through the cells as asked; `max` takes the first of those that are equal."""
        if not self.parallel:
            return (task.like(last),)
        return (not self._awaited.isdisjoint(task.cells), task.like(last), task.critical_path)


def _fits(task: Task, seconds: float | None) -> bool:
    return seconds is None or task.seconds is None or task.seconds <= seconds
