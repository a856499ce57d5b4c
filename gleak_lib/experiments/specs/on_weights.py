"""Experiments on the weights that a training has after some rounds."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gleak_lib import attacks, datasets
from gleak_lib.datasets import ImageDataset
from gleak_lib.datasets.base import SPLITS, SplitName
from gleak_lib.datasets.victims import check_count
from gleak_lib.defenses import NO_DEFENSE, Defense
from gleak_lib.errors import unknown
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.specs.base import Experiment, Work
from gleak_lib.experiments.specs.fields import integers, one_defense, put
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.types import Observation


class WeightsExperiment(Experiment):
    """An experiment on the weights that a training has after `rounds` rounds; 0 means fresh ones.

    A kind has those of these fields that it lets one choose; their values are checked here. Experiments that
    look at the same weights hold the same training: see `TrainingExperiment.at`.
    """

    training: TrainingExperiment
    rounds: int
    victims: int
    batch_size: int = 1
    victim_seed: int = 0
    seed: int = 0
    mode: str = "train"
    split: SplitName = "train"
    defense: Defense = NO_DEFENSE

    def __post_init__(self) -> None:
        integers(self, rounds=0, victims=1, batch_size=1, victim_seed=0, seed=None)
        if self.mode not in ("train", "eval"):
            raise unknown("mode", self.mode, ("train", "eval"))
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        put(self, training=self.training.at(self.rounds), defense=one_defense(self.defense))

    @property
    def subject(self) -> TrainingExperiment:
        return self.training

    @property
    def needs(self) -> TrainingExperiment | None:
        return self.training if self.rounds else None

    def check(self, dataset: ImageDataset) -> None:
        super().check(dataset)
        check_count(dataset, self.victims, self.batch_size, split=self.split)
        self.training.check_model(dataset, self.mode, self.batch_size)

    def work(self, images: Mapping[str, int]) -> Work:
        count = self.victims * self.batch_size
        return Work(self.training.alike(self.kind), count * self.training.pixels)

    def drawn(self, dataset: ImageDataset) -> tuple[Tensor, Tensor]:
        """Return the victims' images and labels, see `datasets.victims`."""
        return datasets.victims(dataset, self.victims, self.victim_seed, batch_size=self.batch_size)

    def at_hand(self, context: Context) -> tuple[ImageDataset, nn.Module, Tensor, Tensor]:
        """Return the image set, the model with the weights, and the victims' images and labels."""
        dataset = context.dataset(self.training.dataset, self.training.statistics)
        model = self.training.trained(context).train(self.mode == "train")
        return dataset, model, *self.drawn(dataset)

    def observed(
        self, context: Context, generator: torch.Generator, *, updates: int = 1, **options: Any
    ) -> tuple[Observation, Tensor, Tensor]:
        """Return what the server sees of the victims, and their images and labels.

        Args:
            context: where and how.
            generator: of noise.
            updates: that each client sends (`attacks.join`).
            options: for `attacks.observe`.
        """
        dataset, model, images, labels = self.at_hand(context)
        options |= {"defense": self.defense.prepare(model, dataset), "generator": generator}
        options |= {"mean": dataset.mean, "std": dataset.std}
        seen = [attacks.observe(model, images, labels, **options) for _ in range(updates)]
        return attacks.join(seen), images, labels


def steps(training: TrainingExperiment, attack: attacks.Inversion, images: int) -> Work:
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
