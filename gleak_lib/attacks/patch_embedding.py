"""Closed-form inversion of a patch embedding, with the gradient of the position embedding behind it.

A vision transformer maps each patch x_p to W x_p and adds a position vector of its own. So the gradient of
that vector is the gradient delta_p of the embedded patch, and that of W is the sum of delta_p x_p^T over the
patches: with Delta (P x F) and G (F x D) known, the patches are the least-squares solution of Delta^T X = G.
Whatever stands behind the embedding changes Delta only, and a factor common to both gradients cancels;
clipped parameter by parameter, the normalized images are known up to a factor. Lu et al. (CVPR 2022) solve
likewise for the input of the first attention.
"""

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gleak_lib import gradients as engine
from gleak_lib.attacks.closed_form import ClosedForm, require_shared, several_images, solved
from gleak_lib.attacks.labels import if_possible
from gleak_lib.errors import ParameterError
from gleak_lib.global_generator import isolated
from gleak_lib.typed import typed
from gleak_lib.types import Observation, Reconstruction

MOVED = 0.05  # how far the weights are moved at random to see which gradients agree by construction


class Embedding(NamedTuple):
    """A layer that embeds P patches of D pixels each as F features, and the position added to them."""

    weight: str  # name of its weight, F x ... with F x D entries
    position: str  # name of the position embedding
    first: int  # the patches' first row in it: a class token may stand before them
    features: int  # F
    pixels: Tensor  # P x D, which pixel of a flat C x H x W image each entry of a patch is


@typed
@dataclass(frozen=True)
class PatchEmbedding(ClosedForm):
    """A vision transformer's patches by least squares; ours, after Lu et al. (CVPR 2022).

    The loss is the share of the embedding's squared weight gradient that the patches do not explain. Labels
    are not used.
    """

    name: str = "patches"

    def run(self, observation: Observation, **options: Any) -> Reconstruction:
        labels = if_possible(observation)
        if observation.batch_size != 1:
            raise several_images(observation)
        x, loss = solve(observation)
        return solved(observation, x[:, None], labels, loss)


def solve(observation: Observation) -> tuple[Tensor, Tensor]:
    """Return V images, V x C*H*W in the model's units, and the share of each G that they do not explain.

    Raises:
        ParameterError: If there is no such embedding, or it has fewer features than patches.
    """
    found = find(observation)
    patches, entries = found.pixels.shape
    if found.features < patches:
        raise ParameterError(
            f"{patches} patches cannot be told apart by {found.features} features a patch: the closed form "
            "needs at least as many features as patches. Use an iterative attack such as ATTACKS['ig']."
        )
    position, weight = observation.gradients[found.position], observation.gradients[found.weight]
    rows = torch.stack([_rows(g, found.features) for g in position])
    delta = rows[:, found.first : found.first + patches].double().mT  # V x F x P
    target = weight.reshape(len(weight), found.features, entries).double()
    x = torch.linalg.pinv(delta, rtol=torch.finfo(weight.dtype).eps) @ target  # V x P x D
    total = target.square().sum((1, 2))
    rest = (target - delta @ x).square().sum((1, 2)) / total.clamp_min(torch.finfo(weight.dtype).tiny)
    nothing = (total == 0) | (x.square().sum((1, 2)) == 0)
    images = torch.zeros_like(x.flatten(1))
    images[:, found.pixels.flatten()] = x.flatten(1)
    return images.to(weight.dtype), torch.where(nothing, 1, rest).to(weight.dtype)


