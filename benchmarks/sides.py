"""What the authors' released attack and ours are given alike: weights, victims, first dummies, noise."""

from typing import Any, NamedTuple

import torch
from release import Release
from torch import Tensor

from gleak_lib import attacks, datasets, models
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.models.base import StagedModel
from gleak_lib.pixels import normalize
from gleak_lib.types import Observation, Reconstruction

SPECS = {
    "cnn": None,
    "cnn + CVB(1, 5)": CVB(1, 5, 0.5, beta=0.1),
    # as PRECODE's own release has it
    "cnn + PRECODE(1, 8)": PRECODE(1, 8, beta=0.01, kl="bits", bias=True, sigma="softplus"),
}


class Case(NamedTuple):
    """One row: image set, network, attack, weight of its total variation."""

    images: str
    model: str
    attack: str
    tv: float = 0.01


class Setting:
    """What both sides are given.

    Args:
        case: the row.
        release: the authors' code.
        victims: how many.
        steps: at most.
        precision: of weights, victims and dummies.
        seed: of the weights, the draw of victims, the dummies and the noise.
        scored: whether theirs scores its results, too.
    """

    def __init__(
        self,
        case: Case,
        release: Release,
        victims: int,
        steps: int,
        precision: torch.dtype = torch.float32,
        *,
        seed: int = 0,
        scored: bool = True,
    ) -> None:
        data = datasets.load(f"{case.images}_victims")
        self.case, self.release, self.kind, self.seed = case, release, release.kind, seed
        self.images, self.labels = (t.to(self.kind) for t in datasets.victims(data, victims, seed))
        self.mean, self.std, self.precision = data.mean, data.std, precision
        spec = SPECS[case.model]
        ours = models.build(
            "cnn",
            input_shape=data.input_shape,
            num_classes=data.num_classes,
            bottlenecks=() if spec is None else spec,
            seed=seed,
        ).to(self.kind, precision)
        assert isinstance(ours, StagedModel)
        self.config = release.config(case.images, case.attack, spec, tv=case.tv, steps=steps, scored=scored)
        self.theirs = release.model(self.config, spec, ours)
        g = torch.Generator().manual_seed(seed)
        self.seen: Observation = attacks.observe(
            ours,
            self.images,
            self.labels,
            generator=g,
            mean=self.mean,
            std=self.std,
            share_noise=spec is not None,
        )
        # of its best iterate the release keeps the one a step further
        self.attack = attacks.ATTACKS[case.attack].replace(tv=case.tv, max_steps=steps, keep="next")

    def run_ours(self, watch: Any = None, steps: int | None = None) -> Reconstruction:
        """Attack all victims with our engine; the dummies are the same at each call."""
        attack = self.attack if steps is None else self.attack.replace(max_steps=steps)
        g = torch.Generator().manual_seed(self.seed)
        return attacks.invert(self.seen, attack, generator=g, callback=watch)

    def dummies(self, steps: int = 1) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Return the dummies that ours starts from, V x C x H x W, and the noise of its first steps."""
        first: list[Tensor] = []
        noise: list[tuple[Tensor, ...]] = []

        def watch(step: int, _victims: Tensor, unknowns: Unknowns, draw: tuple[Tensor, ...]) -> None:
            noise.append(draw)
            if step == 1:
                first.append(unknowns["image"])

        self.run_ours(watch, steps)
        return first[0].squeeze(1), noise

    def run_theirs(self, victim: int, dummy: Tensor, noise: list[tuple[Tensor, ...]], trace: bool = False):
        """Attack one victim with the authors' code.

        Args:
            victim: its number.
            dummy: V x C x H x W, of all victims.
            noise: of all victims, a step each; the client's goes before it.
            trace: whether to note the losses.
        """
        row = slice(victim, victim + 1)
        draws = [] if self.seen.noise is None else [self.seen.noise, *noise]
        image = normalize(self.images[row].to(self.precision), self.mean, self.std)
        torch.manual_seed(1_000 * (self.seed + 1) + victim)  # theirs draws from the global generator
        return self.release.attack(
            self.config,
            self.theirs,
            image,
            self.labels[row],
            dummy[row],
            [n[row] for (n,) in draws],
            statistics=(self.mean, self.std) if self.precision == torch.float64 else None,
            trace=trace,
        )
