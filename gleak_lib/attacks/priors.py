"""Image priors, Omega in 001 Eq. 1."""

from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Anisotropic total variation, V values: the mean absolute difference of neighbours, down plus across.

    Args:
        images: V x ... x H x W, normalised as the model sees them; the mean is over all of a victim's images.
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(1)
    across = (images[..., :, 1:] - images[..., :, :-1]).abs().flatten(1).mean(1)
    return down + across
