"""How much of a gradient the bottleneck's noise decides: the same image, its noise drawn again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from gleak_lib import gradients, models
from gleak_lib.attacks.distances import cosine
from gleak_lib.bottlenecks import encodings, sample_noise
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.encoding import stored_as
from gleak_lib.experiments.specs.base import Output, Work
from gleak_lib.experiments.specs.fields import defended, integers
from gleak_lib.experiments.specs.on_weights import WeightsExperiment
from gleak_lib.experiments.specs.training import TrainingExperiment
from gleak_lib.pixels import normalize


@stored_as("SpreadCell")
@dataclass(frozen=True)
class NoiseSensitivityExperiment(WeightsExperiment):
    """Cosine similarity, group by group, of gradients at the true image that differ in the noise alone.

    1 means that the noise does not matter to these gradients, 0 that they point anywhere (001 §III-A).

    Attributes:
        training, rounds, victims, victim_seed, seed: as in `AttackExperiment`.
        draws: pairs of noise draws that are compared for each victim.
    """

    kind: ClassVar[str] = "spread"

    training: TrainingExperiment
    rounds: int = 0
    victims: int = 32
    draws: int = 8
    victim_seed: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        integers(self, draws=1)

    def describe(self) -> str:
        return (
            f"spread of gradients over {self.draws} pairs of noise draws, {self.training.architecture}, "
            f"after {self.rounds} rounds{defended(self.training.defense)}, {self.victims} victims"
        )

    def work(self, images: Mapping[str, int]) -> Work:
        groups, size = super().work(images)
        return Work(groups, (size or 0) * self.draws)

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        """Return a row per group of gradients and victim.

        `before_decoder` says whether the group stands before the first one; sigma and mu are the first
        bottleneck's, where the stored result is not older than they are.
        """
        values = [
            (group, victim, value)
            for group, similarity in zip(figures["groups"], figures["similarity"], strict=True)
            for victim, value in enumerate(similarity)
        ]
        groups, victims, similarity = map(list, zip(*values, strict=True))
        early = models.before_decoder(figures["groups"])
        found = {"group": groups, "victim": victims, "similarity": similarity}
        found["before_decoder"] = [group in early for group in groups]
        return found | {name: figures[name][0] for name in ("sigma", "mu") if name in figures}

    def run(self, context: Context) -> Output:
        """Return groups, the victims' mean similarity for each, and the size of sigma and mu."""
        dataset, model, images, labels = self.at_hand(context)
        x = normalize(images.to(context.device), dataset.mean, dataset.std)
        labels = labels.to(context.device)
        groups = models.parameter_groups(model)
        shared = gradients.prepare(model, 1)
        generator = torch.Generator().manual_seed(self.seed)

        def draw():
            noise = sample_noise(model, len(x), x, generator)
            return gradients.per_victim_gradients(shared, x, labels, victims=len(x), noise=noise)[0]

        total = {group: torch.zeros(len(x), device=x.device) for group in groups}
        for _ in range(self.draws):
            one, other = draw(), draw()
            for group, names in groups.items():
                total[group] += 1 - cosine({n: one[n] for n in names}, other)
        names = list(total)  # in the order of the forward pass, which a JSON object would lose
        figures = {"groups": names, "similarity": [(total[group] / self.draws).tolist() for group in names]}
        found = encodings(model, x, sample_noise(model, len(x), x, generator))
        # by bottleneck: the mean of sigma and the root mean square of mu over images and maps
        figures["sigma"] = [float(sigma.mean()) for _, sigma in found]
        figures["mu"] = [float(mu.square().mean().sqrt()) for mu, _ in found]
        return Output(figures)
