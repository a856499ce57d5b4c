"""One attack on the shared updates of several victims: what it finds, scored against the truth."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from gleak_lib import attacks, datasets
from gleak_lib.attacks import Attack, Cleaning, Inversion
from gleak_lib.attacks.evaluate import blind, noise_of
from gleak_lib.attacks.observe import check_scale
from gleak_lib.datasets import ImageDataset
from gleak_lib.datasets.base import SplitName
from gleak_lib.defenses import NO_DEFENSE, Defense
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs import scores
from gleak_lib.experiments.specs.base import Output, Work
from gleak_lib.experiments.specs.fields import count, defended, integers, put
from gleak_lib.experiments.specs.generator import described, with_weights
from gleak_lib.experiments.specs.on_weights import WeightsExperiment, steps
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.metrics.success import SUCCESSFUL
from gleak_lib.types import Observation, Reconstruction


@stored_as("AttackCell")
@dataclass(frozen=True)
class AttackExperiment(WeightsExperiment):
    """One attack on V victims that share the same weights: scores of every victim in both scalings.

    Attributes:
        training: gives image set, model and weights. Only what decides the attacked weights is kept
            (`TrainingExperiment.at`): experiments that attack the same weights are equal.
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
        defense: what each client does to its gradients; None is nothing, several are a chain.
        updates: gradients that each client sends of the same images under these weights, with other noise
            each; they are attacked together (see `attacks.join`).
        noise_scale: what the clients multiply their bottlenecks' noise with; 0 is none (diagnosis only).
        client: the victims are images that this client of the training trains on (of its protocol and seed),
            as those of the CVB paper's release are; None draws from all training images, those
            that clients keep for validation among them.
        split: the victims are images of `train`, `val` or `test`.
        one_per_class: no two victims share a class, and pictures of all are kept, not of the first eight.
        cleaning: what the attacker makes of the updates before the attack, in this order.
    """

    kind: ClassVar[str] = "attack"
    gallery: ClassVar[bool] = True
    # an image that is found exactly; labels that the attack neither needed nor could infer
    unbounded: ClassVar[tuple[str, ...]] = ("psnr", "gradient_distance")

    training: TrainingExperiment
    rounds: int = 0
    attack: Inversion = field(default_factory=Attack)
    victims: int = 32
    batch_size: int = 1
    victim_seed: int = 0
    share_labels: bool = True
    share_noise: bool = False
    seed: int = 0
    mode: Literal["train", "eval"] = "train"
    defense: Defense = NO_DEFENSE
    updates: int = 1
    noise_scale: float = 1.0
    client: int | None = None
    split: SplitName = "train"
    one_per_class: bool = False
    cleaning: tuple[Cleaning, ...] = ()

    def __post_init__(self) -> None:
        protocol = self.training.protocol  # of which fresh weights know nothing
        super().__post_init__()
        integers(self, updates=1)
        check_scale(self.noise_scale)
        if self.client is not None and self.split != "train":
            raise ParameterError(f"A client holds training images only, got split={self.split!r}.")
        for one in self.cleaning:
            if one.estimate is not None and self.attack.settings.get("estimate") != one.estimate:
                raise ParameterError(f"{one} needs an attack with estimate={one.estimate!r}.")
        generator = described(self.attack)
        if generator is not None and (generator.dataset, "train") == (self.training.dataset, self.split):
            raise ParameterError(
                f"The generator has seen the training images of {generator.dataset}: attack victims of "
                "another split, such as split='test'."
            )
        if self.client is not None:
            integers(self, client=0)
            if self.client >= protocol.clients:
                raise ParameterError(f"client must be below {protocol.clients}, got {self.client}.")
            if not self.rounds:  # but these victims do
                put(self, training=dataclasses.replace(self.training, protocol=protocol.untrained()))

    def describe(self) -> str:
        weights = f"weights after {count(self.rounds, 'round')}" if self.rounds else "fresh weights"
        weights += defended(self.training.defense)
        batch = f" of {self.batch_size} images" if self.batch_size > 1 else ""
        has = self.attack.settings
        mask = has.get("layers", "all")
        layers = mask if isinstance(mask, str) else "+".join(mask)
        layers += "".join(f" but {group}" for group in has.get("exclude", ()))
        attacked = f"{self.training.images}, {self.training.architecture}, {weights}"
        unusual = {
            f" of client {self.client}": self.client is not None,
            f" of the split {self.split}": self.split != "train",
            ", one per class": self.one_per_class,
            " in eval mode": self.mode == "eval",
            f", noise times {self.noise_scale:g}": self.noise_scale != 1,
            f", {self.updates} updates each": self.updates > 1,
            f", defense {self.defense}": self.defense,
            f", after {' + '.join(map(str, self.cleaning))}": self.cleaning,
        }
        victims = f"{count(self.victims, 'victim')}{batch}{''.join(t for t, said in unusual.items() if said)}"
        return f"{self.attack.name} (layers: {layers}) on {attacked}, {victims}, seed {self.seed}"

    def check(self, dataset: ImageDataset) -> None:
        super().check(dataset)
        if self.client is not None or self.one_per_class:
            self.drawn(dataset)

    def drawn(self, dataset: ImageDataset) -> tuple[Tensor, Tensor]:
        """Return the victims' images and labels, see `datasets.victims`.

        Args:
            dataset: the image set that the experiment names.

        Raises:
            ParameterError: more images than there are, or a client of a set that holds victims only.
        """
        among = None
        if self.client is not None:
            if dataset.victims_only:
                raise ParameterError(f"{dataset.name} holds victims of nobody's share: leave client at None.")
            among = self.training.clients(dataset)[self.client].train
        return datasets.victims(
            dataset,
            self.victims,
            self.victim_seed,
            batch_size=self.batch_size,
            among=among,
            split=self.split,
            one_per_class=self.one_per_class,
        )

    def work(self, images: Mapping[str, int]) -> Work:
        return steps(self.training, self.attack, self.victims * self.batch_size * self.updates)

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        """Return a row per image: its place, label and scores, and what was found for its victim.

        Raises:
            UnknownNameError: If there is no such scaling.
        """
        if scaling not in scores.SCALINGS:
            raise unknown("scaling", scaling, scores.SCALINGS)
        found = figures["scores"][scaling]
        images = range(len(found["ssim"]))
        batch = len(images) // len(figures["loss"])
        known = {"victim": [i // batch for i in images], "image": [i % batch for i in images]}
        if "labels" in figures:
            known["true_label"] = figures["labels"]
        success = [ssim is not None and ssim >= SUCCESSFUL for ssim in found["ssim"]]
        victims = {n: [figures[n][i // batch] for i in images] for n in scores.OF_VICTIMS if n in figures}
        return known | found | {"success": success} | victims | super().rows(figures, scaling)

    def run(self, context: Context) -> Output:
        """Observe the victims' gradients, invert them, and score what was found against the truth.

        Besides the scores there is what the loss would be at the truth, and how far the whole gradient is
        from the reconstruction's, see `attacks.evaluate`.
        """
        return self.invert(self.seen(context), context)

    def invert(self, seen: "Seen", context: Context, callback: attacks.Callback | None = None) -> Output:
        """Do the same with what was observed, maybe while something watches (see `attacks.invert`)."""
        attack = with_weights(self.attack, context)
        found = attacks.invert(
            seen.observation,
            attack,
            generator=seen.generator,
            progress=context.progress,
            compile=context.compile,
            callback=callback,
        )
        return seen.scored(attack, found)

    def seen(self, context: Context) -> "Seen":
        """Let the clients compute their gradients."""
        generator = torch.Generator().manual_seed(self.seed)
        known, images, labels = self.observed(
            context,
            generator,
            updates=self.updates,
            share_labels=self.share_labels,
            share_noise=True,
            share_perturbed=any(one.oracle for one in self.cleaning),
            noise_scale=self.noise_scale,
        )
        received = observation = known if self.share_noise else blind(known)
        for clean in self.cleaning:
            observation = clean(observation)
        pictures = self.victims if self.one_per_class else scores.EXAMPLES
        return Seen(observation, received, images, labels, noise_of(known), generator, pictures)


class Seen(NamedTuple):
    """What the server sees of the victims, and the truth behind it."""

    observation: Observation  # what is attacked
    received: Observation  # before it was cleaned
    images: Tensor
    labels: Tensor
    noise: tuple[Tensor, ...]
    generator: torch.Generator
    pictures: int  # of how many victims

    def scored(self, attack: Inversion, found: Reconstruction) -> Output:
        """Return the scores of what an attack found, and a few images."""
        numbers = scores.attack(
            self.observation, attack, found, self.images, self.labels, self.noise, self.received
        )
        return Output(numbers, scores.examples(found, self.images, self.pictures))
