"""Per-victim gradients of a batch: a fast path, a generic one and a plain loop that agree.

V victims share the weights, so one batched forward and backward pass serves all; only the weight
gradients are per victim. The fast path takes the gradient with respect to every layer's output once and
forms each victim's weight gradient from the layer's input and that: products with patches for convolutions,
outer products for linear layers, closed forms for norms. `torch.func.vmap` serves modules that have no rule.
All three are differentiable with respect to the images, as attacks need. Before a model's first use the
path is tried against plain autograd (`verify`).
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter

from gleak_lib.errors import GradientError, ParameterError, ShapeError
from gleak_lib.gradients import paths, verify
from gleak_lib.gradients.factored import FactoredGrads, dense
from gleak_lib.gradients.norm_layers import per_victim
from gleak_lib.gradients.paths import forward
from gleak_lib.gradients.verify import path, trained
from gleak_lib.types import ForwardPass, Grads, Loss

Method = Literal["auto", "fast", "vmap", "loop"]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image, N; labels are N class indices or N x K probabilities."""
    return F.cross_entropy(logits, labels, reduction="none")


def prepare(model: nn.Module, batch_size: int) -> nn.Module:
    """Return a private copy of `model` whose gradients can be taken for many victims at once.

    Weights are frozen (they are never optimized here; `trained` remembers which of them the model trains),
    in-place activations made plain, and BatchNorm in training mode, or without running averages, takes its
    statistics over each victim's own batch and leaves running averages alone.

    Raises:
        ParameterError: active dropout, which no attack can reproduce; lazy layers that were never run,
            scripted modules, weights of several precisions.
    """
    _refuse(model)
    source, model = model, copy.deepcopy(model).requires_grad_(False)
    stand_ins: dict[nn.Module, nn.Module] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            raise ParameterError(f"Layer {name} is active dropout: call model.eval(), or set its p to 0.")
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
        if module not in stand_ins:
            stand_ins[module] = per_victim(module, batch_size)
        if stand_ins[module] is not module:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, stand_ins[module])
    verify.mark(model, source)
    return model


