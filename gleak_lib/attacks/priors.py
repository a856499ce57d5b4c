"""Image and label priors, Omega in 001 Eq. 1."""

import torch
from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Anisotropic total variation, V values: the mean absolute difference of neighbours, down plus across.

    Args:
        images: V x ... x H x W, normalised as the model sees them; the mean is over all of a victim's images.
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(1)
    across = (images[..., :, 1:] - images[..., :, :-1]).abs().flatten(1).mean(1)
    return down + across


def label_distance(logits: Tensor, labels: Tensor, form: str = "one-hot") -> Tensor:
    """How far what the model says of the dummies is from their labels, N values: CPL's label term.

    Args:
        logits: N x K.
        labels: N class indices or N x K probabilities.
        form: `one-hot`, the *squared* distance to the one-hot labels or probabilities (000 Eq. 1), or
            `paper-code`, what the CVB paper's code computes for its single images: the distance itself, not
            squared, to the class *index*, broadcast over the logits, so that every logit is drawn to that
            number. The two have other sizes, and the same weight means another thing for each. Where all
            logits equal the index, the latter's gradient is taken to be zero, as torch takes it.
    """
    if form == "paper-code":
        index = labels if labels.dim() == 1 else labels.argmax(1)
        return torch.linalg.vector_norm(logits - index.to(logits.dtype)[:, None], dim=1)
    if labels.dim() == 1:  # as `one_hot` does, which looks at values and so cannot be traced
        labels = (labels[:, None] == torch.arange(logits.shape[1], device=labels.device)).to(logits.dtype)
    return (logits - labels).square().sum(1)
