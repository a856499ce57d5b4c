"""The runner: answer cells from the store, compute those that are missing, keep each as it ends."""

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import replace
from pathlib import Path

from gleak_lib.datasets import Statistics
from gleak_lib.errors import GleakError, ParameterError, StoreError, TimeLimitError
from gleak_lib.experiments import encoding
from gleak_lib.experiments.atomic import check_writable
from gleak_lib.experiments.context import Context, choose_device, same_data
from gleak_lib.experiments.runner.dispatch import Outcome, dispatch
from gleak_lib.experiments.runner.estimate import look
from gleak_lib.experiments.runner.executors import Crew, compiles, crew
from gleak_lib.experiments.runner.planner import Queue, Task, plan
from gleak_lib.experiments.runner.progress import Report
from gleak_lib.experiments.specs import trained_weights
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.fields import duration
from gleak_lib.experiments.specs.trained_weights import path_of
from gleak_lib.experiments.specs.training import TrainingCell
from gleak_lib.experiments.store.frames import Results
from gleak_lib.experiments.store.result import Result
from gleak_lib.experiments.store.store import Store

DEADLINE = "GLEAK_DEADLINE"  # seconds since the epoch, set by `gleak run --time-limit`
NAMED = 5  # cells that a message names


def run(
    cells: Iterable[Cell],
    store: Store,
    *,
    device: str = "auto",
    executor: Executor | None = None,
    progress: bool = True,
    time_limit: float | None = None,
    compile: bool | None = None,
    data: str | Path | None = None,
) -> Results:
    """Return the results of cells in the order asked, computing those that the store lacks.

    Cells asked for twice run once, and so do trainings whose weights several attacks need; a cell that needs
    trained weights begins as soon as its own training has ended. A stored result that was computed on other
    images of the same name (as far as these are there to compare) is computed again. Each result is stored
    as it ends: an interruption, even `kill -9`, loses unfinished cells only.

    Args:
        cells: what to compute.
        store: where results are looked for and kept.
        device: "cpu", "cuda", or "auto" for CUDA where there is one; the workers of a cluster choose.
        executor: any `concurrent.futures` executor, to run several cells at once; processes must be spawned,
            and the variable OMP_NUM_THREADS should share the cores among them. `client.get_executor()` of
            `dask.distributed` takes the cells to other machines. None runs one at a time, unless
            `GLEAK_SCHEDULER` or `GLEAK_WORKERS` names workers (`gleak run --scheduler`, `--workers`).
        progress: show a bar over the cells, and, one at a time, those of trainings and attacks.
        time_limit: seconds after which no further cell is begun. One that is expected to take longer than
            what is left is not begun either.
        compile: let attacks fuse their steps with `torch.compile`; figures may differ in the last digits.
            None means `GLEAK_COMPILE` (`gleak run --compile`), else no.
        data: folder of the image sets; None means `GLEAK_DATA`, else the user's cache folder.

    Raises:
        DataError, UnknownNameError: at once, where none of the image sets can be read.
        GleakError: at once, where a cell asks what its images do not have (more victims than there are, a
            model that does not fit them).
        StoreError: at once, where results or needed weights cannot be written; at the end, where cells
            failed (it names them; the others are stored).
        TimeLimitError: at the end, where the time was up (it names what was left out).
        ParameterError: something that is no cell, or a device that there is not.
    """
    asked = list(cells)
    for cell in asked:
        if not isinstance(cell, Cell):
            raise ParameterError(f"run takes cells, got {type(cell).__name__}: {cell!r}.")
        if problem := encoding.mistyped(cell):
            raise ParameterError(f"{problem}.")
    deadline = _deadline(time_limit)
    context = Context(store.cache, device, None if data is None else Path(data), compile=compiles(compile))
    choose_device("auto" if device == "cuda" else device)  # an unknown name is refused in any case
    found = {cell: _stored(cell, store, context) for cell in dict.fromkeys(asked)}
    missing = [cell for cell, result in found.items() if result is None]
    if missing:
        with crew(executor) as who:
            tasks = _compute(missing, found, store, context, who, deadline, progress)
        _complain(missing, found, *tasks, store)
    return Results(result for cell in asked if (result := found[cell]) is not None)


def _compute(
    missing: Sequence[Cell],
    found: dict[Cell, Result | None],
    store: Store,
    context: Context,
    who: Crew,
    deadline: float | None,
    progress: bool,
) -> tuple[dict[Cell, BaseException], list[Task]]:
    """Fill `found` with what was missing; return errors, and tasks that were not begun."""
    check_writable(store.folder, "nothing was computed, name another folder by --output or GLEAK_RESULTS.")
    if who.client is None:  # else the workers look for devices and images, maybe on other machines
        context = replace(context, device=choose_device(context.device))
        _need_some_images(missing, context)
        if any(task.waits for task in plan(missing, context)):
            trained_weights.check_writable(context)
    _check(missing, context)
    outlook = look(missing, store, context, who.machine(context.device, context.compile), who.slots())
    queue = Queue(outlook.tasks, parallel=who.executor is not None)
    stamps = {cell: _stamp(cell, store) for cell in missing}

    def known(task: Task) -> list[Outcome] | None:
        return _known(task, stamps, store, context)

    with Report(len(found), len(found) - len(missing), progress, str(outlook)) as report:
        context = replace(context, progress=report.inner and who.executor is None)
        ended = dispatch(queue, who, context, deadline, known)
        errors = _collect(ended, set(missing), found, store, report)
    return errors, queue.left


