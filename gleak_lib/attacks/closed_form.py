"""Closed-form inversion of a linear layer that sees the pixels (001 Eq. 5, appendix).

For one image x the gradient of row i of the weights is g_i x, that of its bias g_i: their quotient is the
image, whatever follows the layer. Without bias the g_i are missing (001 Table VII), but a BatchNorm in
evaluation mode right behind it maps z_i to a_i z_i + c_i + shift_i with a_i known to the server, so that a_i
times the gradient of the shift is g_i.
"""

import abc
import copy
import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gleak_lib import gradients as engine
from gleak_lib.attacks.inversion import Inversion
from gleak_lib.attacks.label_inference import linear_inputs
from gleak_lib.attacks.labels import if_possible
from gleak_lib.attacks.match import Match
from gleak_lib.attacks.part import Part, fields_of
from gleak_lib.errors import ParameterError
from gleak_lib.global_generator import isolated
from gleak_lib.pixels import denormalize
from gleak_lib.typed import typed
from gleak_lib.types import Observation, Reconstruction

ITERATIVE = "use an iterative attack such as ATTACKS['ig']"
SAME = 1e-3  # quotients whose distance is below this share of their length are the same image
LEAST = 1e-6  # a divisor below this share of its row's length is rounding error


class ClosedForm(Part, Inversion, abc.ABC):
    """An attack that takes no steps: it solves for the images, or refuses with a `ParameterError`."""

    @property
    def kind(self) -> str:
        return "closed-form"

    @property
    def evaluations(self) -> int:
        return 1

    @property
    def settings(self) -> dict[str, Any]:
        return fields_of(self)

    def matched(self, observation: Observation) -> tuple[str, ...]:
        return Match().names(observation)


@typed
@dataclass(frozen=True)
class LinearInversion(ClosedForm):
    """Images read off the first linear layer, by dividing its weight's gradient.

    The loss is the share of the layer's squared weight gradient that is no combination of the images: 0 if
    they are exact (or mix all images of a batch), 1 where every divisor is zero. Labels are not used.

    Attributes:
        name: what tables call it.
        route: what it divides by: the gradient of the layer's `bias` (001 Eq. 5), or that of the `shift` of a
            BatchNorm behind it.
        rows: the row whose divisor is `largest` (001 Eq. 5), or the least-squares fit over `all`, which is
            better with noise. In a batch, the quotients that most rows agree on, `repeated`: those of
            neurons that respond to one image only, and mixtures where there are too few of these.
    """

    name: str = "analytic"
    route: Literal["bias", "shift"] = "bias"
    rows: Literal["all", "largest", "repeated"] = "all"

    def run(self, observation: Observation, **options: Any) -> Reconstruction:
        several = observation.batch_size != 1
        if several and self.rows != "repeated":
            raise several_images(observation)
        name, weight = first_weight(observation)
        labels = if_possible(observation)
        divisor = (_bias if self.route == "bias" else _shift)(observation, name)
        if self.rows == "repeated":
            pairs = zip(weight, divisor, strict=True)
            x = torch.stack([_repeated(w, d, observation.batch_size) for w, d in pairs])
        else:
            x = _quotient(weight, divisor, self.rows)[:, None]
        return solved(observation, x, labels, _unexplained(weight, x if several else None, divisor, x[:, 0]))


def several_images(observation: Observation) -> ParameterError:
    """Build the error for a batch whose images cannot be told apart."""
    return ParameterError(
        "The closed form reads one image off a linear layer, and the gradients of this batch are a sum over "
        f"{observation.batch_size}: {ITERATIVE}, or look for repeated quotients "
        "(LinearInversion(rows='repeated'))."
    )


def solved(observation: Observation, x: Tensor, labels: Tensor, loss: Tensor) -> Reconstruction:
    """Return images V x B x D in the model's units, labels V x B and loss V as a `Reconstruction`."""
    images = x.reshape(len(x), -1, *observation.input_shape)
    images = denormalize(images, observation.mean, observation.std).clamp(0, 1)
    none = torch.zeros(len(x), dtype=torch.long, device=x.device)
    return Reconstruction(
        images=images if observation.batched else images.squeeze(1),
        labels=labels if observation.batched else labels.squeeze(1),
        loss=loss,
        steps=none,
        trace=loss[None],
        trace_steps=none[:1],
    )


def require_shared(observation: Observation, *names: str) -> None:
    """Refuse an observation without the gradients of some parameters, which clients freeze."""
    if missing := [name for name in names if name not in observation.gradients]:
        raise ParameterError(
            f"The closed form reads the gradient of {missing[0].removesuffix('.weight')}, which clients "
            f"freeze and do not share: {ITERATIVE}."
        )


