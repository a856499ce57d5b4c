"""Noise told from data by the eigenvalues of an update's covariance (004 §5; Marchenko and Pastur 1967).

An update's entries, in the parameters' order, fill the rows of a v x w matrix C = Z + R, padded with zeros;
Q = v / w. If R had independent entries of variance s2, the eigenvalues of R'R / v would lie between
s2 (1 - 1/sqrt(Q))^2 and s2 (1 + 1/sqrt(Q))^2 for large w. Those of C'C / v in that interval are taken for
noise, and the eigenvectors of the others span the data.

The variance, which 004 prints garbled: participant i's noise has the variance q in every entry (see
`SlicePerturbation.entry_variance`) and counts with its weight e_i; the participants draw independently, so
that the variances of e_i R_i add up, s2 = q sum_i e_i^2. Noise on slices is no independent noise: an entry's
is a mixture, and all entries of a slice share its part, so that few participants widen the spectrum.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gleak_lib.errors import GradientError, ParameterError
from gleak_lib.types import Grads

LEAST = 8  # columns below which the law, a limit, says nothing


class Interval(NamedTuple):
    """Where the eigenvalues of pure noise lie: 004 Eq. 4's lambda_min and lambda_max."""

    low: float
    high: float


def marchenko_pastur(variance: float, aspect: float) -> Interval:
    """Return the interval for noise of this variance in a matrix with Q = `aspect` rows per column.

    Raises:
        ParameterError: If the variance is not positive and finite, or the aspect is below 1.
    """
    check_law(variance, aspect)
    return Interval(variance * (1 - aspect**-0.5) ** 2, variance * (1 + aspect**-0.5) ** 2)


def marchenko_pastur_density(x: Tensor, variance: float, aspect: float) -> Tensor:
    """Return the density of the noise's eigenvalues at `x`, 0 outside the interval (004 Eq. 4).

    Raises:
        ParameterError: As `marchenko_pastur`.
    """
    low, high = marchenko_pastur(variance, aspect)
    inside = (x > max(low, 0)) & (x < high)
    root = ((x - low) * (high - x)).clamp_min(0).sqrt()
    return torch.where(inside, aspect * root / (2 * math.pi * variance * torch.where(inside, x, 1)), 0.0)


def as_matrix(update: Grads, aspect: float) -> Tensor:
    """Return the entries of all parameters as a v x w matrix, row by row, v / w close to `aspect`.

    The last row is filled up with zeros.

    Args:
        update: name -> the parameter's shape.
        aspect: Q, at least 1.

    Raises:
        ParameterError: If the matrix would have fewer than 8 columns.
    """
    size = sum(value.numel() for value in update.values())
    columns = round(math.sqrt(size / aspect))
    check_size(size, aspect)
    entries = torch.cat([value.flatten() for value in update.values()])
    return torch.nn.functional.pad(entries, (0, -size % columns)).view(-1, columns)


def from_matrix(matrix: Tensor, like: Grads) -> Grads:
    """Return the matrix's entries in the shapes of `like`; the inverse of `as_matrix`."""
    sizes = [value.numel() for value in like.values()]
    parts = matrix.flatten()[: sum(sizes)].split(sizes)
    return {name: part.view(value.shape) for (name, value), part in zip(like.items(), parts, strict=True)}


def spectrum(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues of C'C / v, w in rising order, and the eigenvectors, w x w, one per column.

    Raises:
        GradientError: If an entry is NaN or infinite.
    """
    if not matrix.isfinite().all():
        raise GradientError(
            "The aggregated update has NaN or infinite entries: lower lr, or look at what the clients share."
        )
    wide = matrix.double()
    values, vectors = torch.linalg.eigh(wide.T @ wide / len(wide))
    return values.clamp_min(0), vectors


def without_noise(matrix: Tensor, variance: float) -> Tensor:
    """Return Z* = C P P', P the eigenvectors whose eigenvalues lie outside the noise's interval (004 Eq. 5).

    A variance that is too small takes nothing away: then all eigenvalues lie above its interval.

    Args:
        matrix: C, v x w with v >= w.
        variance: of the noise in one entry.

    Raises:
        ParameterError: If the variance is not positive and finite, or there are fewer rows than columns.
        GradientError: If the variance is too large for this matrix, even its largest eigenvalue lies below
            the interval, or an entry is not finite.
    """
    low, high = marchenko_pastur(variance, len(matrix) / matrix.shape[1])
    values, vectors = spectrum(matrix)
    if float(values[-1]) < low:
        raise GradientError(
            f"Noise of variance {variance:.3g} has eigenvalues between {low:.3g} and {high:.3g}, and those "
            f"of the update end at {float(values[-1]):.3g}: it has less noise than that. Is the variance in "
            "the units of the shared update?"
        )
    data = vectors[:, (values < low) | (values > high)]
    return (matrix.double() @ data @ data.T).to(matrix.dtype)


def check_law(variance: float, aspect: float) -> None:
    """Refuse what the law says nothing of.

    Raises:
        ParameterError: If the variance is not positive and finite, or the aspect is below 1.
    """
    if not 0 < variance < math.inf:
        raise ParameterError(f"The noise's variance must be positive and finite, got {variance}.")
    if not 1 <= aspect < math.inf:
        raise ParameterError(f"Q, the rows per column, must be at least 1, got {aspect}.")


def check_size(entries: int, aspect: float) -> None:
    """Refuse updates of so few entries that the law says nothing of their matrix.

    Raises:
        ParameterError: If the matrix would have fewer than 8 columns.
    """
    if (columns := round(math.sqrt(entries / aspect))) < LEAST:
        raise ParameterError(
            f"{entries} entries make a matrix of {columns} column(s) at Q={aspect:g}, and the "
            f"Marchenko-Pastur law needs {LEAST} at least: lower aspect, or take a larger model."
        )
