"""How often each class is in a batch, from the classifier's gradient alone (iLRG; Ma et al., ICLR 2023).

Of B images with features e_i, probabilities p_i and one-hot labels y_i, the classifier's bias has the
gradient b = sum_i (p_i - y_i) / B and its weight G = sum_i (p_i - y_i) e_i^T / B. So the counts are
n = sum_i p_i - B b, and only the probabilities are not in the gradients. The rule takes those of one mean
image for each class: its features are row c of G over entry c of b, and the server's own classifier tells
their probabilities P_c. Then

    sum_c n_c P_c - n = B b,    sum_c n_c = B

are K + 1 linear equations for K counts, solved in the least-squares sense.
"""

import torch
from torch import Tensor

from gleak_lib.attacks.classifier import linear_inputs, told_by
from gleak_lib.types import Observation

PROBES, SEED = 64, 0  # dummy images that tell what features are like where there is no bias; always the same
REFINEMENTS = 5  # of the mean feature's length
RARE = 1e-12  # least mean probability


def count_labels(observation: Observation) -> Tensor:
    """Estimate how many images of each class a batch holds (after Ma et al. 2023); it may repeat classes.

    It is at its best for fresh weights, whose probabilities hardly differ between images. Training spoils it,
    and so do defenses that rescale, prune or blur the gradient. Three things differ from the paper:

    - Quotients whose divisor is less than one image's share, sums that nearly cancel, are drawn to the
      least-squares fit of all rows, and that to zero.
    - The result is the nearest point with n >= 0 and sum n = B, rounded by largest remainders.
    - A classifier without a bias, or with one that is not shared, is read, too. Its rows are taken for b_c
      times one mean feature, near that of dummy images. Its length is the one at which classes that are
      surely absent (B < K) count zero; for larger batches the dummy images', or a greater one if a count
      would be negative otherwise.

    Returns:
        V x K counts, each row's sum the batch size.

    Raises:
        ParameterError: If the model has no linear classifier, or does not share its weight's gradient, or the
            loss is not the cross-entropy.
    """
    name, classes = told_by(observation)
    batch = observation.batch_size
    weight = observation.gradients[f"{name}.weight"].double()
    layer = observation.model.get_submodule(name)
    own = torch.as_tensor(layer.weight).detach().double()
    shift = own.new_zeros(classes) if layer.bias is None else torch.as_tensor(layer.bias).detach().double()
    if f"{name}.bias" in observation.gradients:
        bias = observation.gradients[f"{name}.bias"].double()
    else:
        bias = _bias_gradient(observation, name, weight, own, shift)
    mean = (bias[:, :, None] * weight).sum(1) / _damped(bias, batch)[:, None]
    one = 1 / batch**2
    features = bias[:, :, None] * weight + one * mean[:, None]
    features = features / (bias.square() + one)[:, :, None]  # V x K x F, a mean image of each class
    probabilities = (features @ own.T + shift).softmax(-1)
    equations = probabilities.mT - torch.eye(classes).to(own)
    equations = torch.cat([equations, torch.ones_like(equations[:, :1])], 1)
    right = torch.cat([batch * bias, torch.full_like(bias[:, :1], batch)], 1)
    return _whole((torch.linalg.pinv(equations) @ right[:, :, None]).squeeze(2), batch)


def _damped(bias: Tensor, batch: int) -> Tensor:
    """Return |b|^2, V values, plus the square of the most that one image adds to an entry of b."""
    return bias.square().sum(1) + 1 / batch**2


def _bias_gradient(observation: Observation, name: str, weight: Tensor, own: Tensor, shift: Tensor) -> Tensor:
    """Return the gradient that a bias would have, V x K, where there is none or it is not shared."""
    batch, classes = observation.batch_size, weight.shape[1]
    dummy = _probe(observation, name).double().mean(0)
    tiny = torch.finfo(dummy.dtype).tiny
    bias = (
        weight @ dummy / dummy.square().sum().clamp_min(tiny)
    )  # the rows are b_c times one feature, near the dummies'
    mean = ((bias[:, :, None] * weight).sum(1) + dummy / batch**2) / _damped(bias, batch)[:, None]
    start = length = mean.norm(dim=1).clamp_min(tiny**0.5)
    unit = mean / length[:, None]
    along = (weight @ unit[:, :, None]).squeeze(2)
    for _ in range(REFINEMENTS):  # probabilities depend on the length, and the length on them
        expected = (length[:, None] * unit @ own.T + shift).softmax(-1).clamp_min(RARE)
        zero = (along / expected).sort(1, descending=True).values  # the length at which a class counts zero
        some = zero[:, : classes - batch].median(1).values if batch < classes else zero[:, 0]
        length = torch.where(some > 0, some, start) if batch < classes else torch.maximum(start, some)
    return along / length[:, None]


def _probe(observation: Observation, name: str) -> Tensor:
    """Return what the classifier is given for dummy images from N(0, 1), in the model's units."""
    like = observation.like
    rows = -(-PROBES // observation.batch_size) * observation.batch_size
    stream = torch.Generator().manual_seed(SEED)
    x = torch.randn(rows, *observation.input_shape, generator=stream, dtype=like.dtype).to(like.device)
    with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []):
        torch.manual_seed(SEED)  # bottlenecks draw noise
        return linear_inputs(observation, x)[0][name]


def _whole(counts: Tensor, total: int) -> Tensor:
    """Return whole numbers of sum `total` near V x K real ones: project onto the simplex, then round."""
    ordered = counts.sort(1, descending=True).values
    ranks = torch.arange(1, counts.shape[1] + 1, device=counts.device)
    excess = (ordered.cumsum(1) - total) / ranks
    last = (ordered > excess).sum(1, keepdim=True) - 1
    inside = (counts - excess.gather(1, last)).clamp_min(0)
    whole = inside.floor()
    missing = (total - whole.sum(1, keepdim=True)).round()
    rank = torch.argsort(inside - whole, dim=1, descending=True, stable=True).argsort(dim=1)
    return (whole + (rank < missing)).long()