def _known(
    task: Task, stamps: dict[Cell, int | None], store: Store, context: Context
) -> list[Outcome] | None:
    """What somebody else has stored since the run began, where that is the whole task."""
    outcomes: list[Outcome] = []
    for cell in task.cells:
        if cell in stamps:
            changed = _stamp(cell, store) not in (None, stamps[cell])
            result = _stored(cell, store, context) if changed else None
            if result is None:
                return None
            outcomes.append((cell, result))
        elif isinstance(cell, TrainingCell):  # it is there for its weights alone
            if not all(path_of(cell.at(rounds), context).exists() for rounds in cell.keep):
                return None
            outcomes.append((cell, None))
    return outcomes


def _stamp(cell: Cell, store: Store) -> int | None:
    try:
        return store.path(cell).stat().st_mtime_ns
    except OSError:
        return None


def _need_some_images(missing: Sequence[Cell], context: Context) -> None:
    """Raise at once where none of the image sets can be read: then no cell can run."""
    errors: list[GleakError] = []
    names: set[tuple[str | None, Statistics]] = {(c.dataset_name, c.pixel_statistics) for c in missing}
    for name, statistics in names:
        if name is None:
            continue
        try:
            context.dataset(name, statistics)
            return
        except GleakError as error:
            errors.append(error)
    if errors and len(errors) == len(names):
        raise errors[0]


def _check(missing: Sequence[Cell], context: Context) -> None:
    """Refuse the run where a cell asks what its images, as far as they are here, do not have."""
    sets: dict[tuple[str | None, Statistics], None]
    sets = dict.fromkeys((cell.dataset_name, cell.pixel_statistics) for cell in missing)
    for name, statistics in sets:
        if name is None:
            continue
        try:
            dataset = context.dataset(name, statistics)
        except GleakError:
            continue  # its cells will say so, or other machines have them
        for cell in missing:
            if (cell.dataset_name, cell.pixel_statistics) == (name, statistics):
                try:
                    cell.check(dataset)
                except GleakError as error:
                    raise type(error)(f"{cell.describe()}: {error} Nothing was computed.") from error


def _stored(cell: Cell, store: Store, context: Context) -> Result | None:
    result = store.get(cell)
    if result is None or cell.dataset_name is None or not result.provenance.get("data"):
        return result
    try:
        here = context.signature(cell.dataset_name, cell.pixel_statistics)
    except GleakError:  # no images to compare with: a reader without them still sees the stored figures
        return result
    if same_data(result.provenance["data"], here):
        return result
    warnings.warn(
        f"{store.path(cell)} was computed on other images named {cell.dataset_name}: computed again.",
        stacklevel=3,
    )
    return None


def _collect(
    ended: Iterator[Outcome],
    wanted: set[Cell],
    found: dict[Cell, Result | None],
    store: Store,
    report: Report,
) -> dict[Cell, BaseException]:
    """Store what ends, and return the errors; trainings that only attacks wanted leave weights, no result."""
    errors: dict[Cell, BaseException] = {}
    for cell, outcome in ended:
        if isinstance(outcome, BaseException):
            errors[cell] = outcome
            if not isinstance(outcome, BrokenExecutor):
                store.put_failure(cell, outcome)
        elif isinstance(outcome, Result):  # another run has stored it meanwhile
            found[cell] = outcome
        elif outcome is not None and cell in wanted:
            found[cell] = store.put(cell, outcome.output.figures, outcome.provenance, outcome.output.examples)
        report.ended(cell.describe(), outcome, counts=cell in wanted)
    return errors


def _complain(
    missing: Sequence[Cell],
    found: dict[Cell, Result | None],
    errors: dict[Cell, BaseException],
    left: Sequence[Task],
    store: Store,
) -> None:
    unfinished = [cell for cell in missing if found[cell] is None]
    done = len(found) - len(unfinished)
    if errors:
        alike: dict[str, list[Cell]] = {}  # a missing archive fails every cell: it is said once
        for cell, error in errors.items():
            alike.setdefault(f"{type(error).__name__}: {error}", []).append(cell)
        shown = "".join(f"\n  {_named(cells)}: {reason}" for reason, cells in alike.items())
        failed = len(errors.keys() & found.keys())  # without trainings that only others needed
        raise StoreError(
            f"{failed} of {len(found)} cells failed; the {done} finished ones are stored in "
            f"{store.folder}, and the next run tries the others again:{shown}"
        ) from next(iter(errors.values()))
    if unfinished:
        raise TimeLimitError(
            f"The time limit came before {len(unfinished)} of {len(found)} cells; the {done} finished ones "
            f"are stored in {store.folder}: run again to go on. Left out: {_left_out(left)}."
        )


def _left_out(tasks: Sequence[Task]) -> str:
    shown = [
        f"{task.cells[0].describe()} ({'no estimate' if task.seconds is None else duration(task.seconds)})"
        for task in tasks[:NAMED]
    ]
    more = len(tasks) - len(shown)
    return "; ".join([*shown, f"and {more} more"] if more else shown)


def _named(cells: Sequence[Cell]) -> str:
    first = f"{cells[0].kind} {cells[0].key} ({cells[0].describe()})"
    return first if len(cells) == 1 else f"{first} and {len(cells) - 1} more"


def _deadline(time_limit: float | None) -> float | None:
    limits = [] if time_limit is None else [time.time() + time_limit]
    if os.environ.get(DEADLINE):
        try:
            limits.append(float(os.environ[DEADLINE]))
        except ValueError:
            given = os.environ[DEADLINE]
            raise ParameterError(f"{DEADLINE} must be a time in seconds, got {given!r}.") from None
    return min(limits, default=None)
