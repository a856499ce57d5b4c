"""Handing out tasks and collecting what comes back, from one worker or from many."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait

from gleak_lib.experiments.context import Context
from gleak_lib.experiments.runner.executors import Workers
from gleak_lib.experiments.runner.planner import Queue, Task
from gleak_lib.experiments.runner.worker import Computed, Finished
from gleak_lib.experiments.specs.base import Experiment
from gleak_lib.experiments.store.result import Result

LOOK = 1.0  # seconds after which to see whether workers have come or gone

Outcome = tuple[Experiment, Finished | Result | BaseException | None]
"""What was computed, what somebody else has stored meanwhile (None: weights alone), or an error."""

Known = Callable[[Task], Sequence[Outcome] | None]
"""Says what somebody else has computed since the plan was made, None where it is still to do."""


def dispatch(
    queue: Queue, workers: Workers, context: Context, deadline: float | None, known: Known
) -> Iterator[Outcome]:
    """Compute the tasks of a queue, and yield each outcome as it comes.

    No more tasks are handed out than there are workers: so a worker that has become free is given a task
    like the one it has just computed, and the deadline can still decide about those that wait.

    Args:
        queue: holds at the end what was not begun.
        workers: who computes.
        context: where and how.
        deadline: seconds since the epoch after which no task is begun; neither is one that is expected to
            take longer than what is left. Those that run are let end.
        known: asked before each task.
    """
    running: dict[Future[list[Computed]], Task] = {}
    last: Task | None = None
    try:
        while True:
            free = workers.slots() - len(running)
            while free > 0 and (task := queue.take(last, _left(deadline))) is not None:
                if (outcomes := known(task)) is not None:
                    last = task
                    yield from _ended(queue, task, outcomes)
                    continue
                try:
                    running[workers.submit(task.experiments, context)] = task
                except (BrokenExecutor, RuntimeError) as error:  # it takes nothing more
                    queue.left.insert(0, task)
                    yield from _given_up(queue, running, error)
                    return
                free -= 1
            if not running:
                return
            for future in wait(running, LOOK, FIRST_COMPLETED).done:
                last = running.pop(future)
                yield from _ended(queue, last, _outcomes(last, future))
    finally:  # also when the caller is interrupted
        for future in running:
            future.cancel()


def _given_up(
    queue: Queue, running: dict[Future[list[Computed]], Task], error: BaseException
) -> Iterator[Outcome]:
    """The executor is broken: what still comes back, and the reason for the rest."""
    wait(running)
    for future, task in running.items():
        yield from _outcomes(task, future)
    reason = error if isinstance(error, BrokenExecutor) else BrokenExecutor(str(error))
    yield from [(experiment, reason) for task in queue.left for experiment in task.experiments]
    queue.left = []


def _outcomes(task: Task, future: Future[list[Computed]]) -> list[Outcome]:
    try:
        return list(zip(task.experiments, future.result(), strict=True))
    except CancelledError:
        error: BaseException = BrokenExecutor("the scheduler went away, or dropped the cell")
    except BaseException as raised:
        error = raised
    return [(experiment, error) for experiment in task.experiments]


def _ended(queue: Queue, task: Task, outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    """Pass outcomes on; experiments whose training failed fail for the same reason, and none trains again."""
    yield from outcomes
    error = next((outcome for _, outcome in outcomes if isinstance(outcome, BaseException)), None)
    for other in queue.ended(task, failed=error is not None):
        yield from [(experiment, error) for experiment in other.experiments]


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else deadline - time.time()
