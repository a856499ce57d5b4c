"""The runner: answer experiments from the store, compute those that are missing, keep each as it ends."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from gleak_lib.errors import GleakError, ParameterError, StoreError, TimeLimitError, shown
from gleak_lib.experiments import encoding
from gleak_lib.experiments.atomic import check_writable
from gleak_lib.experiments.context import Context, choose_device
from gleak_lib.experiments.runner.dispatch import Outcome, dispatch
from gleak_lib.experiments.runner.estimate import estimate
from gleak_lib.experiments.runner.executors import Workers
from gleak_lib.experiments.runner.executors import workers as hired
from gleak_lib.experiments.runner.planner import Queue, Task, plan
from gleak_lib.experiments.runner.stored import Others, stored
from gleak_lib.experiments.specs import trained_weights
from gleak_lib.experiments.specs.base import Experiment, leaves
from gleak_lib.experiments.specs.fields import duration
from gleak_lib.experiments.store.frames import Results
from gleak_lib.experiments.store.result import Result
from gleak_lib.experiments.store.store import Store

NAMED = 5  # experiments that a message names
Found = dict[Experiment, Result | None]


def run(
    experiments: Iterable[Any],
    store: Store,
    *,
    device: str = "auto",
    executor: Executor | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
    time_limit: float | None = None,
    compile: bool = False,
    data: str | Path | None = None,
) -> Results:
    """Return the results of experiments in the order asked, computing those that the store lacks.

    Experiments asked for twice run once, and so do trainings whose weights several attacks need; an
    experiment that needs trained weights begins as soon as its own training has ended. A stored result that
    was computed on other images of the same name (as far as these are there to compare) is computed again.
    Each result is stored as it ends: an interruption, even `kill -9`, loses unfinished experiments only.
    Results and trained weights do not notice an edit of a user's own code (a model, a defense, a part of an
    attack): after one, pass a store with other folders, or delete the files made with the old code.

    Where none of `executor`, `workers` and `scheduler` is given, this process computes, one experiment at a
    time.

    Args:
        experiments: what to compute: a list, a dict, or any nesting of them.
        store: where results are looked for and kept.
        device: "cpu", "cuda", or "auto" for CUDA where there is one; the workers of a cluster choose.
        executor: any `concurrent.futures` executor, to run several at once; processes must be spawned,
            and the variable OMP_NUM_THREADS should share the cores among them. `client.get_executor()` of
            `dask.distributed` takes the experiments to other machines.
        workers: number of processes on this machine, which share its cores.
        scheduler: address of a dask scheduler, for instance "tcp://head:8786".
        progress: show a bar over the experiments, and, one at a time, those of trainings and attacks.
        time_limit: seconds after which no further experiment is begun. One that is expected to take longer
            than what is left is not begun either.
        compile: let attacks fuse their steps with `torch.compile`; figures may differ in the last digits.
        data: folder of the image sets; None means `GLEAK_DATA`, else the user's cache folder.

    Raises:
        DataError, UnknownNameError: At once, if none of the image sets can be read.
        GleakError: At once, if an experiment asks what its images do not have (more victims than there are, a
            model that does not fit them).
        StoreError: At once, if results or needed weights cannot be written, or no scheduler answers; at the
            end, if experiments failed (it names them; the others are stored).
        TimeLimitError: At the end, if the time was up (it names what was left out).
        ParameterError: If something is no experiment, the store is none, or the device is not there.
        MissingDependencyError: If a `scheduler` is given and dask.distributed is not installed.
    """
    if not isinstance(store, Store):
        raise ParameterError(f"run: store must be a Store, as Store(folder) is, got {shown(store)}.")
    asked = list(leaves(experiments))
    for experiment in asked:
        if not isinstance(experiment, Experiment):
            raise ParameterError(f"run takes experiments, got {type(experiment).__name__}: {experiment!r}.")
        if problem := encoding.mistyped(experiment):
            raise ParameterError(f"{problem}.")
    deadline = None if time_limit is None else time.time() + time_limit
    context = Context(store.cache, device, None if data is None else Path(data), compile=compile)
    choose_device("auto" if device == "cuda" else device)  # an unknown name is refused in any case
    found = {experiment: stored(experiment, store, context) for experiment in dict.fromkeys(asked)}
    missing = [experiment for experiment, result in found.items() if result is None]
    if missing:
        with hired(executor, workers, scheduler) as who:
            errors, left = _compute(missing, found, store, context, who, deadline, progress)
        _complain(missing, found, errors, left, store)
    return Results(result for experiment in asked if (result := found[experiment]) is not None)


def _compute(
    missing: Sequence[Experiment],
    found: Found,
    store: Store,
    context: Context,
    who: Workers,
    deadline: float | None,
    progress: bool,
) -> tuple[dict[Experiment, BaseException], list[Task]]:
    """Fill `found` with what was missing; return errors, and tasks that were not begun."""
    check_writable(store.folder, "nothing was computed, name another folder by --output or GLEAK_RESULTS.")
    if who.client is None:  # else the workers look for devices and images, maybe on other machines
        context = replace(context, device=choose_device(context.device))
        if any(task.depends_on for task in plan(missing, context)):
            trained_weights.check_writable(context)
    _check(missing, context, needed=who.client is None)
    ahead = estimate(missing, store, context, who.machine(context.device, context.compile), who.slots())
    queue = Queue(ahead.tasks, parallel=not who.alone)
    others = Others(missing, store, context)
    with _bar(len(found), len(found) - len(missing), progress) as bar:
        inner = bar is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)  # not into log files
        context = replace(context, progress=inner and who.alone)
        ended = dispatch(queue, who, context, deadline, others.done)
        errors = _collect(ended, set(missing), found, store, bar)
    return errors, queue.left


def _check(missing: Sequence[Experiment], context: Context, *, needed: bool) -> None:
    """Refuse the run where an experiment asks what its images, as far as they are here, do not have.

    Where they are `needed` here, one set at least has to be readable: else no experiment can run.
    """
    sets: dict[Any, list[Experiment]] = {}
    for experiment in missing:
        sets.setdefault((experiment.dataset_name, experiment.pixel_statistics), []).append(experiment)
    errors: list[GleakError] = []
    for (name, statistics), experiments in sets.items():
        if name is None:
            continue
        try:
            dataset = context.dataset(name, statistics)
        except GleakError as error:
            errors.append(error)  # its experiments will say so, or other machines have it
            continue
        for experiment in experiments:
            try:
                experiment.check(dataset)
            except GleakError as error:
                raise type(error)(f"{experiment.describe()}: {error} Nothing was computed.") from error
    if needed and errors and len(errors) == len(sets):
        raise errors[0]


def _collect(
    ended: Iterator[Outcome], wanted: set[Experiment], found: Found, store: Store, bar: Any
) -> dict[Experiment, BaseException]:
    """Store what ends, and return the errors; trainings that only attacks wanted leave weights, no result."""
    errors: dict[Experiment, BaseException] = {}
    for experiment, outcome in ended:
        if isinstance(outcome, BaseException):
            errors[experiment] = outcome
            if not isinstance(outcome, BrokenExecutor):
                store.put_failure(experiment, outcome)
        elif isinstance(outcome, Result):  # another run has stored it meanwhile
            found[experiment] = outcome
        elif outcome is not None and experiment in wanted:
            found[experiment] = store.put(
                experiment, outcome.output.figures, outcome.provenance, outcome.output.examples
            )
        if bar is not None:
            bar.set_postfix_str(experiment.describe()[:60], refresh=False)
            bar.update(int(experiment in wanted))
    return errors


def _bar(total: int, done: int, show: bool) -> Any:
    """Return a bar over the experiments, as a context manager; of None where none is shown."""
    try:
        from tqdm.auto import tqdm
    except ImportError:  # a run is worth more than its bar
        show = False
    return (
        tqdm(total=total, initial=done, desc="experiments", unit="experiment")
        if show
        else contextlib.nullcontext()
    )


def _complain(
    missing: Sequence[Experiment],
    found: Found,
    errors: dict[Experiment, BaseException],
    left: Sequence[Task],
    store: Store,
) -> None:
    unfinished = [experiment for experiment in missing if found[experiment] is None]
    done = len(found) - len(unfinished)
    if errors:
        alike: dict[str, list[Experiment]] = {}  # a missing archive fails every experiment: it is said once
        for experiment, error in errors.items():
            alike.setdefault(f"{type(error).__name__}: {error}", []).append(experiment)
        shown = "".join(f"\n  {_named(experiments)}: {reason}" for reason, experiments in alike.items())
        failed = len(errors.keys() & found.keys())  # without trainings that only others needed
        raise StoreError(
            f"{failed} of {len(found)} experiments failed; the {done} finished ones are stored in "
            f"{store.folder}, and the next run tries the others again:{shown}"
        ) from next(iter(errors.values()))
    if unfinished:
        raise TimeLimitError(
            f"The time limit came before {len(unfinished)} of {len(found)} experiments; the "
            f"{done} finished ones are stored in {store.folder}: run again to go on. "
            f"Left out: {_left_out(left)}."
        )


def _left_out(tasks: Sequence[Task]) -> str:
    shown = []
    for task in tasks[:NAMED]:
        expected = "no estimate" if task.seconds is None else duration(task.seconds)
        shown.append(f"{task.experiments[0].describe()} ({expected})")
    more = len(tasks) - len(shown)
    return "; ".join([*shown, f"and {more} more"] if more else shown)


def _named(experiments: Sequence[Experiment]) -> str:
    first = f"{experiments[0].kind} {experiments[0].key} ({experiments[0].describe()})"
    return first if len(experiments) == 1 else f"{first} and {len(experiments) - 1} more"
