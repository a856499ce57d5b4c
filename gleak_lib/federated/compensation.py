"""The server takes the noise of a defense out of the aggregated update (004 §5)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gleak_lib.defenses.spectrum import as_matrix, check_law, check_size, from_matrix, without_noise
from gleak_lib.federated.aggregation import Aggregator, WeightedMean
from gleak_lib.typed import typed
from gleak_lib.types import Grads


@typed
@dataclass(frozen=True)
class Compensation(Aggregator):
    """The weighted mean, projected on the directions whose variance is not that of noise (004 Eq. 5).

    With weights e_i the mean's noise has the variance `variance` * sum_i e_i^2 in an entry, see
    `gleak_lib.defenses.spectrum`. What the projection takes away is not kept for later rounds.

    Attributes:
        variance: that a participant's noise gives an entry of its update: `SlicePerturbation.entry_variance`;
            the default is that of `SlicePerturbation()`.
        aspect: Q, rows per column of the matrix that the update is written in, at least 1 (004: 6).
    """

    variance: float = 2e-3
    aspect: float = 6.0

    def __post_init__(self) -> None:
        check_law(self.variance, self.aspect)

    def init(self, parameters: Grads) -> None:
        """Refuse a model whose update is too small for the law.

        Raises:
            ParameterError: If the matrix would have fewer than 8 columns.
        """
        check_size(sum(p.numel() for p in parameters.values()), self.aspect)

    def aggregate(self, updates: Iterable[Grads], weights: Sequence[float], state: Any) -> tuple[Grads, Any]:
        """Return the mean without noise; there is no state.

        Raises:
            GradientError: If the updates have less noise than `variance` says.
        """
        mean, _ = WeightedMean().aggregate(updates, weights, None)
        variance = self.variance * sum(weight**2 for weight in weights)
        return from_matrix(without_noise(as_matrix(mean, self.aspect), variance), mean), state
