"""Random perturbation of slices of a gradient (004 §4-B, Algorithm 1)."""

import copy
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gleak_lib.datasets.base import ImageDataset
from gleak_lib.datasets.root_set import RootSet
from gleak_lib.defenses.base import Defense, Where
from gleak_lib.defenses.clip import Clip
from gleak_lib.defenses.layout import Layout, layout_by_size, slice_layout
from gleak_lib.defenses.noise import normal
from gleak_lib.defenses.risk import PROBES, LeakageRisk, leakage_risk
from gleak_lib.errors import ParameterError
from gleak_lib.gradients import trained
from gleak_lib.typed import typed
from gleak_lib.types import Grads

_RISKS: dict[Any, LeakageRisk] = {}


@typed
@dataclass(frozen=True)
class SlicePerturbation(Defense):
    """Add N(0, variance) to randomly chosen slices of the shared update (004 Algorithm 1).

    A gradient is cut once into `slices` slices that carry equal risk on public images (see `slice_layout`);
    every client then draws d = max(1, floor(slices * share)) of them anew for each update. With a root set
    the layout belongs to a model: `prepare` it, which experiments do.

    The update is theta_before - theta_after, divided by nothing. 004 does not say whether its variance of
    1e-2 is in these units or in those of a gradient, the update / lr: for these multiply the variance by
    lr^2.

    Attributes:
        share: gamma, share of the slices, in (0, 1] (004: 0.2 against DGA, 0.3 against GIA).
        variance: of the noise; 0 adds none.
        slices: s; 004 does not say how many.
        root: public images on which the layers' risk is estimated; None cuts by size only, 004's baseline.
        block: see `slice_layout`.
        clip: B of 004 §5-C: the update is first shortened to an L2 norm of at most B, and the variance is
            multiplied by B^2; None clips nothing.
        norm: p of the Jacobian's norm, see `leakage_risk`; with another than 2 the risk is computed exactly.
    """

    layout: ClassVar[Layout | None] = None
    """What `prepare` or `with_layout` gave it; no part of the value."""

    share: float = 0.2
    variance: float = 1e-2
    slices: int = 10
    root: RootSet | None = None
    block: int | None = None
    clip: float | None = None
    norm: float = 2.0
    on: Where = field(default="update", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ParameterError(f"The share of perturbed slices must be in (0, 1], got {self.share}.")
        if not 0 <= self.variance < math.inf:
            raise ParameterError(
                f"The noise's variance must be finite and not negative, got {self.variance}."
            )
        if self.slices < 1 or (self.block is not None and self.block < 1):
            raise ParameterError(
                f"slices and block must be at least 1, got slices={self.slices}, block={self.block}."
            )
        if self.clip is not None:
            Clip(self.clip)  # refuses what is no bound
        if not self.norm >= 1:
            raise ParameterError(f"norm, the p of the Jacobian's norm, must be at least 1, got {self.norm}.")

    @classmethod
    def text_name(cls) -> str:
        return "slices"

    @property
    def perturbed_slices(self) -> int:
        """The number d = max(1, floor(slices * share)); 0.29 of 100 is 29, whatever floats make of it."""
        return max(1, math.floor(round(self.slices * self.share, 9)))

    @property
    def entry_variance(self) -> float:
        """Variance of the noise in an entry of one shared update: (d / s) variance.

        Over the draw of the slices the noise of an entry is b n with b = 1 in a share d / s of the draws,
        else 0, and n from N(0, variance), independent of b; both means of b n and cross terms vanish. With
        `clip` B times B^2.
        """
        return self.perturbed_slices / self.slices * self.deviation**2

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise where it is added."""
        return math.sqrt(self.variance) * (1.0 if self.clip is None else self.clip)

    def prepare(self, model: nn.Module, dataset: ImageDataset) -> "SlicePerturbation":
        """Return the defense with the layout for this model, by the risk on the root set's images.

        Args:
            model: with the weights that the clients begin with, in the mode that they train it in.
            dataset: that of the root set.

        Raises:
            ParameterError: If the root set is of another image set, or as `slice_layout`.
            ShapeError: If the model does not take its images.
        """
        shapes = dict(model.named_parameters())
        sizes = {name: shapes[name].numel() for name in trained(model)}
        if self.root is None:
            return self.with_layout(layout_by_size(tuple(sizes.items()), self.slices, self.block))
        risk = estimated_risk(model, dataset, self.root, self.norm)
        return self.with_layout(slice_layout(sizes, self.slices, risk=risk, block=self.block))

    def with_layout(self, layout: Layout) -> "SlicePerturbation":
        """Return the defense that uses this layout, of as many slices.

        Raises:
            ParameterError: If it has another number of slices.
        """
        if layout.slices != self.slices:
            raise ParameterError(f"{self} has {self.slices} slices, and the layout {layout.slices}.")
        given = copy.copy(self)
        object.__setattr__(given, "layout", layout)
        return given

    def layout_of(self, grads: Mapping[str, Tensor]) -> Layout:
        """Return the layout for gradients V x shape.

        Raises:
            ParameterError: If it is made by risk and was not prepared.
        """
        if self.layout is not None:
            return self.layout
        if self.root is not None:
            raise ParameterError(
                f"{self} is cut by the risk on public images: call defense.prepare(model, dataset) first, or "
                "defense.with_layout(...) with a layout of your own."
            )
        sizes = tuple((name, g[0].numel()) for name, g in grads.items())
        return layout_by_size(sizes, self.slices, self.block)

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        """Return the gradients with noise on d slices of each update.

        Raises:
            ParameterError: If it is cut by risk and was not prepared.
            GradientError: If the layout is of another model.
        """
        layout = self.layout_of(grads)
        rows = layout.rows(self._clipped(grads))
        if self.variance:
            for row in rows:
                for number in reservoir(layout.slices, self.perturbed_slices, generator):
                    part = row[layout.bounds[number] : layout.bounds[number + 1]]
                    part += self.deviation * normal(part, generator)
        return layout.gradients(rows, grads)

    def perturbed(self, given: Grads, shared: Grads) -> Grads:
        """Return where noise was added: what differs from the clipped gradients."""
        return super().perturbed(self._clipped(given), shared)

    def _clipped(self, grads: Grads) -> Grads:
        return grads if self.clip is None else Clip(self.clip).transform(grads, None)


def estimated_risk(model: nn.Module, dataset: ImageDataset, root: RootSet, norm: float = 2.0) -> LeakageRisk:
    """Return the risk on a root set of `dataset`; in one process it is estimated once for the same weights.

    Raises:
        ParameterError: If the root set is of another image set.
        ShapeError: If the model does not take its images.
    """
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    digest.update(f"{model} {trained(model)} {model.training}".encode())
    key = (digest.digest(), dataset.mean, dataset.std, root, norm)
    if key not in _RISKS:
        images, labels = root.draw(dataset)
        stream = torch.Generator().manual_seed(root.seed)
        probes = None if norm != 2 else PROBES
        options = {"mean": dataset.mean, "std": dataset.std, "p": norm, "probes": probes, "generator": stream}
        _RISKS[key] = leakage_risk(model, images, labels, **options)
    return _RISKS[key]


def reservoir(s: int, d: int, generator: torch.Generator | None = None) -> list[int]:
    """Return d of the numbers 0 to s - 1, each with probability d / s, in O(s) (004 Algorithm 1).

    The first d fill the reservoir, and number i >= d takes the place j, drawn from 0 ... i, if j < d.

    Raises:
        ParameterError: If d is below 1 or above s.
    """
    if not 1 <= d <= s:
        raise ParameterError(f"Of {s} slices 1 to {s} can be drawn, got {d}.")
    found = list(range(d))
    device = torch.device("cpu") if generator is None else generator.device
    drawn = torch.rand(s - d, generator=generator, dtype=torch.float64, device=device).tolist()
    for i, u in enumerate(drawn, start=d):
        if (j := int(u * (i + 1))) < d:
            found[j] = i
    return found
