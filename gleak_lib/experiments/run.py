"""The runner: answer cells from the store, compute those that are missing, keep each as it ends."""

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gleak_lib.errors import GleakError, ParameterError, StoreError
from gleak_lib.experiments.base import Cell, Output
from gleak_lib.experiments.cells import TrainingCell, needed_trainings, trajectory
from gleak_lib.experiments.context import Context, choose_device, provenance, same_data
from gleak_lib.experiments.progress import Report
from gleak_lib.experiments.result import Result
from gleak_lib.experiments.store import Store
from gleak_lib.experiments.weights import path_of

DEADLINE = "GLEAK_DEADLINE"  # seconds since the epoch, set by `gleak run --time-limit`


class Finished(NamedTuple):
    """What a worker sends back."""

    output: Output
    provenance: dict[str, Any]


def run(
    cells: Iterable[Cell],
    store: Store,
    *,
    device: str = "auto",
    executor: Executor | None = None,
    progress: bool = True,
    time_limit: float | None = None,
    compile: bool = False,
    data: str | Path | None = None,
) -> list[Result]:
    """Return the results of cells in the order asked, computing those that the store lacks.

    Cells asked for twice run once, and so do trainings whose weights several attacks need. A stored result
    that was computed on other images of the same name (as far as these are there to compare) is computed
    again. Each result is stored as it ends: an interruption, even `kill -9`, loses unfinished cells only.

    Args:
        cells: what to compute.
        store: where results are looked for and kept.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        executor: any `concurrent.futures` executor, to run several cells at once; processes must be spawned,
            and the variable OMP_NUM_THREADS should share the cores among them. None runs one at a time.
        progress: show a bar over the cells, and, one at a time, those of trainings and attacks.
        time_limit: seconds after which no further cell is begun.
        compile: let attacks fuse their steps with `torch.compile`; figures may differ in the last digits.
        data: folder of the image sets; None means `GLEAK_DATA`, else the user's cache folder.

    Raises:
        DataError, UnknownNameError: at once, where none of the image sets can be read.
        StoreError: at the end, where cells failed (it names them; the others are stored) or the time was up.
        ParameterError: something that is no cell, or a device that there is not.
    """
    asked = list(cells)
    for cell in asked:
        if not isinstance(cell, Cell):
            raise ParameterError(f"run takes cells, got {type(cell).__name__}: {cell!r}.")
    context = Context(store.cache, choose_device(device), None if data is None else Path(data))
    found = {cell: _stored(cell, store, context) for cell in dict.fromkeys(asked)}
    missing = [cell for cell, result in found.items() if result is None]
    if missing:
        _need_some_images(missing, context)
        with Report(len(found), len(found) - len(missing), progress) as report:
            one_by_one = executor is None
            context = replace(context, progress=report.inner and one_by_one, compile=compile)
            batches = _plan(missing, context)
            deadline = _deadline(time_limit)
            work = _in_turn if executor is None else _with(executor)
            ended = work(batches, context, deadline)
            errors = _collect(ended, set(missing), found, store, report)
        _complain(missing, found, errors, store)
    return [result for cell in asked if (result := found[cell]) is not None]


def _need_some_images(missing: Sequence[Cell], context: Context) -> None:
    """Raise at once where none of the image sets can be read: then no cell can run."""
    errors: list[GleakError] = []
    names = {cell.dataset_name for cell in missing}
    for name in names - {None}:
        try:
            context.dataset(str(name))
            return
        except GleakError as error:
            errors.append(error)
    if errors and len(errors) == len(names):
        raise errors[0]


Outcome = tuple[Cell, Finished | BaseException]
Worker = Callable[[Sequence[Sequence[Cell]], Context, float | None], Iterator[Outcome]]


def compute(cell: Cell, context: Context) -> Finished:
    """Run one cell, here or in another process."""
    began = time.perf_counter()
    output = cell.run(context)
    seconds = time.perf_counter() - began
    data = context.signature(cell.dataset_name) if cell.dataset_name else None
    return Finished(output, provenance(context, seconds, data))


def _stored(cell: Cell, store: Store, context: Context) -> Result | None:
    result = store.get(cell)
    if result is None or cell.dataset_name is None or not result.provenance.get("data"):
        return result
    try:
        here = context.signature(cell.dataset_name)
    except GleakError:  # no images to compare with: a reader without them still sees the stored figures
        return result
    if same_data(result.provenance["data"], here):
        return result
    warnings.warn(
        f"{store.path(cell)} was computed on other images named {cell.dataset_name}: computed again.",
        stacklevel=3,
    )
    return None


