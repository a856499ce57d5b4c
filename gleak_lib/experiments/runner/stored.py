"""What need not be computed: results that are stored, by this run or meanwhile by another one."""

import warnings
from collections.abc import Sequence

from gleak_lib.errors import GleakError
from gleak_lib.experiments.context import Context, same_data
from gleak_lib.experiments.runner.dispatch import Outcome
from gleak_lib.experiments.runner.planner import Task
from gleak_lib.experiments.specs.base import Experiment
from gleak_lib.experiments.specs.trained_weights import path_of
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.experiments.store.result import Result
from gleak_lib.experiments.store.store import Store


def stored(experiment: Experiment, store: Store, context: Context) -> Result | None:
    """Return the stored result; None where there is none, or one of other images of the same name."""
    result = store.get(experiment)
    if result is None or experiment.dataset_name is None or not result.provenance.get("data"):
        return result
    try:
        here = context.signature(experiment.dataset_name, experiment.pixel_statistics)
    except GleakError:  # no images to compare with: a reader without them still sees the stored figures
        return result
    if same_data(result.provenance["data"], here):
        return result
    warnings.warn(
        f"{store.path(experiment)} was computed on other images named "
        f"{experiment.dataset_name}: computed again.",
        stacklevel=3,
    )
    return None


class Others:
    """Other runs on the same store, as far as it shows them.

    Args:
        missing: what was not stored when this run began.
        store: where results appear.
        context: says where trained weights do.
    """

    def __init__(self, missing: Sequence[Experiment], store: Store, context: Context) -> None:
        self.store, self.context = store, context
        self.before = {experiment: self._changed(experiment) for experiment in missing}

    def done(self, task: Task) -> list[Outcome] | None:
        """Return what others have stored since, where that is the whole task; None where it is to do."""
        outcomes: list[Outcome] = []
        for experiment in task.experiments:
            if experiment in self.before:
                changed = self._changed(experiment) not in (None, self.before[experiment])
                result = stored(experiment, self.store, self.context) if changed else None
                if result is None:
                    return None
                outcomes.append((experiment, result))
            elif isinstance(experiment, TrainingExperiment):  # it is there for its weights alone
                if not all(path_of(experiment.at(r), self.context).exists() for r in experiment.keep):
                    return None
                outcomes.append((experiment, None))
        return outcomes

    def _changed(self, experiment: Experiment) -> int | None:
        try:
            return self.store.path(experiment).stat().st_mtime_ns
        except OSError:
            return None
