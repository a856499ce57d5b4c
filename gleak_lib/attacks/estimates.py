"""What an attacker reads of the clients' defense off the observed gradients alone (003), and makes of it.

`ESTIMATES` are what `Match.estimate` applies to the dummies' gradients; the functions below them give the
estimates themselves. An estimate by the observed norm is exact where the bound was reached, and too small
where it was not, which at the truth changes nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gleak_lib.defenses import Soteria
from gleak_lib.defenses.clip import norms
from gleak_lib.errors import ParameterError
from gleak_lib.gradients.factored import scaled
from gleak_lib.typed import typed
from gleak_lib.types import Grads, Observation


def sparsity(dummy: Grads, observed: Grads) -> Grads:
    """Set to zero what is zero in the observed gradients."""
    return {name: g * (observed[name] != 0) for name, g in dummy.items()}


def clipping(dummy: Grads, observed: Grads) -> Grads:
    """Shorten each parameter tensor's gradient to the observed norm (003's notes)."""
    return {name: _shortened(g, norms({name: g}), norms({name: observed[name]})) for name, g in dummy.items()}


def clipping_whole(dummy: Grads, observed: Grads) -> Grads:
    """Shorten the whole gradient to the observed norm (the code of 003's source)."""
    norm, bound = norms(dummy), norms({name: observed[name] for name in dummy})
    return {name: _shortened(g, norm, bound) for name, g in dummy.items()}


def _shortened(g: Tensor, norm: Tensor, bound: Tensor) -> Tensor:
    return scaled(g, (bound / norm.clamp_min(1e-12)).clamp(max=1))


ESTIMATES: dict[str, Callable[[Grads, Grads], Grads]] = {
    "sparsity": sparsity,
    "clipping": clipping,
    "clipping-whole": clipping_whole,
}


@typed
def clipping_bounds(observation: Observation) -> dict[str, Tensor]:
    """Return the bound of each parameter tensor, were it clipped on its own: its norm, V values each."""
    return {name: norms({name: g}) for name, g in observation.gradients.items()}


@typed
def clipping_bound(observation: Observation) -> Tensor:
    """Return the bound of the whole gradient, were it clipped: its norm, V values."""
    return norms(observation.gradients)


@typed
def sparsification_mask(observation: Observation) -> Grads:
    """Return which entries were kept: those that are not zero, truth values V x shape."""
    return {name: g != 0 for name, g in observation.gradients.items()}


@typed
def soteria_mask(observation: Observation, layer: str | None = None) -> Tensor:
    """Return which features of a linear layer's input were pruned, V x F truth values: columns of zeros.

    A feature that is zero for all images of a victim's batch looks the same, and pruning it changes nothing.

    Args:
        observation: the gradients.
        layer: name of the layer; None takes the model's last linear one.

    Raises:
        ParameterError: If the model has no such layer, or the observation no gradient of it.
    """
    return (_weight(observation, layer) == 0).all(1)


@typed
def noise_level(observation: Observation, layer: str | None = None) -> Tensor:
    """Return the standard deviation of noise that was added to every entry, V values.

    One image's gradient of a linear layer's K x F weight is an outer product, that of B images has rank B at
    most. The squares of the other singular values sum to about (K - B) (F - B) times the noise's variance.
    Under noise that buries the gradient the B largest values are noise as well, and the estimate is a few
    percent too small.

    Args:
        observation: the gradients.
        layer: name of the layer; None takes the model's last linear one.

    Raises:
        ParameterError: If the model has no such layer, the observation no gradient of it, or K or F is not
            larger than B, so that no singular value is left.
    """
    weight = _weight(observation, layer)
    rank, (rows, columns) = observation.batch_size, weight.shape[1:]
    if min(rows, columns) <= rank:
        raise ParameterError(
            f"Of {rank} images a {rows} x {columns} gradient may have full rank, and tells nothing of noise: "
            "name a larger layer."
        )
    rest = torch.linalg.svdvals(weight.double())[:, rank:].square().sum(1)
    return (rest / ((rows - rank) * (columns - rank))).sqrt().to(weight.dtype)


def _weight(observation: Observation, layer: str | None) -> Tensor:
    """Return the gradient of a linear layer's weight, V x K x F."""
    name, *_ = Soteria(layer=layer).targets(observation.model)
    if name not in observation.gradients:
        raise ParameterError(
            f"This estimate needs the gradient of {name}, and the observation has those of "
            f"{', '.join(observation.gradients)}."
        )
    return observation.gradients[name]
