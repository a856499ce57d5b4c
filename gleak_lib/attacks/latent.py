"""Generative gradient leakage: the unknown is a generator's latent (003; Li et al. 2022)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.label_inference import class_count
from gleak_lib.attacks.match import Match
from gleak_lib.attacks.optimizer import Adam
from gleak_lib.attacks.part import NotNegative
from gleak_lib.attacks.schedule import Schedule
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.attacks.variables import Variables
from gleak_lib.errors import ParameterError
from gleak_lib.generators import ConditionalGenerator, check_generator, sample
from gleak_lib.pixels import normalize
from gleak_lib.typed import typed
from gleak_lib.types import Observation

LatentPrior = Literal["kl", "kl-whole", "norm"]


@typed
@dataclass(frozen=True)
class Latent(Variables):
    """A generator's latents, one unknown, `z`: V x B x k, which start from N(0, 1).

    A generator that is told classes is told the labels that the attack uses.

    Attributes:
        generator: a `generators.Generator` or `ConditionalGenerator`; in experiments its description.
        prior: what `weight` multiplies, see `latent_prior`.
        weight: lambda of 003; the authors' code has 0.1 with L2 and 1e-4 with cosine.
        squash: the generator is given tanh(z), as the authors' code does for CMA-ES.
    """

    leaves: ClassVar = {name: f"latent_{name}" for name in ("prior", "weight", "squash")}
    generator: Any
    prior: LatentPrior = "kl-whole"
    weight: NotNegative = 0.1
    squash: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        size = getattr(self.generator, "latent_size", None)
        if not isinstance(size, int) or size < 1:
            raise ParameterError(
                f"A generator must say its latent_size, an integer of at least 1, got {size!r} of "
                f"{type(self.generator).__name__}."
            )

    def start(self, observation: Observation, generator: torch.Generator) -> Unknowns:
        like, made = observation.like, self.generator
        check_generator(made, observation.input_shape, like)
        if isinstance(made, ConditionalGenerator) and made.classes not in (0, class_count(observation)):
            raise ParameterError(
                f"The generator is told one of {made.classes} classes, and the model has "
                f"{class_count(observation)}: take one that was trained on such images."
            )
        shape = (observation.victims, observation.batch_size, made.latent_size)
        return {"z": torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)}

    def images(self, unknowns: Unknowns, observation: Observation) -> Tensor:
        z = self._codes(unknowns)
        labels = observation.labels
        assert labels is not None  # the engine fills them in
        pixels = sample(self.generator, z.flatten(0, 1), labels.flatten()).to(z.dtype)
        return normalize(pixels.unflatten(0, z.shape[:2]), observation.mean, observation.std)

    def penalty(self, unknowns: Unknowns) -> Tensor | None:
        return self.weight * latent_prior(self._codes(unknowns), self.prior) if self.weight else None

    def _codes(self, unknowns: Unknowns) -> Tensor:
        return unknowns["z"].tanh() if self.squash else unknowns["z"]


def latent_prior(z: Tensor, form: LatentPrior) -> Tensor:
    """Return R(G; z) of 003 for latents V x B x k, V values: the mean over a batch's images.

    Args:
        z: the latents.
        form: `kl-whole`, the divergence of N(m, s^2) from N(0, 1) with m and s the mean and standard
            deviation of the k entries, as the authors' code computes it; `kl`, the notes' sum over entries,
            -1/2 sum(1 + log s_i^2 - m_i^2 - s_i^2), where the one latent of an image is its entries' mean m_i
            and gives no deviation, so that s_i = 1 and `|z|^2 / 2` is left; `norm`, `(|z|^2 - k)^2`.
    """
    square, size = z.square().sum(2), z.shape[2]
    if form == "kl":
        value = square / 2
    elif form == "norm":
        value = (square - size).square()
    else:
        variance = z.var(2).clamp_min(torch.finfo(z.dtype).tiny)
        value = -(1 + variance.log() - z.mean(2).square() - variance) / 2
    return value.mean(1)


def ggl(generator: Any) -> Attack:
    """Return the attack of Li et al. 2022 (003) with a generator, to be varied by `replace`.

    As their code has it: squared L2 divided by the number of tensors, 0.1 times the KL term over the whole
    latent, 2,500 steps of Adam on the sign of the gradient, length 0.1. Where it decays is not said; here it
    falls as in Geiping et al.'s code. What of the defense is estimated is `replace(estimate=...)`.
    """
    return Attack(
        "ggl",
        match=Match("mean-l2"),
        priors=(),
        variables=Latent(generator),
        optimizer=Adam(lr=0.1, signed=True),
        schedule=Schedule(
            max_steps=2_500, drop_after=0, milestones=(3 / 8, 5 / 8, 7 / 8), stop_after=0, stop_below=0.0
        ),
    )
