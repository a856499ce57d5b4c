"""The control of attacks with a learned prior: what they find where the gradient holds nothing."""

import dataclasses
from dataclasses import dataclass

import torch

from gleak_lib.attacks.cleaning import Cleaning
from gleak_lib.defenses.clip import norms
from gleak_lib.gradients.factored import scaled
from gleak_lib.typed import typed
from gleak_lib.types import Observation


@typed
@dataclass(frozen=True)
class NoiseGradient(Cleaning):
    """Put Gaussian noise of the whole gradient's length in its place; labels stay as they were granted.

    What an attack then finds, it owes to its prior and the labels, not to the gradient (Guo et al. 2026).

    Attributes:
        seed: of the noise.
    """

    seed: int = 0

    def __call__(self, observation: Observation) -> Observation:
        stream = torch.Generator().manual_seed(self.seed)
        noise = {n: torch.randn(g.shape, generator=stream).to(g) for n, g in observation.gradients.items()}
        factor = norms(observation.gradients) / norms(noise)
        gradients = {n: scaled(g, factor) for n, g in noise.items()}
        later = tuple(self(one) for one in observation.later)
        return dataclasses.replace(observation, gradients=gradients, later=later, perturbed=None)
