"""TuRBO, Bayesian optimization in a trust region (Eriksson et al. 2019), on `botorch`."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gleak_lib.attacks.cmaes import EXTRA, Population
from gleak_lib.attacks.part import AtLeastOne, Positive
from gleak_lib.extras import require
from gleak_lib.global_generator import isolated
from gleak_lib.typed import typed

LENGTHS = (0.5**7, 0.8, 1.6)  # of the region's sides: least, first, most, as shares of the box
SUCCESSES = 3  # steps in a row that find something better, after which the region grows
FIT_STEPS = 50  # of L-BFGS on the process's own parameters


@typed
@dataclass(frozen=True)
class TuRBO(Population):
    """TuRBO-1 with Thompson sampling: a Gaussian process is fitted to all losses, and asked for a batch.

    The first step evaluates the initial points, each other step one batch.

    Attributes:
        lr: half the side of the box that is searched, around 0.
        initial: points of a Sobol sequence that it starts from.
        batch: candidates of each victim in a step.
        candidates: points of the region among which the process chooses.
    """

    lr: Positive = 2.0
    initial: AtLeastOne = 256
    batch: AtLeastOne = 10
    candidates: AtLeastOne = 1_000

    @property
    def evaluations(self) -> int:
        """Candidates in a step."""
        return self.batch

    def search(self, start: np.ndarray, seed: int) -> Any:
        return Region(len(start), self, seed)


class Region:
    """One victim's trust region: a box around the best point, in units in which the whole box is [0, 1]^D."""

    def __init__(self, size: int, settings: TuRBO, seed: int) -> None:
        self.size, self.settings, self.seed = size, settings, seed
        self.points = torch.empty(0, size, dtype=torch.double)
        self.losses = torch.empty(0, dtype=torch.double)
        self.asked = self.points
        self.restart()

    def restart(self) -> None:
        """Forget what was found and begin with initial points."""
        self.waiting, self.length, self.successes, self.failures = self.settings.initial, LENGTHS[1], 0, 0
        self.known = len(self.points)  # points before a restart are not the process's

    def ask(self) -> np.ndarray:
        """Return P x D candidates: the initial points first, then batches."""
        self.seed += 1
        if self.waiting:
            first = len(self.points) == 0
            count = self.settings.initial if first else self.settings.batch
            self.asked = torch.quasirandom.SobolEngine(self.size, scramble=True, seed=self.seed).draw(
                count, dtype=torch.double
            )
            self.waiting = max(0, self.waiting - count)
        else:
            with isolated(seed=self.seed):
                self.asked = self._thompson()
        return ((2 * self.asked - 1) * self.settings.lr).numpy()

    def tell(self, losses: np.ndarray) -> None:
        """Take the losses of what was asked; the region grows, shrinks, or starts anew elsewhere."""
        found = torch.from_numpy(losses)
        own = self.losses[self.known :]
        if len(own) and not self.waiting:
            best = float(own.min())
            success = float(found.min()) < best - 1e-3 * abs(best)
            self.successes, self.failures = (self.successes + 1, 0) if success else (0, self.failures + 1)
            if self.successes == SUCCESSES:
                self.length, self.successes = min(2 * self.length, LENGTHS[2]), 0
            elif self.failures >= max(4, self.size) / self.settings.batch:
                self.length, self.failures = self.length / 2, 0
        self.points = torch.cat([self.points, self.asked])
        self.losses = torch.cat([self.losses, found])
        if self.length < LENGTHS[0]:
            self.restart()

    def _thompson(self) -> Tensor:
        """Return the best candidates of the region by draws from a Gaussian process."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its packages say of torch
            names = (
                "botorch.models",
                "botorch.fit",
                "botorch.generation",
                "gpytorch.kernels",
                "gpytorch.mlls",
            )
            models, fit, sampling, kernels, mlls = (require(name, EXTRA) for name in names)
        x, y = self.points[self.known :], -self.losses[self.known :]
        y = ((y - y.mean()) / y.std().clamp_min(1e-12)).unsqueeze(1)
        kernel = kernels.ScaleKernel(kernels.MaternKernel(nu=2.5, ard_num_dims=self.size))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a fit that ends before it has converged
            process = models.SingleTaskGP(x, y, covar_module=kernel)
            likelihood = mlls.ExactMarginalLogLikelihood(process.likelihood, process)
            fit.fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": FIT_STEPS}})
            scales = kernel.base_kernel.lengthscale.detach().squeeze(0)
            sides = scales / scales.log().mean().exp() * self.length / 2
            center = x[y.argmax()]
            low, high = (center - sides).clamp(0, 1), (center + sides).clamp(0, 1)
            count = self.settings.candidates
            drawn = low + (high - low) * torch.rand(count, self.size, dtype=torch.double)
            moved = torch.rand(count, self.size) <= min(1.0, 20 / self.size)  # few entries move at once
            moved[torch.arange(count), torch.randint(self.size, (count,))] = True
            among = torch.where(moved, drawn, center)
            choose = sampling.MaxPosteriorSampling(model=process, replacement=False)
            with torch.no_grad():
                return choose(among, num_samples=self.settings.batch)
