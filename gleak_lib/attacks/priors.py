"""Image and label priors, Omega in 001 Eq. 1."""

from torch import Tensor
from torch.nn import functional as F


def total_variation(images: Tensor) -> Tensor:
    """Anisotropic total variation, V values: the mean absolute difference of neighbours, down plus across.

    Args:
        images: V x ... x H x W, normalised as the model sees them; the mean is over all of a victim's images.
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(1)
    across = (images[..., :, 1:] - images[..., :, :-1]).abs().flatten(1).mean(1)
    return down + across


def label_distance(logits: Tensor, labels: Tensor, form: str = "one-hot") -> Tensor:
    """Squared distance between what the model says of the dummies and their labels, N values (000 Eq. 1).

    Args:
        logits: N x K.
        labels: N class indices or N x K probabilities.
        form: `one-hot`, or `paper-code`: the CVB paper's code subtracts the class *index*, broadcast over
            the logits, so that every logit is drawn to that number.
    """
    if form == "paper-code":
        index = labels if labels.dim() == 1 else labels.argmax(1)
        return (logits - index.to(logits.dtype)[:, None]).square().sum(1)
    target = labels if labels.dim() == 2 else F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return (logits - target).square().sum(1)