def _refuse(model: nn.Module) -> None:
    """Refuse what cannot be copied, hooked or differentiated."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ParameterError(
                f"{name or type(model).__name__} is a scripted module, whose layers cannot be watched: pass "
                "the Python module that it was made from."
            )
        if vars(module).get("autograd_grad_sample_hooks"):
            raise ParameterError(
                "The model carries Opacus' hooks, which do not run on a copy: pass what "
                "private.to_standard_module() returns, or a plain model with the same weights."
            )
    lazy = [name for name, p in model.named_parameters() if isinstance(p, UninitializedParameter)]
    if lazy:
        raise ParameterError(
            f"{lazy[0]} belongs to a lazy layer that has no weights yet: run the model once on a batch."
        )
    precisions = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point()}
    if len(precisions) > 1:
        raise ParameterError(
            f"The model's weights have several precisions ({', '.join(sorted(precisions))}): bring them to "
            "one, for example by model.float()."
        )


def supports_fast(model: nn.Module, names: Iterable[str] | None = None) -> bool:
    """Whether every module that holds a parameter of `names` (all by default) has a fast rule."""
    known = dict(model.named_parameters())
    wanted = tuple(known) if names is None else tuple(names)
    return set(wanted) <= set(known) and paths.has_rules(model, wanted)


def per_victim_gradients(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    victims: int,
    noise: Sequence[Tensor] | None = None,
    names: Sequence[str] | None = None,
    method: Method = "auto",
    create_graph: bool = False,
    loss: Loss | None = None,
) -> tuple[Grads, ForwardPass]:
    """Gradient of each victim's mean loss with respect to the weights.

    A victim's loss is the mean over its B images of `loss` (the cross-entropy if None) + KL term (001 Eq. 3).

    Args:
        model: a module made by `prepare`.
        x: N x C x H x W, normalized, N = V * B with a victim's images next to each other.
        labels: N class indices, or N x K probabilities.
        victims: V.
        noise: the bottlenecks' noise, N x map each; needed wherever the model has bottlenecks.
        names: parameters whose gradients are wanted; by default those that the model trains. One that the
            forward pass never uses has gradient zero.
        method: `fast`, `vmap`, `loop`, or `auto`: fast where every layer has a rule and the fast path is
            right for this model, else vmap, else the loop (`path`).
        create_graph: keep the graph, to differentiate the gradients with respect to x, labels and noise.
        loss: per-image loss of (logits, labels).

    Returns:
        The gradients, name -> V x the parameter's shape, and the forward pass (with `loop` and `vmap` a
        second one, without gradients).

    Raises:
        ShapeError: N is not a multiple of V, or the model does not run on such images.
        ParameterError: `fast` asked for where a layer has no rule or the fast path is wrong; a model whose
            gradients are not to be had (`path`), or that trains no parameter.
        GradientError: `torch.inference_mode` is on.
    """
    if victims < 1 or x.shape[0] % victims:
        raise ShapeError(f"{x.shape[0]} images cannot be split among {victims} victims.")
    names = wanted(model, names)
    if method == "fast" and not supports_fast(model, names):
        raise ParameterError("A layer of this model has no fast rule: use method='vmap'.")
    way = path(model, x, names) if method in ("auto", "fast") else method
    if method == "fast" and way != "fast":
        raise ParameterError("The fast path is wrong for this model: use method='auto'.")
    if way == "fast":
        found, run = paths.fast(model, x, labels, victims, noise, names, create_graph, loss or cross_entropy)
        return {name: dense(g) for name, g in found.items()}, run
    slow = paths.vmap if way == "vmap" else paths.loop
    grads = slow(model, x, labels, victims, noise, names, create_graph, loss or cross_entropy)
    with torch.no_grad():
        return grads, forward(model, x, noise)


def wanted(model: nn.Module, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return these names, by default those of the parameters that the model trains.

    Raises:
        ParameterError: there are none.
    """
    found = trained(model) if names is None else tuple(names)
    if found:
        return found
    if next(model.parameters(), None) is None:
        raise ParameterError("The model has no parameters, and so no gradients to share or to match.")
    raise ParameterError(
        "Every parameter of the model is frozen (requires_grad=False), so that a client trains and shares "
        "nothing: set requires_grad on those that clients train."
    )


def check(gradients: Grads, model: nn.Module) -> None:
    """Refuse gradients that are not those of `model` or are not finite.

    Every parameter that the model trains must have one; a frozen one may.

    Raises:
        GradientError: no gradients, names or shapes that do not fit, no victim axis, or NaN or infinite
            entries.
    """
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    if missing := [name for name in trained(model) if name not in gradients]:
        raise GradientError(f"The gradients lack {missing}: send one a parameter that the model trains.")
    if not gradients:
        raise GradientError("There are no gradients: every parameter of the model is frozen, or it has none.")
    if extra := [name for name in gradients if name not in shapes]:
        raise GradientError(f"The model has no parameters {extra}: are these gradients of another model?")
    victims = {g.shape[0] if g.dim() else 0 for g in gradients.values()}
    for name, gradient in gradients.items():
        if tuple(gradient.shape[1:]) != shapes[name] or len(victims) != 1:
            raise GradientError(
                f"The gradient of {name} has shape {tuple(gradient.shape)}, expected V x {shapes[name]} "
                "with the same V everywhere."
            )
        if not torch.isfinite(gradient).all():
            raise GradientError(f"The gradient of {name} has NaN or infinite entries: nothing can match it.")


def factored_gradients(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    victims: int,
    noise: Sequence[Tensor] | None = None,
    names: Sequence[str] | None = None,
    create_graph: bool = False,
    loss: Loss | None = None,
) -> tuple[FactoredGrads, ForwardPass]:
    """As `per_victim_gradients`, with weight gradients in factors (`outer.Outer`) where these are less work.

    Only the fast path knows factors; where a layer has no rule, every gradient is written out.
    """
    names = wanted(model, names)
    if (way := path(model, x, names)) == "fast":
        return paths.fast(model, x, labels, victims, noise, names, create_graph, loss or cross_entropy)
    return per_victim_gradients(
        model,
        x,
        labels,
        victims=victims,
        noise=noise,
        names=names,
        method=way,
        create_graph=create_graph,
        loss=loss,
    )
