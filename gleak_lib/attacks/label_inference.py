"""What the gradients say about the labels."""

from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gleak_lib.errors import ParameterError, ShapeError, unknown
from gleak_lib.global_generator import isolated
from gleak_lib.gradients import forward, prepare
from gleak_lib.typed import typed
from gleak_lib.types import Observation

RULES = ("counts", "gradinversion")
"""Rules for batches; one image has the sign rule."""
PROBES, SEED = 64, 0  # dummy images that tell what features are like where there is no bias; always the same
REFINEMENTS = 5  # of the mean feature's length
RARE = 1e-12  # least mean probability


def infer(observation: Observation, rule: str = "counts") -> Tensor:
    """Read the labels off the gradients: `infer_single` for one image, else `infer_batch`; V x B."""
    return infer_single(observation) if observation.batch_size == 1 else infer_batch(observation, rule)


def infer_single(observation: Observation) -> Tensor:
    """Infer the label of batches of one image from the sign of the classifier's gradient (iDLG); V x 1.

    The gradient with respect to logit c is p_c - [c = y], negative for the true class alone: that of a bias,
    and, times the features, row c of that of the weight. Without a bias the rows' inner products tell: the
    true class's row is opposed to every other, whatever the sign of the features (a ViT's sum to zero). Of
    two classes each is opposed to the other: then the row sums decide, for features that are not negative.

    Raises:
        ParameterError: If batches have more than one image, there is no linear classifier, or the loss is not
            the cross-entropy.
    """
    if observation.batch_size != 1:
        raise ParameterError(
            f"The sign rule reads one label from one image, this batch has {observation.batch_size}: "
            "use infer_batch, or pass labels."
        )
    name, classes = told_by(observation)
    bias = observation.gradients.get(f"{name}.bias")
    if bias is None:
        weight = observation.gradients[f"{name}.weight"]
        bias = weight.sum(-1) if classes == 2 else (weight @ weight.transpose(1, 2)).sign().sum(-1)
    return torch.argmin(bias, dim=1, keepdim=True)


def infer_batch(observation: Observation, rule: str = "counts") -> Tensor:
    """Infer the labels of batches; V x B class indices, ascending: their order is not in the gradients.

    Args:
        observation: of batches of any size.
        rule: `counts`, how often each class is there (`count_labels`). Or `gradinversion` (Yin et al. 2021,
            Eq. 4): the B classes whose rows of the classifier's weight gradient have the lowest minimum. It
            assumes features that are not negative, and that no class is there twice.

    Raises:
        UnknownNameError: If there is no such rule.
        ParameterError: If the model has no linear classifier, or if `gradinversion` is asked for and there
            are more images than classes.
    """
    if rule not in RULES:
        raise unknown("label rule", rule, RULES)
    if rule == "counts":
        counts = count_labels(observation)
        classes = torch.arange(counts.shape[1], device=counts.device).expand_as(counts)
        return classes.flatten().repeat_interleave(counts.flatten()).reshape(len(counts), -1)
    name, classes = told_by(observation)
    if observation.batch_size > classes:
        raise ParameterError(
            f"GradInversion's rule needs batches of disjoint classes, and {observation.batch_size} images "
            f"cannot have them among {classes}: use rule='counts', or pass labels."
        )
    lowest = observation.gradients[f"{name}.weight"].amin(2)
    return lowest.topk(observation.batch_size, dim=1, largest=False).indices.sort(1).values


def count_labels(observation: Observation) -> Tensor:
    """Estimate how many images of each class a batch holds, V x K counts of sum B (iLRG; Ma et al. 2023).

    Of B images with features e_i, probabilities p_i and one-hot labels y_i, the classifier's bias has the
    gradient b = sum_i (p_i - y_i) / B and its weight G = sum_i (p_i - y_i) e_i^T / B. Only the probabilities
    are not in the gradients. The rule takes those of one mean image for each class: its features are row c of
    G over entry c of b, and the server's own classifier tells their probabilities P_c. Then
    sum_c n_c P_c - n = B b and sum_c n_c = B are solved in the least-squares sense.

    Training spoils it, and so do defenses that rescale, prune or blur. Three things differ from the paper:

    - Quotients whose divisor is less than one image's share, sums that nearly cancel, are drawn to the
      least-squares fit of all rows, and that to zero.
    - The result is the nearest point with n >= 0 and sum n = B, rounded by largest remainders.
    - A classifier without a bias, or with one that is not shared, is read, too. Its rows are taken for b_c
      times one mean feature, near that of dummy images. Its length is the one at which classes that are
      surely absent (B < K) count zero; for larger batches the dummy images', or a greater one if a count
      would be negative otherwise.

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
    x = _dummies(observation, -(-PROBES // batch) * batch)
    dummy = linear_inputs(observation, x, seed=SEED)[0][name].double().mean(0)
    tiny = torch.finfo(dummy.dtype).tiny
    # the rows are b_c times one feature, near the dummies'
    bias = weight @ dummy / dummy.square().sum().clamp_min(tiny)
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


@typed
def label_accuracy(found: Tensor, truth: Tensor) -> Tensor:
    """Share of each victim's labels that were found, V values; their order within a batch does not count.

    Args:
        found: V or V x B class indices.
        truth: of the same shape.

    Raises:
        ShapeError: If the shapes differ.
    """
    if found.shape != truth.shape:
        raise ShapeError(
            f"Found and true labels differ in shape: {tuple(found.shape)}, {tuple(truth.shape)}."
        )
    found, truth = (t.detach().cpu().reshape(len(t), -1) for t in (found, truth))
    classes = int(torch.maximum(found.max(), truth.max())) + 1
    counts = [nn.functional.one_hot(t, classes).sum(1) for t in (found, truth)]
    return torch.minimum(*counts).sum(1).double() / truth.shape[1]


class Pass(NamedTuple):
    """What a forward pass shows: linear layers' last inputs and outputs, in the order run, and the logits."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    logits: Tensor


