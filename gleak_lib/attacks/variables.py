"""What an attack searches in: pixels, or whatever images can be computed from."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gleak_lib.attacks.part import Part
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.pixels import normalize
from gleak_lib.typed import typed
from gleak_lib.types import Observation


class Variables(Part, abc.ABC):
    """Unknowns, name -> V x ..., and the images that they stand for, such as a latent z and G(z), normalized.

    A name must not begin with `noise` or be `label`.
    """

    @abc.abstractmethod
    def start(self, observation: Observation, generator: torch.Generator) -> Unknowns:
        """Draw the unknowns that the attack starts from; type and device are those of the gradients."""

    @abc.abstractmethod
    def images(self, unknowns: Unknowns, observation: Observation) -> Tensor:
        """Return V x B x C x H x W, (pixel - mean) / std, differentiable, for some or all of the victims.

        Labels of this observation, V x B, are those that the attack uses, -1 where it has none.
        """

    def projection(self, observation: Observation) -> Callable[[Unknowns], Unknowns]:
        """Return what is applied to the unknowns after each step; by default nothing."""
        return lambda unknowns: unknowns

    def penalty(self, unknowns: Unknowns) -> Tensor | None:
        """Return what the unknowns add to the loss, V values; None, the default, for nothing."""
        return None


@typed
@dataclass(frozen=True)
class Pixels(Variables):
    """The images themselves, one unknown, `image`: V x B x C x H x W, normalized.

    Attributes:
        init: start from N(0, 1) in normalized units (`normal`) or uniform over the pixel range (`uniform`).
        clip: clip the images to the valid pixel range after each step.
    """

    init: Literal["normal", "uniform"] = "normal"
    clip: bool = True

    def start(self, observation: Observation, generator: torch.Generator) -> Unknowns:
        like = observation.like
        shape = (observation.victims, observation.batch_size, *observation.input_shape)
        draw = torch.rand if self.init == "uniform" else torch.randn
        x = draw(shape, generator=generator, dtype=like.dtype, device=like.device)
        return {"image": normalize(x, observation.mean, observation.std) if self.init == "uniform" else x}

    def images(self, unknowns: Unknowns, observation: Observation) -> Tensor:
        return unknowns["image"]

    def projection(self, observation: Observation) -> Callable[[Unknowns], Unknowns]:
        if not self.clip:
            return super().projection(observation)
        bounds = observation.like.new_tensor([0.0, 1.0]).view(2, 1, 1, 1)
        bounds = bounds.expand(2, len(observation.mean), 1, 1)
        low, high = normalize(bounds, observation.mean, observation.std)

        def clipped(unknowns: Unknowns) -> Unknowns:
            return {**unknowns, "image": torch.maximum(torch.minimum(unknowns["image"], high), low)}

        return clipped