def _plan(missing: Sequence[Cell], context: Context) -> tuple[list[Cell], list[Cell]]:
    """Return what can run at once, trainings first, and then what needs trained weights.

    A training that was asked for keeps the weights that others need; where none was, one is added.
    """
    trainings = [cell for cell in missing if isinstance(cell, TrainingCell)]
    for last, rounds in needed_trainings(missing).items():
        lacking = tuple(r for r in rounds if not path_of(last.at(r), context).exists())
        if not lacking:
            continue
        fits = [t for t in trainings if t.protocol.rounds >= max(lacking) and _same_path(t, last)]
        if fits:
            place = trainings.index(fits[0])
            trainings[place] = replace(fits[0], keep=tuple(sorted({*fits[0].keep, *lacking})))
        else:
            trainings.append(replace(last.at(max(lacking)), keep=lacking))
    others = [cell for cell in missing if not isinstance(cell, TrainingCell)]
    later = [cell for cell in others if cell.needs is not None]
    return [*trainings, *(cell for cell in others if cell.needs is None)], later


def _same_path(one: TrainingCell, other: TrainingCell) -> bool:
    return trajectory(one) == trajectory(other)


def _in_turn(
    batches: Sequence[Sequence[Cell]], context: Context, deadline: float | None
) -> Iterator[Outcome]:
    for cell in (cell for batch in batches for cell in batch):
        if deadline is not None and time.time() >= deadline:
            return
        try:
            yield cell, compute(cell, context)
        except Exception as error:  # it is recorded, and the other cells go on
            yield cell, error


def _with(executor: Executor) -> Worker:
    def work(
        batches: Sequence[Sequence[Cell]], context: Context, deadline: float | None
    ) -> Iterator[Outcome]:
        for batch in batches:
            if deadline is not None and time.time() >= deadline:
                return
            futures: dict[Future[Finished], Cell] = {}
            try:
                for cell in batch:
                    futures[executor.submit(compute, cell, context)] = cell
                yield from _as_they_end(futures, deadline)
            except BrokenExecutor as error:  # a worker died while cells were handed out
                yield from ((cell, error) for cell in batch if cell not in futures.values())
            finally:  # also when the caller is interrupted
                for future in futures:
                    future.cancel()

    return work


def _as_they_end(futures: dict[Future[Finished], Cell], deadline: float | None) -> Iterator[Outcome]:
    """Yield outcomes as they come; at the deadline let those that run end, and drop those that wait."""
    timeout = None if deadline is None else max(0.0, deadline - time.time())
    left = set(futures)
    try:
        for future in as_completed(futures, timeout):
            left.discard(future)
            yield futures[future], _outcome(future)
    except TimeoutError:
        running = [future for future in left if not future.cancel()]
        for future in as_completed(running):
            yield futures[future], _outcome(future)


def _outcome(future: Future[Finished]) -> Finished | BaseException:
    error = future.exception()
    return future.result() if error is None else error


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
        elif cell in wanted:
            found[cell] = store.put(cell, outcome.output.figures, outcome.provenance, outcome.output.examples)
        report.ended(cell.describe(), outcome, counts=cell in wanted)
    return errors


def _complain(
    missing: Sequence[Cell],
    found: dict[Cell, Result | None],
    errors: dict[Cell, BaseException],
    store: Store,
) -> None:
    unfinished = [cell for cell in missing if found[cell] is None]
    done = len(found) - len(unfinished)
    if errors:
        alike: dict[str, list[Cell]] = {}  # a missing archive fails every cell: it is said once
        for cell, error in errors.items():
            alike.setdefault(f"{type(error).__name__}: {error}", []).append(cell)
        shown = "".join(f"\n  {_named(cells)}: {reason}" for reason, cells in alike.items())
        raise StoreError(
            f"{len(errors)} of {len(found)} cells failed; the {done} finished ones are stored in "
            f"{store.folder}, and the next run tries the others again:{shown}"
        ) from next(iter(errors.values()))
    if unfinished:
        raise StoreError(
            f"The time limit came before {len(unfinished)} of {len(found)} cells; the {done} finished ones "
            f"are stored in {store.folder}: run again to go on."
        )


def _named(cells: Sequence[Cell]) -> str:
    first = f"{cells[0].kind} {cells[0].key} ({cells[0].describe()})"
    return first if len(cells) == 1 else f"{first} and {len(cells) - 1} more"


def _deadline(time_limit: float | None) -> float | None:
    limits = [] if time_limit is None else [time.time() + time_limit]
    if os.environ.get(DEADLINE):
        limits.append(float(os.environ[DEADLINE]))
    return min(limits, default=None)
