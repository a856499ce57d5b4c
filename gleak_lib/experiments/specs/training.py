"""A federated training: accuracy per round, and weights to attack; several seeds are trained side by side."""

import dataclasses
import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from gleak_lib import federated, gradients, models
from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.datasets import STATISTICS, ImageDataset, Statistics
from gleak_lib.datasets.search import SIZE, at_size, check_name
from gleak_lib.defenses import NO_DEFENSE, Defense
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs import scores, trained_weights
from gleak_lib.experiments.specs.base import Experiment, Output, Work
from gleak_lib.experiments.specs.fields import count, defended, integers, one_defense, put
from gleak_lib.federated import Client, Protocol, clients_of
from gleak_lib.global_generator import isolated

SECONDS = ("train_seconds", "eval_seconds")

# Fresh weights, and dropout in training, come from torch's global generator: one thread at a time.
WEIGHTS = threading.RLock()
"""Held while weights are looked for and trained: a second thread finds what the first has trained."""


@stored_as("TrainingCell")
@dataclass(frozen=True)
class TrainingExperiment(Experiment):
    """A federated training (001 §V-A): accuracy per round, and weights to attack.

    Attributes:
        dataset: a name that `datasets.load` knows.
        model: a key of `models.MODELS`, or `module:function` (`models.build_own`), which is imported where
            the model is built, never where a stored result is read.
        options: the model's own options as pairs (name, value).
        bottlenecks: specifications, at any positions.
        protocol: see `federated.Protocol`; `rounds=0` measures the fresh weights.
        seed: of the weights, the partition, the batches and the noise.
        keep: rounds whose weights are kept for attacks, besides the last. It changes no figure and is no
            part of the key.
        defense: what each client does to the gradients of every local step, or to the update that it shares
            (`Defense.on`); None is nothing, several are a chain.
        statistics: of which training images the mean and std are that normalize all pixels, see
            `datasets.load`.
    """

    kind: ClassVar[str] = "training"
    # round 0 trains nothing; classes that no image has, or all have, leave no curve; no noise, no privacy
    unbounded: ClassVar[tuple[str, ...]] = ("train_loss", "auc", "epsilon")

    dataset: str
    model: str = "cnn"
    options: tuple[tuple[str, Any], ...] = ()
    bottlenecks: tuple[Bottleneck, ...] = ()
    protocol: Protocol = field(default_factory=Protocol)
    seed: int = 0
    keep: tuple[int, ...] = field(default=(), compare=False)
    defense: Defense = NO_DEFENSE
    statistics: Statistics = "resized"

    def __post_init__(self) -> None:
        if self.statistics not in STATISTICS:
            raise unknown("kind of pixel statistics", self.statistics, STATISTICS)
        given = self.bottlenecks
        specs = (given,) if isinstance(given, Bottleneck) else tuple(given)
        pairs = self.options.items() if isinstance(self.options, dict) else self.options
        put(self, bottlenecks=tuple(sorted(specs, key=lambda spec: spec.position)))
        put(self, options=tuple(sorted((str(name), value) for name, value in pairs)), keep=tuple(self.keep))
        put(self, defense=one_defense(self.defense))
        integers(self, seed=None)
        check_name(self.dataset)

    def at(self, rounds: int) -> "TrainingExperiment":
        """Return the training that ends with the weights of this one after `rounds` rounds.

        How many rounds were planned, when to stop early and how often to evaluate changes no round that was
        reached: weights after r rounds are the same whatever the protocol says about that, and so is their
        key; only `halve_lr_after` looks at evaluations. Fresh weights depend neither on the protocol nor on
        the defense.
        """
        if not rounds:
            return dataclasses.replace(self, protocol=Protocol(rounds=0), keep=(), defense=NO_DEFENSE)
        every = 1 if self.protocol.halve_lr_after is None else self.protocol.evaluate_every
        same = self.protocol.replace(rounds=rounds, patience=None, evaluate_every=every)
        return dataclasses.replace(self, protocol=same, keep=())

    def build(self, dataset: ImageDataset) -> nn.Module:
        """Return the model with fresh weights."""
        return _built(self, dataset.input_shape, dataset.num_classes)

    def check(self, dataset: ImageDataset) -> None:
        """Refuse a training on victims only, and a model that cannot be built for these images."""
        if self.protocol.rounds:
            dataset.require_training()
        self.check_model(dataset)

    def check_model(self, dataset: ImageDataset, mode: str = "eval", batch_size: int = 1) -> None:
        """Build the model without weights and let it see the shape of a client's images, but none of them.

        Args:
            dataset: gives shape and classes.
            mode: `train` or `eval`.
            batch_size: images of a client.

        Raises:
            GleakError: the model does not fit the images, lacks a position, or takes no such batch.
        """
        alike = dataclasses.replace(self, protocol=Protocol(rounds=0), keep=(), defense=NO_DEFENSE, seed=0)
        _try(alike, dataset.input_shape, dataset.num_classes, mode, batch_size)

    def describe(self) -> str:
        rounds = self.protocol.rounds
        weights = f"training over {count(rounds, 'round')}" if rounds else "fresh weights"
        return f"{self.images}, {self.architecture}, {weights}{defended(self.defense)}, seed {self.seed}"

    @property
    def images(self) -> str:
        """The image set for people, with what is not usual about its normalization and validation."""
        unusual = []
        if self.statistics == "original":
            unusual.append("pixel statistics before resizing")
        if self.protocol.rounds and self.protocol.validation == "split":
            unusual.append("validated on its own split")
        return self.dataset + (f" ({', '.join(unusual)})" if unusual else "")

    def clients(self, dataset: ImageDataset) -> tuple[Client, ...]:
        """Return which training images each client of this training holds."""
        generator = torch.Generator().manual_seed(self.seed)  # as `experiments.training` begins with it
        return clients_of(dataset.train.labels, self.protocol, generator=generator)

    @property
    def architecture(self) -> str:
        """Model, options and bottlenecks in one text, for instance `cnn+precode(1, k=16)`."""
        options = ", ".join(f"{name}={value}" for name, value in self.options)
        name = f"{self.model}({options})" if options else self.model
        return "+".join([name, *map(str, self.bottlenecks)])

    def work(self, images: Mapping[str, int]) -> Work:
        """Return the images in all local epochs; all rounds count, though patience may end it sooner."""
        protocol, count = self.protocol, images.get(at_size(self.dataset)[0])
        share = (protocol.clients_per_round or protocol.clients) / protocol.clients
        epochs = max(protocol.rounds, 1) * protocol.local_epochs * share  # of no rounds: images are scored
        groups = self.alike("training", protocol.rounds > 0)
        return Work(groups, None if count is None else epochs * count * self.pixels)

    def alike(self, *kind: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the group of one architecture, bottlenecks, images' size and all, and that of its family."""
        size = at_size(self.dataset)[1]
        same = (*kind, "same", self.architecture)
        return same if size in (None, SIZE) else (*same, size), (*kind, "family", self.model)

    @property
    def pixels(self) -> float:
        """How many images of 32 x 32 one of this set has the pixels of."""
        return ((at_size(self.dataset)[1] or SIZE) / SIZE) ** 2

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        """Return one row: `rounds_run` of the `rounds` planned, and the largest client's `epsilon`."""
        found = super().rows(figures, scaling) | {
            "epsilon": max(figures["epsilon"]) if figures.get("epsilon") else None
        }
        return {"rounds_run" if name == "rounds" else name: value for name, value in found.items()}

    def run(self, context: Context) -> Output:
        """Train, keep the weights, and return the curves."""
        return train([self], context)[0]

    def trained(self, context: Context) -> nn.Module:
        """Return the model with the weights after all rounds; they are trained only where none are kept.

        Raises:
            ParameterError: the training stops before.
        """
        model = self.build(context.dataset(self.dataset, self.statistics))
        if self.protocol.rounds:
            with WEIGHTS:
                state = trained_weights.load(self, context, model)
                if state is None:
                    trained_weights.check_writable(context)  # a training whose weights cannot be kept is lost
                    self.run(context)
                    state = trained_weights.load(self, context, model)
            if state is None:
                raise ParameterError(
                    f"There are no weights of {self.describe()}: the training stopped earlier, or "
                    f"{context.cache} cannot be written."
                )
            model.load_state_dict(state)
        return model.to(context.device)


def train(experiments: Sequence[TrainingExperiment], context: Context) -> list[Output]:
    """Train, keep the weights, and return the curves of each.

    Args:
        experiments: alike but for their seeds and the rounds to keep.
        context: where and how.
    """
    first, *_ = experiments
    dataset = context.dataset(first.dataset, first.statistics)
    models = [experiment.build(dataset).to(context.device) for experiment in experiments]
    if dataset.victims_only and not first.protocol.rounds:
        return [Output(scores.untrained(model)) for model in models]
    dataset.require_training()
    histories = federated.train_many(
        models,
        dataset.train,
        first.protocol,
        generators=[torch.Generator().manual_seed(experiment.seed) for experiment in experiments],
        val=dataset.val if first.protocol.validation == "split" else None,
        test=dataset.test,
        mean=dataset.mean,
        std=dataset.std,
        defense=[first.defense.prepare(model, dataset) for model in models] if first.defense else None,
        keep=sorted({rounds for experiment in experiments for rounds in experiment.keep}),
        progress=context.progress,
    )
    for experiment, history in zip(experiments, histories, strict=True):
        kept = {r: s for r, s in history.snapshots.items() if r in experiment.keep}
        for rounds, state in {**kept, history.rounds: history.last_state}.items():
            if rounds:
                trained_weights.save(experiment.at(rounds), state, context)
    return [
        Output(scores.training(h, model), seconds={name: sum(getattr(h, name)) for name in SECONDS})
        for h, model in zip(histories, models, strict=True)
    ]


def _built(training: TrainingExperiment, shape: tuple[int, int, int], classes: int) -> nn.Module:
    options: dict[str, Any] = {"input_shape": shape, "num_classes": classes, "seed": training.seed}
    options |= dict(training.options)
    if ":" not in training.model:
        return models.build(training.model, bottlenecks=training.bottlenecks, **options)
    if training.bottlenecks:
        raise ParameterError(
            f"{training.model} is a model of your own, and bottlenecks are not put into it here: let its "
            "function do so (`bottlenecks.insert`)."
        )
    return models.build_own(training.model, **options)


@functools.cache
def _try(
    training: TrainingExperiment, shape: tuple[int, int, int], classes: int, mode: str, size: int
) -> None:
    """Run a model forward on torch's device of shapes: nothing is computed, and no memory is taken."""
    if ":" in training.model:  # a function of the user's may not know of devices
        _built(training, shape, classes)
        return
    with isolated(), torch.device("meta"), torch.no_grad():
        model = _built(training, shape, classes)
        clients = gradients.prepare(model.train(mode == "train"), size)
        gradients.forward(clients, torch.empty(size, *shape))
