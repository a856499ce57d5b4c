"""CMA-ES for all victims at once, each with a search of its own, through the `cma` library."""

import abc
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gleak_lib.attacks.optimizer import Evaluate, Optimizer
from gleak_lib.attacks.part import AtLeastOne, Positive
from gleak_lib.attacks.unknowns import Unknowns, flatten, select, unflatten
from gleak_lib.extras import require
from gleak_lib.typed import typed

EXTRA = "generative"
HOPELESS = 1e30  # the loss of a candidate that has none


class Searches:
    """One search per victim; some are taken as rows of a tensor are."""

    def __init__(self, each: Sequence[Any]) -> None:
        self.each = list(each)

    def __getitem__(self, rows: Any) -> "Searches":
        """Return those of some victims: indices, V bools or a slice."""
        chosen = torch.arange(len(self.each))[rows.cpu() if isinstance(rows, Tensor) else rows]
        return Searches([self.each[i] for i in chosen.tolist()])


class Population(Optimizer):
    """Base of optimizers that ask a search for candidates and tell it their losses.

    All candidates of all victims are evaluated at once. The unknowns are the best candidate so far, and the
    loss before the first step is that of the start.
    """

    whole: ClassVar[bool] = False
    gradient_free: ClassVar[bool] = True

    def waits(self, device: torch.device) -> bool:
        return True

    def init(self, x: Unknowns, max_steps: int) -> Any:
        flat = flatten(x)
        starts = flat.detach().cpu().double().numpy()
        return Searches([self.search(row, seed_of(row)) for row in starts]), torch.full_like(
            flat[:, 0], torch.nan
        )

    @abc.abstractmethod
    def search(self, start: np.ndarray, seed: int) -> Any:
        """Return one victim's search, with `ask() -> P x D` and `tell(losses)`; `start` has D entries."""

    def step(
        self, x: Unknowns, evaluate: Evaluate, memory: Any, lr: Mapping[str, Tensor], t: Tensor
    ) -> tuple[Unknowns, Any, Tensor]:
        searches, known = memory
        before = evaluate(x, None)[0] if t == 1 else known
        asked = np.stack([search.ask() for search in searches.each])  # V x P x D
        candidates = torch.from_numpy(asked).to(flatten(x)).flatten(0, 1)
        losses = evaluate(unflatten(candidates, x), None)[0].unflatten(0, asked.shape[:2])
        for search, told in zip(searches.each, losses.cpu().double().numpy(), strict=True):
            search.tell(np.nan_to_num(told, nan=HOPELESS, posinf=HOPELESS))
        lowest, place = losses.nan_to_num(torch.inf).min(1)
        rows = torch.arange(len(place), device=place.device)
        best = unflatten(candidates.unflatten(0, asked.shape[:2])[rows, place], x)
        better = lowest < before
        return select(better, best, x), (searches, torch.where(better, lowest, before)), before


@typed
@dataclass(frozen=True)
class CMAES(Population):
    """Covariance matrix adaptation (Hansen & Ostermeier 2001) by `cma`; a step is a generation.

    Attributes:
        lr: initial step size, the standard deviation of the first population.
        population: candidates of each victim in a generation.
    """

    lr: Positive = 0.5
    population: AtLeastOne = 50

    @property
    def evaluations(self) -> int:
        """Candidates in a generation."""
        return self.population

    def search(self, start: np.ndarray, seed: int) -> Any:
        return _Evolution(start, self.lr, self.population, seed)


class _Evolution:
    """`cma`'s ask and tell, with random numbers of its own."""

    def __init__(self, start: np.ndarray, sigma: float, population: int, seed: int) -> None:
        cma = require("cma", EXTRA)
        draw = np.random.RandomState(seed).standard_normal
        options = {"popsize": population, "randn": lambda *size: draw(size), "seed": np.nan, "verbose": -9}
        self.strategy = cma.CMAEvolutionStrategy(start, sigma, options)
        self.asked: list[np.ndarray] = []

    def ask(self) -> np.ndarray:
        self.asked = self.strategy.ask()
        return np.stack(self.asked)

    def tell(self, losses: np.ndarray) -> None:
        self.strategy.tell(self.asked, losses.tolist())


def seed_of(start: np.ndarray) -> int:
    """Return a seed that depends on where a search starts, and so on the attack's generator."""
    return int.from_bytes(hashlib.sha256(start.tobytes()).digest()[:4], "little")
