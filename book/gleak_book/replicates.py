"""One attack on several models of a kind, each on images of its own: what a row of a table pools."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gleak_lib.attacks import Attack, Given, Inversion
from gleak_lib.client_setup import ClientSetup
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityCell
from gleak_lib.experiments.specs.training import TrainingCell
from gleak_lib.federated import Protocol


@dataclass(frozen=True)
class Replicates:
    """How many models and victims a statement stands on.

    Model number i has the seed `seed` + i; its victims are drawn with `victim_seed` + i.

    Attributes:
        dataset, model: as `datasets.load` and `models.build` know them.
        victims: images attacked on each model; in batches of B there are victims / B updates, at least one.
        seeds: models.
        seed, victim_seed: of the first model.
        training_rounds: federated rounds of the trainings.
    """

    dataset: str
    model: str
    victims: int
    seeds: int
    seed: int = 0
    victim_seed: int = 0
    training_rounds: int = 0

    @classmethod
    def of(cls, chapter: Mapping[str, Any], **changes: Any) -> "Replicates":
        """Return what a chapter's parameters of the same names say, with changes."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in chapter.items() if name in known} | changes)

    def replace(self, **changes: Any) -> "Replicates":
        """Return a copy with other values."""
        return dataclasses.replace(self, **changes)

    def trainings(self, protection: ClientSetup, keep: tuple[int, ...] = ()) -> list[TrainingCell]:
        """Return the trainings under a protection, one a model; its batches are no part of them."""
        return [
            TrainingCell(
                self.dataset,
                self.model,
                bottlenecks=protection.bottlenecks,
                protocol=Protocol(rounds=self.training_rounds),
                seed=self.seed + i,
                keep=keep,
                defense=protection.defense,
            )
            for i in range(self.seeds)
        ]

    def attack(
        self, protection: ClientSetup, attack: Inversion, *, rounds: int = 0, **changes: Any
    ) -> list[AttackCell]:
        """Return the attacks on weights after `rounds` rounds, one a model.

        Args:
            protection: which clients train and share under.
            attack: how.
            rounds: 0 for fresh weights.
            changes: further fields of the cells; `share_noise` follows the attack.
        """
        return [
            AttackCell(
                training,
                rounds=rounds,
                attack=attack,
                victims=max(1, self.victims // protection.batch_size),
                victim_seed=self.victim_seed + i,
                seed=self.seed + i,
                **{
                    "batch_size": protection.batch_size,
                    "defense": protection.defense,
                    "share_noise": isinstance(attack, Attack) and isinstance(attack.noise, Given),
                }
                | changes,
            )
            for i, training in enumerate(self.trainings(protection, (rounds,) if rounds else ()))
        ]

    def spread(self, protection: ClientSetup, rounds: int) -> list[NoiseSensitivityCell]:
        """Return what measures sigma, mu and the likeness of gradients under other noise, one a model."""
        return [
            NoiseSensitivityCell(
                training, rounds, self.victims, victim_seed=self.victim_seed + i, seed=self.seed + i
            )
            for i, training in enumerate(self.trainings(protection, (rounds,) if rounds else ()))
        ]
