"""Cells: one point of an experiment each, frozen and hashable, with the code that runs it.

A new kind is a frozen dataclass marked `@storable` that derives from `Cell`; the store, the runner and
`gleak status` take it as it is.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gleak_lib import attacks, datasets, gradients, models
from gleak_lib.attacks import Attack
from gleak_lib.attacks.observe import check_scale
from gleak_lib.bottlenecks import CVB, PRECODE, BottleneckSpec
from gleak_lib.datasets import STATISTICS, ImageDataset, Statistics
from gleak_lib.datasets.search import check_name
from gleak_lib.defenses import Defense
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments import figures, truth, weights
from gleak_lib.experiments.base import Cell, Output, WeightsCell, from_json
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.defended import Pairs, as_pairs, said, transformation
from gleak_lib.experiments.fields import count, integers, put, short
from gleak_lib.experiments.serial import storable
from gleak_lib.experiments.training import GLOBAL_GENERATOR, train
from gleak_lib.federated import Client, Protocol, clients_of
from gleak_lib.types import Observation

__all__ = ["AttackCell", "Cell", "Output", "TrainingCell", "from_json", "needed_trainings", "trajectory"]


@storable
@dataclass(frozen=True)
class TrainingCell(Cell):
    """A federated training (001 §V-A): accuracy per round, and weights to attack.

    Attributes:
        dataset: a name that `datasets.load` knows.
        model: a key of `models.MODELS`.
        options: the model's own options as pairs (name, value).
        bottlenecks: specifications, at any positions.
        protocol: see `federated.Protocol`; `rounds=0` measures the fresh weights.
        seed: of the weights, the partition, the batches and the noise.
        keep: rounds whose weights are kept for attacks, besides the last. It changes no figure and is no
            part of the key.
        defense: what each client does to the gradients of every local step, in this order: pairs (name in
            `defenses.DEFENSES`, options), the options a dict or pairs themselves.
        statistics: of which training images the mean and std are that normalize all pixels, see
            `datasets.load`.
    """

    kind: ClassVar[str] = "training"
    # round 0 trains nothing; classes that no image has, or all have, leave no curve; no noise, no privacy
    unbounded: ClassVar[tuple[str, ...]] = ("train_loss", "auc", "epsilon")

    dataset: str
    model: str = "cnn"
    options: tuple[tuple[str, Any], ...] = ()
    bottlenecks: tuple[BottleneckSpec, ...] = ()
    protocol: Protocol = field(default_factory=Protocol)
    seed: int = 0
    keep: tuple[int, ...] = field(default=(), compare=False)
    defense: Pairs = ()
    statistics: Statistics = "resized"

    def __post_init__(self) -> None:
        if self.statistics not in STATISTICS:
            raise unknown("kind of pixel statistics", self.statistics, STATISTICS)
        given = self.bottlenecks
        specs = (given,) if isinstance(given, (PRECODE, CVB)) else tuple(given)
        pairs = self.options.items() if isinstance(self.options, dict) else self.options
        put(self, bottlenecks=tuple(sorted(specs, key=lambda spec: spec.position)))
        put(self, options=tuple(sorted((str(name), value) for name, value in pairs)), keep=tuple(self.keep))
        put(self, defense=as_pairs(self.defense))
        integers(self, seed=None)
        check_name(self.dataset)

    @property
    def dataset_name(self) -> str:
        """Name of the image set."""
        return self.dataset

    @property
    def pixel_statistics(self) -> Statistics:
        """Which mean and std normalize the pixels."""
        return self.statistics

    def at(self, rounds: int) -> "TrainingCell":
        """Return the training that ends with the weights of this one after `rounds` rounds.

        How many rounds were planned and when to stop early changes no round that was reached: weights
        after r rounds are the same whatever the protocol says about that, and so is their key. Fresh
        weights depend neither on the protocol nor on the defence.
        """
        if not rounds:
            return dataclasses.replace(self, protocol=Protocol(rounds=0), keep=(), defense=())
        return dataclasses.replace(
            self, protocol=self.protocol.replace(rounds=rounds, patience=None), keep=()
        )

    def transformation(self) -> Defense | None:
        """Return the defence that the clients apply in training, None where there is none."""
        return transformation(self.defense)

    def build(self, dataset: ImageDataset) -> nn.Module:
        """Return the model with fresh weights."""
        with GLOBAL_GENERATOR:
            return models.build(
                self.model,
                input_shape=dataset.input_shape,
                num_classes=dataset.num_classes,
                bottlenecks=self.bottlenecks,
                seed=self.seed,
                **dict(self.options),
            )

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
        alike = dataclasses.replace(self, protocol=Protocol(rounds=0), keep=(), defense=(), seed=0)
        _try(alike, dataset.input_shape, dataset.num_classes, mode, batch_size)

    def describe(self) -> str:
        """Return one line for people."""
        rounds = self.protocol.rounds
        weights = f"training over {count(rounds, 'round')}" if rounds else "fresh weights"
        return f"{self.images}, {self.architecture}, {weights}{said(self.defense)}, seed {self.seed}"

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
        """Model, options and bottlenecks in one word, for instance `cnn+precode(position=1, k=8)`."""
        options = ", ".join(f"{name}={value}" for name, value in self.options)
        name = f"{self.model}({options})" if options else self.model
        return "+".join([name, *map(short, self.bottlenecks)])

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
            with GLOBAL_GENERATOR:  # a second thread finds what the first has trained
                state = weights.load(self, context, model)
                if state is None:
                    weights.check_writable(context)  # a training whose weights cannot be kept is lost
                    self.run(context)
                    state = weights.load(self, context, model)
            if state is None:
                raise ParameterError(
                    f"There are no weights of {self.describe()}: the training stopped earlier, or "
                    f"{context.cache} cannot be written."
                )
            model.load_state_dict(state)
        return model.to(context.device)


@storable
@dataclass(frozen=True)
class AttackCell(WeightsCell):
    """One attack on V victims that share the same weights: scores of every victim in both scalings.

    Attributes:
        training: gives image set, model and weights. Only what decides the attacked weights is kept
            (`TrainingCell.at`): cells that attack the same weights are equal.
        rounds: weights after so many rounds; 0 means fresh ones.
        attack: a preset of `attacks.ATTACKS` or a variant.
        victims: V.
        batch_size: B, images a victim.
        victim_seed: which images; the first k victims of a larger draw are the draw of k.
        share_labels: whether the server knows the labels.
        share_noise: whether it is told the bottlenecks' noise (oracle experiments).
        seed: of the clients' noise and of the attack's dummies and noise.
        mode: the clients' mode, `train` or `eval`. It matters for BatchNorm (and dropout) only; BatchNorm in
            training mode takes no batch of one image.
        defense: what each client does to its gradients, in this order: pairs (name in `defenses.DEFENSES`,
            options), the options a dict or pairs themselves.
        updates: gradients that each client sends of the same images under these weights, with other noise
            each; they are attacked together (see `attacks.join`).
        noise_scale: what the clients multiply their bottlenecks' noise with; 0 is none (diagnosis only).
        client: the victims are images that this client of the training trains on (of its protocol and seed),
            as those of the CVB paper's release are (SPEC §13); None draws from all training images, those
            that clients keep for validation among them.
    """

    kind: ClassVar[str] = "attack"
    # an image that is found exactly; labels that the attack neither needed nor could infer
    unbounded: ClassVar[tuple[str, ...]] = ("psnr", "gradient_distance")

    training: TrainingCell
    rounds: int = 0
    attack: Attack = field(default_factory=Attack)
    victims: int = 32
    batch_size: int = 1
    victim_seed: int = 0
    share_labels: bool = True
    share_noise: bool = False
    seed: int = 0
    mode: Literal["train", "eval"] = "train"
    defense: Pairs = ()
    updates: int = 1
    noise_scale: float = 1.0
    client: int | None = None

    def __post_init__(self) -> None:
        integers(self, rounds=0, victims=1, batch_size=1, victim_seed=0, seed=None, updates=1)
        if self.mode not in ("train", "eval"):
            raise unknown("mode", self.mode, ("train", "eval"))
        check_scale(self.noise_scale)
        protocol = self.training.protocol
        put(self, training=self.training.at(self.rounds), defense=as_pairs(self.defense))
        if self.client is not None:
            integers(self, client=0)
            if self.client >= protocol.clients:
                raise ParameterError(f"client must be below {protocol.clients}, got {self.client}.")
            if not self.rounds:  # fresh weights know of no protocol, but these victims do
                put(self, training=dataclasses.replace(self.training, protocol=protocol.untrained()))

    def transformation(self) -> Defense | None:
        """Return the defence that the clients apply, None where there is none."""
        return transformation(self.defense)

    def describe(self) -> str:
        """Return one line for people."""
        weights = f"weights after {count(self.rounds, 'round')}" if self.rounds else "fresh weights"
        weights += said(self.training.defense)
        batch = f" of {self.batch_size} images" if self.batch_size > 1 else ""
        layers = self.attack.layers if isinstance(self.attack.layers, str) else "+".join(self.attack.layers)
        layers += "".join(f" but {group}" for group in self.attack.exclude)
        attacked = f"{self.training.images}, {self.training.architecture}, {weights}"
        victims = f"{count(self.victims, 'victim')}{batch}"
        if self.client is not None:
            victims += f" of client {self.client}"
        if self.mode == "eval":
            victims += " in eval mode"
        if self.noise_scale != 1:
            victims += f", noise times {self.noise_scale:g}"
        if self.updates > 1:
            victims += f", {self.updates} updates each"
        if defense := self.transformation():
            victims += f", defence {defense.name}"
        return f"{self.attack.name} (layers: {layers}) on {attacked}, {victims}, seed {self.seed}"

    def check(self, dataset: ImageDataset) -> None:
        """Refuse more victims than there are images, a client's too, and what the training refuses."""
        super().check(dataset)
        if self.client is not None:
            self.drawn(dataset)

    def drawn(self, dataset: ImageDataset) -> tuple[Tensor, Tensor]:
        """Return the victims' images and labels, see `datasets.victims`.

        Args:
            dataset: the image set that the cell names.

        Raises:
            ParameterError: more images than there are, or a client of a set that holds victims only.
        """
        among = None
        if self.client is not None:
            if dataset.victims_only:
                raise ParameterError(f"{dataset.name} holds victims of nobody's share: leave client at None.")
            among = self.training.clients(dataset)[self.client].train
        return datasets.victims(
            dataset, self.victims, self.victim_seed, batch_size=self.batch_size, among=among
        )

    def run(self, context: Context) -> Output:
        """Observe the victims' gradients, invert them, and score what was found against the truth.

        Besides the scores there is what the loss would be at the truth, see `experiments.truth`, and how far
        the whole gradient is from the reconstruction's, see `attacks.gradient_distance`.
        """
        return self.watched(context, None)

    def watched(self, context: Context, watch: Callable[[Observation], attacks.Watch] | None) -> Output:
        """Do the same while something watches (see `attacks.invert`); the output is the same, too.

        Args:
            context: as for `run`.
            watch: makes the watch of what the server observes, which holds no truth.
        """
        dataset = context.dataset(self.training.dataset, self.training.statistics)
        model = self.training.trained(context).train(self.mode == "train")
        images, labels = self.drawn(dataset)
        generator = torch.Generator().manual_seed(self.seed)
        known = attacks.join(
            [
                attacks.observe(
                    model,
                    images,
                    labels,
                    defense=self.transformation(),
                    generator=generator,
                    mean=dataset.mean,
                    std=dataset.std,
                    share_labels=self.share_labels,
                    share_noise=True,
                    noise_scale=self.noise_scale,
                )
                for _ in range(self.updates)
            ]
        )
        observation = known if self.share_noise else truth.blind(known)
        found = attacks.invert(
            observation,
            self.attack,
            generator=generator,
            progress=context.progress,
            compile=context.compile,
            watch=None if watch is None else watch(observation),
        )
        numbers = figures.attack(observation, self.attack, found, images, labels)
        numbers["gradient_distance"] = attacks.gradient_distance(observation, self.attack, found).tolist()
        numbers |= truth.figures(observation, self.attack, found, images, labels, truth.noise_of(known))
        return Output(numbers, figures.examples(found, images))


@functools.cache
def _try(training: TrainingCell, shape: tuple[int, int, int], classes: int, mode: str, size: int) -> None:
    """Run a model forward on torch's device of shapes: nothing is computed, and no memory is taken."""
    with GLOBAL_GENERATOR, torch.device("meta"), torch.no_grad():
        model = models.build(
            training.model,
            input_shape=shape,
            num_classes=classes,
            bottlenecks=training.bottlenecks,
            seed=0,
            **dict(training.options),
        )
        clients = gradients.prepare(model.train(mode == "train"), size)
        gradients.forward(clients, torch.empty(size, *shape))


def needed_trainings(cells: Sequence[Cell]) -> dict[TrainingCell, tuple[int, ...]]:
    """Return the trajectories that cells need: a training up to the last round, and all rounds to keep."""
    rounds: dict[TrainingCell, set[int]] = {}
    for cell in cells:
        if cell.needs is not None:
            rounds.setdefault(trajectory(cell.needs), set()).add(cell.needs.protocol.rounds)
    return {path.at(max(found)): tuple(sorted(found)) for path, found in rounds.items()}


def trajectory(training: TrainingCell) -> TrainingCell:
    """Return the same for all trainings whose weights agree, round by round."""
    return training.at(1)
