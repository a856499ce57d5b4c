"""`gleak run`: compute what chapters lack, all of it in one plan, then execute each chapter on the store."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gleak_lib.errors import ParameterError, StoreError

if TYPE_CHECKING:
    from gleak_lib.experiments import Experiment, Store
    from gleak_lib.experiments.runner.estimate import Estimate


class Job(NamedTuple):
    """A chapter to execute: its source, its parameters, and the experiments that it declares."""

    source: Path
    values: dict[str, Any]
    experiments: "list[Experiment]"


def run(options: argparse.Namespace) -> int:
    """Compute and execute chapters, in place or into a folder."""
    from gleak_lib.chapters import execute
    from gleak_lib.datasets.search import require_known
    from gleak_lib.experiments import Store, atomic, paths
    from gleak_lib.experiments import run as compute

    jobs = _jobs(options)  # everything is checked before anything runs
    if options.scheduler is None:  # else other machines may have sets of their own
        for name in {one.dataset_name for job in jobs for one in job.experiments if one.dataset_name}:
            require_known(name)
    chapters, results, cache = _destination(options.output, options.profile)
    store = Store(results, cache)
    ahead = _announce(jobs, store, options)
    if options.dry_run:
        print("\n".join(ahead.lines()))
        return 0
    atomic.check_writable(chapters, "chapters cannot be put there; name another folder by --output.")
    failure, cut = None, []
    try:
        compute(
            [experiment for job in jobs for experiment in job.experiments],
            store,
            workers=options.workers,
            scheduler=options.scheduler,
            time_limit=None if options.time_limit is None else 60 * options.time_limit,
            compile=options.compile,
        )
    except StoreError as error:  # chapters of which everything is there are executed all the same
        failure = error
    environment = {paths.RESULTS: str(store.folder), paths.CACHE: str(store.cache)}
    with execute.shared_kernel() as kernel:
        for source, values, experiments in jobs:
            if failure and (lacking := len(experiments) - len(store.status(experiments).done)):
                cut.append(f"{source.stem} ({lacking} of {len(experiments)} experiments are not there)")
                continue
            print(f"{source.stem}: profile {options.profile}", flush=True)
            destination = chapters / f"{source.stem}.ipynb"
            execute.execute(source, destination, values, environment=environment, kernel=kernel)
            print(f"{source.stem}: wrote {destination}", flush=True)
    if failure:
        raise type(failure)(
            f"{failure}\nNot executed: {', '.join(cut)}. Finished experiments are stored: "
            "run the same command again to go on."
        ) from failure
    return 0


def _jobs(options: argparse.Namespace) -> list[Job]:
    from gleak_lib.chapters import declared, parameters, sources
    from gleak_lib.experiments import paths

    given = [sources.source_of(name) for name in options.chapters] or list(sources.sources().values())
    if not given:
        raise ParameterError(f"There is no chapter in {paths.root() / 'book' / 'src'}.")
    jobs: list[tuple[Path, dict[str, Any]]] = []
    for source in dict.fromkeys(given):
        values = values_of(source.stem, options.profile, options.parameters)
        parameters.validate(parameters.of_chapter(source.stem, source), values, source.stem)
        jobs.append((source, values))
    return [Job(source, values, declared.experiments(source.stem, values, source)) for source, values in jobs]


def values_of(chapter: str, profile: str, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return a chapter's parameters at a profile, and those that were given as words behind `-p`.

    Raises:
        ParameterError: If a parameter is unknown or of another type; if it is the profile, which chooses all
            others.
    """
    from gleak_lib.chapters import parameters, profiles

    values = profiles.load(chapter, profile)
    found = parameters.overrides(parameters.of_chapter(chapter), pairs, chapter)
    if found.get("profile", profile) != profile:
        raise ParameterError(
            f"-p profile {found['profile']} would only change what the chapter says of itself: choose a "
            f"profile by --profile, which is {profile}."
        )
    return values | found


def _announce(jobs: Sequence[Job], store: "Store", options: argparse.Namespace) -> "Estimate":
    """Say before the run what each chapter will compute and how long it will take; return the whole."""
    from gleak_lib import metrics
    from gleak_lib.experiments import Context
    from gleak_lib.experiments.runner import executors
    from gleak_lib.experiments.runner.estimate import estimate

    machine, workers = executors.beforehand(options.workers, options.scheduler, options.compile)

    def ahead(missing: "Sequence[Experiment]") -> "Estimate":
        return estimate(missing, store, Context(store.cache), machine, workers, measure=True)

    lacking: dict[str, tuple[Experiment, ...]] = {}
    for source, _, experiments in jobs:
        if experiments:
            missing = lacking[source.stem] = store.status(experiments).lacking
            to_do = f"{len(missing)} to compute, {ahead(missing)}" if missing else "nothing missing"
            count = len(experiments)
            print(f"{source.stem}: {count} experiments, {count - len(missing)} done, {to_do}")
    together = list(dict.fromkeys(experiment for missing in lacking.values() for experiment in missing))
    found = ahead(together)
    if any(experiment.kind == "attack" for experiment in together) and (reason := metrics.lpips_missing()):
        print(f"gleak: {reason} Chapters say so and show the paper's alone.", file=sys.stderr)
    if len(lacking) > 1:
        print(f"together: {found}")
    sys.stdout.flush()
    return found


def _destination(output: str | None, profile: str) -> tuple[Path, Path, Path | None]:
    """Return the folders of executed chapters, of results, and of trained weights (None: the usual one)."""
    from gleak_lib.experiments import paths

    if output is None:
        return paths.root() / "book" / "chapters", paths.results_folder(profile).resolve(), None
    folder = Path(output).resolve()
    if folder == paths.package_root():
        raise ParameterError(
            f"--output {output} is the checkout, whose results are published: name another folder, or leave "
            "--output out to work in place."
        )
    return folder / "chapters", folder / "results", folder / "weights"
