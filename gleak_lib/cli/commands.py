"""The command `gleak`: run chapters, see what is done, get image sets, list what there is."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gleak_lib.cli.parser import parser
from gleak_lib.errors import GleakError, ParameterError, TimeLimitError

if TYPE_CHECKING:
    from gleak_lib.chapters.parameters import Declared
    from gleak_lib.experiments.runner.estimate import Outlook


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 after an error that was explained."""
    options = parser(run, status, data, show).parse_args(arguments)
    warnings.showwarning = _show_warning
    try:
        with _terminable():
            return options.command(options)
    except GleakError as error:
        print(f"gleak: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as how:
        logging.getLogger("asyncio").disabled = True  # it would complain of the task that was left
        print("gleak: interrupted; finished cells are stored.", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(how, Terminated) else signal.SIGINT)
    except BrokenPipeError:  # gleak list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class Terminated(KeyboardInterrupt):
    """The signal TERM, which ends a command as Ctrl-C does: what was begun is cleared away."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Turn the signal TERM into an exception while the block runs; in another thread it is left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(options: argparse.Namespace) -> int:
    """Execute chapters, in place or into a folder."""
    from gleak_lib.chapters import execute, parameters, profiles, sources
    from gleak_lib.experiments import atomic, paths

    given = [sources.source_of(name) for name in options.chapters] or list(sources.sources().values())
    if not given:
        raise ParameterError(f"There is no chapter in {paths.root() / 'book' / 'src'}.")
    jobs = []
    for source in given:  # everything is checked before anything runs
        declared = parameters.of_chapter(source.stem, source)
        values = profiles.load(source.stem, options.profile)
        values |= _overrides(declared, options.parameters, source.stem, options.profile)
        parameters.validate(declared, values, source.stem)
        jobs.append((source, values))
    chapters, environment = _destination(options.output, options.profile)
    outlooks = _announce(jobs, options, environment)
    if options.dry_run:
        for outlook in outlooks:
            print("\n".join(outlook.lines()))
        return 0
    atomic.check_writable(chapters, "chapters cannot be put there; name another folder by --output.")
    environment |= _crew(options)
    deadline = None if options.time_limit is None else time.time() + 60 * options.time_limit
    late = []
    for source, values in jobs:
        left = None if deadline is None else deadline - time.time()
        if left is not None and left <= 0:
            late.append(source.stem)
            continue
        print(f"{source.stem}: profile {options.profile}", flush=True)
        target = chapters / f"{source.stem}.ipynb"
        try:
            execute.execute(source, target, values, environment=environment, time_limit=left, log=_log)
        except TimeLimitError as error:  # a later chapter may have shorter cells
            print(error, file=sys.stderr, flush=True)
            late.append(source.stem)
        else:
            print(f"{source.stem}: wrote {target}", flush=True)
    if late:
        raise TimeLimitError(
            f"The limit of {options.time_limit:g} min came before the end of {', '.join(late)}. Finished "
            "cells are stored: run the same command again to go on."
        )
    return 0


def status(options: argparse.Namespace) -> int:
    """Print how many cells of each chapter are done, missing, failed or damaged, and what is ahead."""
    from gleak_lib.chapters import PROFILES, declared, open_store, parameters, profiles, sources
    from gleak_lib.experiments import Context, Store
    from gleak_lib.experiments.runner import cost, estimate

    names = [sources.source_of(name).stem for name in options.chapters] or list(sources.sources())
    machine = cost.here()
    for name in names:
        chosen = [options.profile] if options.profile else profiles.profiles_of(name) or list(PROFILES)
        for profile in chosen:
            values = profiles.load(name, profile)
            values |= _overrides(parameters.of_chapter(name), options.parameters, name, profile)
            store = Store(Path(options.output) / "results") if options.output else open_store(profile)
            found = store.status(declared.experiments(name, values))
            counts = "  ".join(f"{len(cells)} {state}" for state, cells in found._asdict().items())
            missing = [*found.missing, *found.failed, *found.damaged]
            ahead = (
                estimate.look(missing, store, Context(store.cache), machine, measure=True) if missing else ""
            )
            print(f"{name:<24} {profile:<6} {counts}   ({store.folder})" + (f"   {ahead}" if missing else ""))
            for cell in found.failed:
                print(f"    failed   {cell.key}  {cell.describe()}: {store.failed(cell)}")
            for cell in found.damaged:
                print(f"    damaged  {store.path(cell)}: the next run computes it again")
            if options.verbose:
                for state in ("done", "missing"):
                    for cell in getattr(found, state):
                        print(f"    {state:<8} {cell.key}  {cell.describe()}")
    return 0


def data(options: argparse.Namespace) -> int:
    """Print what a folder holds, after fetching what was asked for; exit status 1 where a set is damaged."""
    from gleak_lib import datasets

    root = datasets.data_root(options.folder)
    if options.folder and options.download is None and not root.exists():
        raise ParameterError(f"There is no folder {root}: with --download it is made.")
    if options.download is not None:
        _download(root, options.download)
    print(f"Image sets in {root}:")
    found = datasets.check(root)
    for entry in found:
        print(f"  {entry.name:<20} {entry.state:<8} {entry.detail}")
    return int(any(entry.state == "damaged" for entry in found))


def show(options: argparse.Namespace) -> int:
    """Print models, bottlenecks, attacks, defenses, image sets, chapters and profiles."""
    from gleak_lib import attacks, bottlenecks, datasets, defenses, models
    from gleak_lib.chapters import PROFILES, sources

    lines: dict[str, Mapping[str, Any]] = {
        "models": {name: _summary(make) for name, make in models.MODELS.items()},
        "bottlenecks": {name: _summary(spec) for name, spec in bottlenecks.BOTTLENECKS.items()},
        "attacks": {
            name: "distance {distance}, layers {layers}, tv {tv:g}, at most {max_steps} steps".format(
                **a.settings
            )
            if isinstance(a, attacks.Attack)
            else repr(a)
            for name, a in attacks.ATTACKS.items()
        },
        "defenses": {name: _summary(make) for name, make in defenses.DEFENSES.items()},
        "image sets": {name: source.title for name, source in datasets.DATASETS.items()},
        "chapters": {name: sources.title(path) for name, path in sources.sources().items()},
        "profiles": {
            "quick": "embedded digits, minutes: for trying",
            "cpu": "real images, two cores, tens of minutes a chapter",
            "paper": "real images, the sources' protocol in full, a GPU",
        },
    }
    assert list(lines["profiles"]) == list(PROFILES)
    for title, entries in lines.items():
        print(f"{title}:" + ("" if entries else " none yet"))
        for name, text in entries.items():
            print(f"  {name:<20} {text}")
    return 0


def _overrides(
    declared: "Declared", pairs: Sequence[tuple[str, str]], chapter: str, profile: str
) -> dict[str, Any]:
    """Return the parameters that were given; the profile is none of them, for it chooses all the others."""
    from gleak_lib.chapters import parameters

    found = parameters.overrides(declared, pairs, chapter)
    if found.get("profile", profile) != profile:
        raise ParameterError(
            f"-p profile {found['profile']} would only change what the chapter says of itself: choose a "
            f"profile by --profile, which is {profile}."
        )
    return found


def _announce(
    jobs: Sequence[tuple[Path, dict[str, Any]]], options: argparse.Namespace, environment: dict[str, str]
) -> "list[Outlook]":
    """Say before the run what each chapter will compute and how long that will take.

    What had to be measured for it goes into the environment, so that no notebook measures it again.
    """
    from gleak_lib.chapters import declared
    from gleak_lib.experiments import Context, Store, paths
    from gleak_lib.experiments.runner import estimate, executors, probe

    machine, workers = executors.beforehand(options.scheduler, options.workers, options.compile)
    store = Store(environment[paths.RESULTS], environment.get(paths.CACHE))
    outlooks = []
    for source, values in jobs:
        plan = declared.experiments(source.stem, values, source)
        if not plan:
            continue
        found = store.status(plan)
        missing = [*found.missing, *found.failed, *found.damaged]
        ahead = estimate.look(missing, store, Context(store.cache), machine, workers, measure=True)
        if ahead.origin and machine is not None:
            environment[probe.STEP] = str(probe.step_seconds(machine, measure=True))
        to_do = f"{len(missing)} to compute, {ahead}" if missing else "nothing missing"
        print(f"{source.stem}: {len(missing) + len(found.done)} cells, {len(found.done)} done, {to_do}")
        outlooks.append(ahead)
    if any(cell.kind == "attack" for ahead in outlooks for task in ahead.tasks for cell in task.cells):
        _say_what_lacks()
    if len(outlooks) > 1:
        tasks = [task for ahead in outlooks for task in ahead.tasks]
        origin = next((ahead.origin for ahead in outlooks if ahead.origin), None)
        print(f"together: {estimate.Outlook(tasks, machine, workers, origin)}")
    sys.stdout.flush()
    return outlooks


def _say_what_lacks() -> None:
    """Say once for all chapters why the attacks will have no LPIPS, where its weights are not there."""
    from gleak_lib import metrics

    if reason := metrics.lpips_missing():
        print(f"gleak: {reason} Tables show it as missing.", file=sys.stderr)


def _crew(options: argparse.Namespace) -> dict[str, str]:
    """Return the variables that tell notebooks who computes."""
    from gleak_lib.experiments.runner import executors

    given = {
        executors.SCHEDULER: options.scheduler,
        executors.WORKERS: options.workers,
        executors.COMPILE: int(options.compile),
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _destination(output: str | None, profile: str) -> tuple[Path, dict[str, str]]:
    """Return the folder of executed chapters, and variables that tell notebooks where to store."""
    from gleak_lib.experiments import paths

    if output is None:
        variables = {paths.RESULTS: str(paths.results_folder(profile).resolve())}
        return paths.root() / "book" / "chapters", variables
    folder = Path(output).resolve()
    if folder == paths.package_root():
        raise ParameterError(
            f"--output {output} is the checkout, whose results are published: name another folder, or leave "
            "--output out to work in place."
        )
    variables = {paths.RESULTS: str(folder / "results"), paths.CACHE: str(folder / "weights")}
    return folder / "chapters", variables


def _download(root: Path, names: Sequence[str]) -> None:
    from gleak_lib import datasets

    if not names:
        states = {entry.name: entry.state for entry in datasets.check(root)}
        fetchable = [n for n, s in datasets.DATASETS.items() if s.kind in ("torchvision", "medmnist")]
        names = [name for name in fetchable if states.get(name) == "missing"]
    for name in names:
        print(f"fetching {name} into {root} …", flush=True)
        datasets.load(name, root, download=True)


def _summary(thing: Any) -> str:
    return (thing.__doc__ or "").strip().split("\n")[0]


def _log(line: str) -> None:
    print(f"    {line}", flush=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """One line a warning, without the place in the code that nobody asked for."""
    print(f"gleak: warning: {message}", file=sys.stderr)