def linear_layers(observation: Observation, x: Tensor, seed: int | None = None) -> Pass:
    """Run the model on N x C x H x W, whole batches.

    The global random state stays what it was; a seed makes the bottlenecks' draws the same each time.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    model = prepare(observation.model, observation.batch_size)
    with ExitStack() as scope, torch.no_grad():
        scope.enter_context(isolated(x.device, seed))
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):

                def note(_module, inputs, output, name=name) -> None:
                    seen.pop(name, None)
                    seen[name] = inputs[0], output.clone()  # what comes after may change it in place

                scope.callback(module.register_forward_hook(note).remove)
        logits = forward(model, x).logits
    inputs, outputs = ({name: both[part] for name, both in seen.items()} for part in (0, 1))
    return Pass(inputs, outputs, logits)


def linear_inputs(
    observation: Observation, x: Tensor, seed: int | None = None
) -> tuple[dict[str, Tensor], int]:
    """The same, but return each linear layer's input and K."""
    found = linear_layers(observation, x, seed)
    return found.inputs, found.logits.shape[-1]


def class_count(observation: Observation) -> int:
    """Return K, the number of the model's logits."""
    return linear_inputs(observation, _dummies(observation, observation.batch_size))[1]


def _dummies(observation: Observation, rows: int) -> Tensor:
    """Draw dummy images, rows x C x H x W from N(0, 1), the same each time."""
    like, stream = observation.like, torch.Generator().manual_seed(SEED)
    shape = (rows, *observation.input_shape)
    return torch.randn(shape, generator=stream, dtype=like.dtype).to(like.device)


def told_by(observation: Observation) -> tuple[str, int]:
    """Return `classifier` where its gradient tells labels.

    Raises:
        ParameterError: If there is no such layer, or the clients' loss is not the cross-entropy.
        GradientError: If the model has changed since it was observed.
    """
    observation.check_model()
    if observation.loss is not None:
        raise ParameterError(
            "Labels are read off the gradient of the cross-entropy, and these clients have a loss of their "
            "own: pass labels."
        )
    return classifier(observation)


def classifier(observation: Observation) -> tuple[str, int]:
    """Return the name of the linear layer that gives the logits, and the number of classes.

    Of several that do it is the one that runs last. Logits may be shifted, by one number an image, as
    `log_softmax` does: that changes no gradient.

    Raises:
        ParameterError: If there is no linear layer, none gives the logits, or the one that does is frozen.
    """
    _, outputs, logits = linear_layers(observation, _dummies(observation, observation.batch_size))
    if not outputs:
        raise ParameterError("Labels are read off a linear classifier, and this model has none: pass labels.")
    found = [name for name, output in outputs.items() if _alike(output, logits)]
    if not found:
        raise ParameterError(
            f"The last linear layer, {list(outputs)[-1]}, does not give this model's {logits.shape[-1]} "
            "logits as they leave the model (not scaled, negated, averaged), and no other does: pass labels."
        )
    name = found[-1]
    if f"{name}.weight" not in observation.gradients:
        raise ParameterError(
            f"Labels are read off the gradient of {name}, which clients freeze and do not share: pass labels."
        )
    return name, logits.shape[-1]


def _alike(output: Tensor, logits: Tensor) -> bool:
    """Whether two tensors, N x K, are equal up to rounding and a number that is added to a row."""
    if output.shape != logits.shape:
        return False
    eps = max(torch.finfo(t.dtype).eps for t in (output, logits))
    centered, other = (t.double() - t.double().mean(1, keepdim=True) for t in (output, logits))
    rounding = eps**0.5 * other.abs().max() + 10 * eps * logits.double().abs().max()
    return bool((centered - other).abs().max() <= rounding)