def find(observation: Observation) -> Embedding:
    """Return the model's patch embedding and position embedding, by what they do and not by their names.

    The one is a linear layer, or a convolution whose stride is its kernel, that is given every pixel once;
    the other the parameter with P rows in a row whose gradient is that of the embedded patches.

    Raises:
        ParameterError: If either is missing.
    """
    engine.refuse_inference()
    like = observation.like
    count = like.new_empty(observation.input_shape, device="meta").numel()
    probe = torch.linspace(-1, 1, count).to(like).reshape(1, *observation.input_shape)
    model = engine.prepare(copy.deepcopy(observation.model).eval(), 1).requires_grad_(True)
    stream = torch.Generator().manual_seed(0)
    seen: dict[str, tuple[Tensor, Tensor]] = {}  # name -> pixels P x D, output P x F
    with ExitStack() as scope:
        scope.enter_context(isolated(like.device))
        scope.enter_context(torch.enable_grad())
        with torch.no_grad():  # a head of zeros would hide what belongs together
            for p in model.parameters():
                p.add_(torch.randn(p.shape, generator=stream).to(p), alpha=MOVED)
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) or _cuts(module):
                scope.callback(module.register_forward_hook(_note(name, probe, seen)).remove)
        logits = engine.forward(model, probe).logits
        if not seen:
            raise ParameterError(
                "No layer of this model embeds patches of the pixels (a linear layer, or a convolution whose "
                "stride is its kernel): use an iterative attack such as ATTACKS['ig']."
            )
        total = engine.cross_entropy(logits, torch.zeros(1, dtype=torch.long, device=like.device)).sum()
        weights = dict(model.named_parameters())
        outputs = [output for _, output in seen.values()]
        grads = torch.autograd.grad(
            total, [*outputs, *weights.values()], allow_unused=True, materialize_grads=True
        )
    by_name = dict(zip(weights, grads[len(outputs) :], strict=True))
    for (layer, (pixels, _)), delta in zip(seen.items(), grads, strict=False):
        for name, grad in by_name.items():
            first = _place(delta, _rows(grad, delta.shape[1]))
            if first is not None:
                require_shared(observation, f"{layer}.weight", name)
                return Embedding(f"{layer}.weight", name, first, delta.shape[1], pixels)
    raise ParameterError(
        f"{next(iter(seen))} embeds patches, but no position embedding is added to what it returns, so that "
        "the gradient of the embedded patches is not known: use an iterative attack such as ATTACKS['ig']."
    )


def _cuts(module: nn.Module) -> bool:
    """Whether a module is a convolution that cuts its input into patches side by side."""
    if not isinstance(module, nn.Conv2d) or module.groups != 1:
        return False
    return module.stride == module.kernel_size and module.padding == (0, 0) and module.dilation == (1, 1)


def _note(name: str, probe: Tensor, seen: dict[str, tuple[Tensor, Tensor]]) -> Callable[..., Any]:
    """A hook that notes layers which are given each of the probe's pixels once, in two patches or more."""

    def hook(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        given = inputs[0].detach()
        if given.numel() != probe.numel():
            return None
        conv = isinstance(module, nn.Conv2d)
        patches = F.unfold(given, module.kernel_size, stride=module.stride).mT if conv else given
        patches = patches.reshape(-1, patches.shape[-1])
        order = patches.flatten().argsort()
        if len(patches) < 2 or not torch.equal(patches.flatten()[order], probe.flatten()):
            return None
        embedded = output.flatten(2).mT.flatten(0, 1) if conv else output.reshape(len(patches), -1)
        seen[name] = order.argsort().reshape(patches.shape), embedded
        # what follows is computed from what was noted
        return (embedded.T if conv else embedded).reshape(output.shape)

    return hook


def _rows(gradient: Tensor, features: int) -> Tensor:
    """Return a parameter's gradient as rows of `features` entries, none where it has no such rows."""
    shape = [side for side in gradient.shape if side != 1]
    if len(shape) >= 2 and shape[-1] == features:
        return gradient.reshape(-1, features)
    if len(shape) >= 2 and shape[0] == features:  # channels first, as a map's position embedding
        return gradient.reshape(features, -1).T
    return gradient.new_empty(0, features)


def _place(delta: Tensor, rows: Tensor) -> int | None:
    """Return where the P rows of `delta` stand in a row among `rows`, None where they do not."""
    scale = delta.abs().max()
    if scale == 0 or len(rows) < len(delta):
        return None
    near = (rows - delta[0]).abs().amax(1) <= 1e-4 * scale
    for first in near.nonzero().flatten().tolist():
        part = rows[first : first + len(delta)]
        if part.shape == delta.shape and (part - delta).abs().max() <= 1e-4 * scale:
            return first
    return None
