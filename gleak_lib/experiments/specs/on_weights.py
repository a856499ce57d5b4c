"""Experiments on the weights that a training has after some rounds."""

from collections.abc import Mapping, Sequence

from gleak_lib.attacks import Inversion
from gleak_lib.datasets import ImageDataset
from gleak_lib.datasets.victims import check_count
from gleak_lib.experiments.specs.base import Experiment, Work
from gleak_lib.experiments.specs.training import TrainingExperiment


class WeightsExperiment(Experiment):
    """An experiment on the weights that a training has after `rounds` rounds; 0 means fresh ones.

    Experiments that look at the same weights hold the same training: see `TrainingExperiment.at`.
    """

    training: TrainingExperiment
    rounds: int
    victims: int

    @property
    def subject(self) -> TrainingExperiment:
        """The training whose weights are looked at."""
        return self.training

    @property
    def needs(self) -> TrainingExperiment | None:
        """The training whose last weights are looked at, unless they are fresh."""
        return self.training if self.rounds else None

    def check(self, dataset: ImageDataset) -> None:
        """Refuse more victims than there are images, and what the training refuses."""
        super().check(dataset)
        batch_size = getattr(self, "batch_size", 1)
        check_count(dataset, self.victims, batch_size, split=getattr(self, "split", "train"))
        self.training.check_model(dataset, getattr(self, "mode", "train"), batch_size)

    def work(self, images: Mapping[str, int]) -> Work:
        """Return the victims' images."""
        count = self.victims * getattr(self, "batch_size", 1)
        return Work(self.training.alike(self.kind), count * self.training.pixels)


def steps(training: TrainingExperiment, attack: Inversion, images: int) -> Work:
    """Return the work of an attack on so many images; all steps count, though a victim may stop sooner."""
    same, family = training.alike("attack", attack.kind)
    has = attack.settings
    groups = ((*same, has.get("layers", "all"), has.get("exclude", ())), same, family)
    return Work(groups, attack.evaluations * images * training.pixels)


def needed_trainings(experiments: Sequence[Experiment]) -> dict[TrainingExperiment, tuple[int, ...]]:
    """Return the trajectories to compute: a training up to the last round, and all rounds to keep."""
    rounds: dict[TrainingExperiment, set[int]] = {}
    for experiment in experiments:
        if isinstance(needed := experiment.needs, TrainingExperiment):
            rounds.setdefault(trajectory(needed), set()).add(needed.protocol.rounds)
    return {path.at(max(found)): tuple(sorted(found)) for path, found in rounds.items()}


def trajectory(training: TrainingExperiment) -> TrainingExperiment:
    """Return the same for all trainings whose weights agree, round by round."""
    return training.at(1)
