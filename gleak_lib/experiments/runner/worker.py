"""Running experiments: in this process, in another one of this machine, or on another machine."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gleak_lib.errors import GleakError, StoreError
from gleak_lib.experiments.context import Context, choose_device, provenance, version
from gleak_lib.experiments.paths import CACHE
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import Experiment, Output
from gleak_lib.experiments.specs.finite import require_finite
from gleak_lib.experiments.specs.together import attack_together
from gleak_lib.experiments.specs.training import TrainingExperiment, train


class Finished(NamedTuple):
    """What a worker sends back."""

    output: Output
    provenance: dict[str, Any]


Computed = Finished | GleakError
"""What one experiment gave; an error where others of its task ended well."""


def compute(experiments: Sequence[Experiment], context: Context) -> list[Computed]:
    """Run the experiments of one task, and return what each gave, or why it failed.

    Several are alike but for their seeds or weights (`planner.together`, `side_by_side`): they run at once,
    each is said to have taken its share of the time, and its provenance says how many they were.

    Raises:
        GleakError: What a single experiment raises, or what all of several have in common.
    """
    began = time.perf_counter()
    trainings = [experiment for experiment in experiments if isinstance(experiment, TrainingExperiment)]
    attacked = [experiment for experiment in experiments if isinstance(experiment, AttackExperiment)]
    outputs: Sequence[Output | GleakError]
    if len(trainings) == len(experiments) > 1:
        outputs = train(trainings, context)
    elif len(attacked) == len(experiments) > 1:
        outputs = attack_together(attacked, context)
    else:
        outputs = [experiment.run(context) for experiment in experiments]
    seconds = (time.perf_counter() - began) / len(experiments)
    beside = {"together": len(experiments)} if len(experiments) > 1 else {}
    return [
        output if isinstance(output, GleakError) else _finished(experiment, output, context, seconds, beside)
        for experiment, output in zip(experiments, outputs, strict=True)
    ]


def compute_away(
    experiments: Sequence[Experiment], context: Context, asked: tuple[str, str | None]
) -> list[Computed]:
    """Do the same on another machine, with its own device, images and, where `GLEAK_CACHE` says so, cache.

    Args:
        experiments, context: as for `compute`; the device "auto" is chosen here.
        asked: `context.version()` of whoever asks.

    Raises:
        StoreError: another version of gleak is installed here.
        GleakError: whatever an experiment raises, with the name of this machine.
    """
    try:
        _same_version(asked)
        cache = os.environ.get(CACHE)
        here = replace(
            context,
            device=choose_device(context.device),
            cache=Path(cache).expanduser() if cache else context.cache,
        )
        return compute(experiments, here)
    except GleakError as error:
        raise type(error)(f"{error} (worker on {platform.node()})") from error


def _finished(
    experiment: Experiment, output: Output, context: Context, seconds: float, beside: dict[str, int]
) -> Finished:
    require_finite(experiment, output.figures)
    data = context.signature(experiment.dataset_name, experiment.pixel_statistics)
    return Finished(output, provenance(context, seconds, data) | (output.seconds or {}) | beside)


def _same_version(asked: tuple[str, str | None]) -> None:
    (theirs, their_commit), (own, own_commit) = asked, version()
    differs = theirs != own or (their_commit and own_commit and their_commit != own_commit)
    if differs:
        raise StoreError(
            f"This worker runs gleak {own} ({own_commit or 'no checkout'}), and the run was started with "
            f"gleak {theirs} ({their_commit or 'no checkout'}): install the same version and start it again."
        )
