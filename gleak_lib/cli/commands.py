"""The command `gleak`: run chapters, see what is done, show a result, get image sets, list what there is."""

import argparse
import contextlib
import functools
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gleak_lib.cli.parser import parser
from gleak_lib.cli.run import run, values_of
from gleak_lib.cli.show import show
from gleak_lib.errors import GleakError, ParameterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 after an error that was explained."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve each other on shared cores
    options = parser(run, status, show, data, list_).parse_args(arguments)
    warnings.showwarning = _show_warning
    try:
        with _terminable():
            return options.command(options)
    except GleakError as error:
        print(f"gleak: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as how:
        logging.getLogger("asyncio").disabled = True  # it would complain of the task that was left
        print("gleak: interrupted; finished experiments are stored.", file=sys.stderr)
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


def status(options: argparse.Namespace) -> int:
    """Print how many experiments of each chapter are done, missing, failed or damaged, and what is ahead."""
    from gleak_lib.chapters import PROFILES, declared, open_store, profiles, sources
    from gleak_lib.experiments import Context, Store
    from gleak_lib.experiments.runner import cost
    from gleak_lib.experiments.runner.estimate import estimate

    names = [sources.source_of(name).stem for name in options.chapters] or list(sources.sources())
    machine = cost.here()
    for name in names:
        chosen = [options.profile] if options.profile else profiles.profiles_of(name) or list(PROFILES)
        for profile in chosen:
            values = values_of(name, profile, options.parameters)
            store = Store(Path(options.output) / "results") if options.output else open_store(profile)
            found = store.status(declared.experiments(name, values))
            counts = "  ".join(
                f"{len(experiments)} {state}" for state, experiments in found._asdict().items()
            )
            ahead = ""
            if found.lacking:
                ahead = f"   {estimate(found.lacking, store, Context(store.cache), machine, measure=True)}"
            print(f"{name:<24} {profile:<6} {counts}   ({store.folder}){ahead}")
            for experiment in found.failed:
                print(f"    failed   {experiment.key}  {experiment.describe()}: {store.failed(experiment)}")
            for experiment in found.damaged:
                print(f"    damaged  {store.path(experiment)}: the next run computes it again")
            for experiment in (*found.done, *found.missing) if options.verbose else ():
                state = "done" if experiment in found.done else "missing"
                print(f"    {state:<8} {experiment.key}  {experiment.describe()}")
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


def list_(options: argparse.Namespace) -> int:
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
    """Return the first line of what a class or function says of itself, and the options that are fixed."""
    if isinstance(thing, functools.partial):
        fixed = ", ".join(f"{name}={value}" for name, value in thing.keywords.items())
        return f"{_summary(thing.func)} Here {fixed}."
    return (thing.__doc__ or "").strip().split("\n")[0]


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """One line a warning, without the place in the code that nobody asked for."""
    print(f"gleak: warning: {message}", file=sys.stderr)