def first_weight(observation: Observation) -> tuple[str, Tensor]:
    """Return the name of the linear layer that is given the pixels, and its weight's gradient, V x R x D.

    Raises:
        ParameterError: If there is none, or it is frozen.
    """
    shape = (observation.batch_size, *observation.input_shape)
    probe = torch.linspace(-1, 1, math.prod(shape)).to(observation.like).reshape(shape)
    seen, _ = linear_inputs(observation, probe)
    for name, given in seen.items():
        if given.numel() == probe.numel() and torch.equal(given.flatten(), probe.flatten()):
            require_shared(observation, f"{name}.weight")
            return name, observation.gradients[f"{name}.weight"]
    others = [f"{name} sees {given.shape[-1]} other features" for name, given in seen.items()]
    rest = (others or ["it has no linear layer"])[0]
    raise ParameterError(
        f"No linear layer of this model is given the pixels ({rest}): the closed form reads the input of a "
        f"linear layer only. {ITERATIVE[0].upper()}{ITERATIVE[1:]}."
    )


def _bias(observation: Observation, name: str) -> Tensor:
    bias = observation.gradients.get(f"{name}.bias")
    if bias is None:
        raise ParameterError(
            f"The closed form divides by the gradient of a bias, and {name} has none (removing it is the "
            f"defense of Scheliga et al. 2023a, Table VII): {ITERATIVE}, or route='shift' where a BatchNorm "
            "in evaluation mode follows, or RankOne()."
        )
    return bias


def _shift(observation: Observation, name: str) -> Tensor:
    """Return what the gradient of a bias would be, from that of the shift of a BatchNorm right behind."""
    norm = _norm_behind(observation, name)
    module = None if norm is None else observation.model.get_submodule(norm)
    shift = observation.gradients.get(f"{norm}.bias")
    if not isinstance(module, nn.modules.batchnorm._BatchNorm) or shift is None:
        raise ParameterError(
            f"The route 'shift' needs a BatchNorm with a shift right behind {name}: {ITERATIVE}."
        )
    if module.training or module.running_var is None:
        raise ParameterError(
            f"{norm} normalizes by the batch itself, so that no known factor leads from its shift's gradient "
            f"back to {name}: the route 'shift' needs clients in evaluation mode. Else {ITERATIVE}."
        )
    return shift * (module.weight / (module.running_var + module.eps).sqrt()).detach()


def _norm_behind(observation: Observation, name: str) -> str | None:
    """Return the name of the BatchNorm that is given what linear layer `name` returns, if there is one."""
    like, model = observation.like, copy.deepcopy(observation.model).eval()
    found, out = [], []
    with ExitStack() as hooks, torch.no_grad():
        hooks.callback(
            model.get_submodule(name).register_forward_hook(lambda *args: out.append(args[2])).remove
        )
        for other, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):

                def note(_module, inputs, other=other) -> None:
                    if out and inputs[0] is out[0]:
                        found.append(other)

                hooks.callback(module.register_forward_pre_hook(note).remove)
        hooks.enter_context(isolated(like.device))
        engine.forward(model, like.new_zeros(1, *observation.input_shape))
    return found[0] if found else None


def _quotient(weight: Tensor, divisor: Tensor, rows: str) -> Tensor:
    """Solve weight = divisor x^T for x, V x D; zeros where the divisor is."""
    if rows == "largest":
        best = divisor.abs().argmax(1, keepdim=True)
        divisor, weight = divisor.gather(1, best), weight.take_along_dim(best[..., None], 1)
    square = divisor.square().sum(1, keepdim=True)
    zero = square == 0
    return torch.where(zero, 0, (divisor[:, None] @ weight).squeeze(1) / torch.where(zero, 1, square))


def _repeated(weight: Tensor, divisor: Tensor, count: int) -> Tensor:
    """Return the `count` quotients of rows (R x D, R) on which most rows agree, best first."""
    found = weight.new_zeros(count, weight.shape[1])
    live = divisor.abs() > LEAST * weight.norm(dim=1)
    order = divisor.abs().argsort(descending=True)
    order = order[live[order]]
    quotients = weight[order] / divisor[order, None]
    if not len(quotients):
        return found
    length = quotients.norm(dim=1)
    near = torch.cdist(quotients, quotients) <= SAME * torch.minimum(length, length[:, None])
    near.fill_diagonal_(True)
    left = torch.ones_like(length, dtype=torch.bool)
    for place in range(count):
        if not left.any():
            break
        agree = torch.where(left, (near & left).sum(1), 0)
        best = int(agree.argmax())  # the first of several, whose divisor is largest
        found[place] = quotients[best]
        left &= ~near[best]
    return found


def _unexplained(weight: Tensor, images: Tensor | None, divisor: Tensor, x: Tensor) -> Tensor:
    """Share of the squared weight gradient (V x R x D) that is no multiple or combination of the images."""
    if images is None:
        rest = weight - divisor[..., None] * x[:, None]
    else:
        basis = torch.linalg.qr(images.mT.double()).Q.to(weight)  # V x D x B
        basis = basis * (images.norm(dim=2) > 0)[:, None]
        rest = weight - (weight @ basis) @ basis.mT
    total = weight.square().sum((1, 2))
    share = rest.square().sum((1, 2)) / total.clamp_min(torch.finfo(x.dtype).tiny)
    nothing = (total == 0) | (x.square().sum(1) == 0)
    return torch.where(nothing, 1, share)
