"""Differentially private gradients: DP-SGD as Opacus computes it, and its accountant."""

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gleak_lib.defenses.base import Batch, Defense, Privacy, updates
from gleak_lib.defenses.clip import norms
from gleak_lib.defenses.noise import normal
from gleak_lib.errors import ParameterError
from gleak_lib.extras import require
from gleak_lib.gradients import factored_gradients, prepare
from gleak_lib.gradients.factored import FactoredGrads, Outer, by_row, dense, scaled
from gleak_lib.gradients.norm_layers import takes_batch_statistics
from gleak_lib.typed import typed
from gleak_lib.types import Grads

ENTRIES = 2**25  # of the examples' gradients at once: 128 MiB


@typed
@dataclass(frozen=True)
class DP(Defense):
    """Clip every example's gradient and add Gaussian noise: DP-SGD (Abadi et al. 2016; 001 §VI-C).

    What is released of a batch of B examples is (sum of the examples' gradients, each scaled down to an L2
    norm of at most C, + N(0, (C sigma)^2)) / B, in Opacus' form (it divides by norm + 1e-6 when it clips);
    the tests hold it against Opacus' own optimizer. 001 has C = 20 and sigma from 1e-3 to 1.

    On a dict of gradients alone, each update counts as one example. For batches of several the defense must
    be bound to the batch (`observe` and `federated.train` do it), since their mean hides the examples.

    Attributes:
        max_grad_norm: C, positive.
        noise_multiplier: sigma, the noise's standard deviation in units of C; 0 only clips.
        delta: probability with which the guarantee may fail, for `epsilon`; smaller than 1 / examples.
    """

    max_grad_norm: float = 20.0
    noise_multiplier: float = 0.1
    delta: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.max_grad_norm < math.inf:
            raise ParameterError(f"max_grad_norm must be positive and finite, got {self.max_grad_norm}.")
        if not 0 <= self.noise_multiplier < math.inf:
            raise ParameterError(
                f"noise_multiplier must be finite and not negative, got {self.noise_multiplier}."
            )
        if not 0 < self.delta < 1:
            raise ParameterError(f"delta must be between 0 and 1, got {self.delta}.")

    def bind(self, batch: Batch) -> Defense:
        """Return the defense of this batch's gradients.

        Raises:
            ParameterError: If the examples of a batch mix in the model.
        """
        _refuse_mixing(batch.model)
        return super().bind(batch)

    def transform(self, grads: Grads, generator: torch.Generator | None) -> Grads:
        """Return the clipped mean with noise, of the batch's examples where it was bound to one."""
        if self.batch is None:
            rows, examples = torch.arange(updates(grads), device=next(iter(grads.values())).device), 1
            total = _clipped_sum(grads, rows, updates(grads), self.max_grad_norm)
        else:
            examples = len(self.batch.x) // self.batch.victims
            total = _total(self.batch, tuple(grads), self.max_grad_norm)
        std = self.max_grad_norm * self.noise_multiplier
        return {name: (g + std * normal(g, generator)) / examples for name, g in total.items()}

    @property
    def replaces(self) -> bool:
        return True

    @property
    def privacy(self) -> Privacy:
        return Privacy(self.noise_multiplier, self.delta)


@typed
def epsilon(privacy: Privacy, *, sample_rate: float, steps: int) -> float:
    """Return the epsilon that Opacus' Renyi accountant gives for so many steps.

    It bounds what is lost if each step draws every example with probability `sample_rate` (Poisson). Batches
    of a shuffled epoch are accounted so, too, by custom: Opacus does it, at 1 / steps an epoch. Little noise
    has an epsilon that is astronomically large, which guarantees nothing, and none has infinity.

    Args:
        privacy: of a defense.
        sample_rate: expected share of a client's examples in a step, in (0, 1].
        steps: noisy steps taken.

    Raises:
        MissingDependencyError: If Opacus is not installed.
    """
    accountant = require("opacus.accountants", "defenses").RDPAccountant()
    if not steps:
        return 0.0
    accountant.history = [(privacy.noise_multiplier, sample_rate, steps)]
    with warnings.catch_warnings():  # that the best order is the smallest: the bound is a tenth too large
        warnings.simplefilter("ignore", UserWarning)
        return float(accountant.get_epsilon(delta=privacy.delta))


def _total(batch: Batch, names: tuple[str, ...], bound: float) -> Grads:
    """Sum of each update's clipped examples, V x shape; some examples' gradients at a time."""
    model = prepare(batch.model, 1)
    size = sum(p.numel() for n, p in model.named_parameters() if n in set(names))
    rows = torch.arange(len(batch.x), device=batch.x.device)
    owner = rows // (len(batch.x) // batch.victims)
    total: Grads = {}
    for part in rows.split(max(1, ENTRIES // size)):
        noise = [n[part] for n in batch.noise]
        grads, _ = factored_gradients(
            model,
            batch.x[part],
            batch.labels[part],
            victims=len(part),
            noise=noise,
            names=names,
            loss=batch.loss,
        )
        with torch.no_grad():
            clipped = _clipped_sum(grads, owner[part], batch.victims, bound)
        total = {n: total[n] + g for n, g in clipped.items()} if total else clipped
    return total


def _clipped_sum(grads: FactoredGrads, owner: Tensor, victims: int, bound: float) -> Grads:
    """Sum of clipped rows by owner: V x shape of rows x shape, `owner` one index in [0, V) a row."""
    parts = [g.square().sqrt() if isinstance(g, Outer) else norms({"": g}) for g in grads.values()]
    factor = (bound / (torch.linalg.vector_norm(torch.stack(parts), dim=0) + 1e-6)).clamp(max=1.0)
    if victims == len(owner):
        return {n: dense(scaled(g, factor)) for n, g in grads.items()}
    share = torch.zeros(victims, len(owner), dtype=factor.dtype, device=factor.device)
    share[owner, torch.arange(len(owner), device=owner.device)] = factor
    return {n: _summed(g, share) for n, g in grads.items()}


def _summed(gradient: Tensor | Outer, share: Tensor) -> Tensor:
    """Weighted sums of rows, V x shape, by V x rows weights; only the sums of outer products are written."""
    if isinstance(gradient, Outer):
        left = (share[:, :, None, None] * gradient.left).flatten(1, 2)
        total = left.transpose(1, 2) @ gradient.right.flatten(0, 1)
        return total.reshape(len(share), *gradient.shape)
    return (share @ by_row(gradient)).reshape(len(share), *gradient.shape[1:])


def _refuse_mixing(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and takes_batch_statistics(module):
            how = "in training mode" if module.training else "without running averages"
            raise ParameterError(
                f"dp clips every example's own gradient, and {name} is a BatchNorm {how}, which "
                "mixes the examples of a batch: build the model with GroupNorm, or call model.eval()."
            )
