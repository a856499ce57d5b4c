"""Per-victim gradients of a batch: a fast path, a generic one and a plain loop that agree.

V victims share the weights, so one batched forward and backward pass serves all; only the weight
gradients are per victim. The fast path takes the gradient with respect to every layer's output once and
forms each victim's weight gradient from the layer's input and that: unfold + bmm for convolutions, outer
products for linear layers, closed forms for norms. `torch.func.vmap` serves modules that have no rule.
All three are differentiable with respect to the images, as attacks need.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gleak_lib.errors import GradientError, ParameterError, ShapeError
from gleak_lib.norms import VictimBatchNorm, elementary
from gleak_lib.outer import FactoredGrads, Outer, dense
from gleak_lib.rules import rule_of
from gleak_lib.types import Grads, Run, VariationalModel

Method = Literal["auto", "fast", "vmap", "loop"]
Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image, N; labels are N class indices or N x K probabilities."""
    return F.cross_entropy(logits, labels, reduction="none")


def forward(
    model: nn.Module,
    x: Tensor,
    noise: Sequence[Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> Run:
    """Run any module: one with bottlenecks through its `run`, a plain one with no KL term and no noise."""
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention kernels have no second derivative
        if isinstance(model, VariationalModel):
            return model.run(x, noise, generator)
        if noise:
            raise ShapeError("This model has no bottlenecks: it takes no noise.")
        return Run(model(x), x.new_zeros(x.shape[0]), ())


def prepare(model: nn.Module, batch_size: int) -> nn.Module:
    """Return a private copy of `model` whose gradients can be taken for many victims at once.

    Weights are frozen (they are never optimised here), in-place activations made plain, and BatchNorm in
    training mode takes its statistics over each victim's own batch and leaves running averages alone.

    Raises:
        ParameterError: active dropout, which no attack can reproduce.
    """
    model = copy.deepcopy(model).requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            raise ParameterError(f"{name} is an active dropout layer: call model.eval() or set its p to 0.")
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, VictimBatchNorm(module, batch_size))
    return model


def supports_fast(model: nn.Module, names: Iterable[str] | None = None) -> bool:
    """Whether every parameter in `names` (all by default) belongs to a module that has a fast rule."""
    wanted = set(dict(model.named_parameters()) if names is None else names)
    covered = {
        f"{prefix}.{p}" if prefix else p
        for prefix, module in model.named_modules()
        if rule_of(module) is not None
        for p, _ in module.named_parameters(recurse=False)
    }
    return wanted <= covered


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
    loss: Loss = cross_entropy,
) -> tuple[Grads, Run]:
    """Gradient of each victim's mean loss with respect to the weights.

    A victim's loss is the mean over its B images of `loss` + KL term (001 Eq. 3).

    Args:
        model: a module made by `prepare`.
        x: N x C x H x W, normalised, N = V * B with a victim's images next to each other.
        labels: N class indices, or N x K probabilities.
        victims: V.
        noise: the bottlenecks' noise, N x map each; needed wherever the model has bottlenecks.
        names: parameters whose gradients are wanted; all by default.
        method: `fast`, `vmap`, `loop`, or `auto`: fast where every layer has a rule, else vmap.
        create_graph: keep the graph, to differentiate the gradients with respect to x, labels and noise.
        loss: per-image loss of (logits, labels).

    Returns:
        The gradients, name -> V x the parameter's shape, and the forward pass (with `loop` and `vmap` a
        second one, without gradients).

    Raises:
        ShapeError: N is not a multiple of V.
        ParameterError: `fast` asked for where a layer has no rule.
    """
    if victims < 1 or x.shape[0] % victims:
        raise ShapeError(f"{x.shape[0]} images cannot be split among {victims} victims.")
    wanted = tuple(dict(model.named_parameters())) if names is None else tuple(names)
    fast = supports_fast(model, wanted)
    if method == "auto":
        method = "fast" if fast else "vmap"
    if method == "fast":
        if not fast:
            raise ParameterError("A layer of this model has no fast rule: use method='vmap'.")
        found, run = _fast(model, x, labels, victims, noise, wanted, create_graph, loss)
        return {name: dense(g) for name, g in found.items()}, run
    slow = _vmap if method == "vmap" else _loop
    grads = slow(model, x, labels, victims, noise, wanted, create_graph, loss)
    with torch.no_grad():
        return grads, forward(model, x, noise)


def check(gradients: Grads, model: nn.Module) -> None:
    """Refuse gradients that are not those of `model` or are not finite.

    Raises:
        GradientError: names or shapes that do not fit, no victim axis, or NaN or infinite entries.
    """
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    if missing := [name for name in shapes if name not in gradients]:
        raise GradientError(f"The gradients lack {missing}: send one a parameter of the model.")
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
    loss: Loss = cross_entropy,
) -> tuple[FactoredGrads, Run]:
    """As `per_victim_gradients`, with weight gradients in factors (`outer.Outer`) where these are less work.

    Only the fast path knows factors; where a layer has no rule, every gradient is written out.
    """
    wanted = tuple(dict(model.named_parameters())) if names is None else tuple(names)
    if not supports_fast(model, wanted):
        grads, run = per_victim_gradients(
            model,
            x,
            labels,
            victims=victims,
            noise=noise,
            names=wanted,
            method="vmap",
            create_graph=create_graph,
            loss=loss,
        )
        return grads, run
    return _fast(model, x, labels, victims, noise, wanted, create_graph, loss)


def _fast(model, x, labels, victims, noise, names, create_graph, loss) -> tuple[FactoredGrads, Run]:
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    owners = {name.rpartition(".")[0] for name in names}

    def record(prefix: str):
        def hook(module, inputs, output):
            output = output.clone()  # a later in-place operation must not change what was recorded
            calls.append((prefix, module, inputs[0], output))
            return output

        return hook

    if not any(t.requires_grad for t in (x, *(noise or ()))):
        x = x.detach().requires_grad_()
    with ExitStack() as hooks, torch.enable_grad():
        for prefix, module in model.named_modules():
            if prefix in owners:
                hooks.callback(module.register_forward_hook(record(prefix)).remove)
        run = forward(model, x, noise)
        total = (loss(run.logits, labels) + run.kl).sum() * (victims / x.shape[0])
    used = torch.autograd.grad(
        total, [c[3] for c in calls], create_graph=create_graph, materialize_grads=True
    )
    grads: dict[str, Tensor | Outer] = {}
    wanted = set(names)
    for (prefix, module, inputs, _), grad_output in zip(calls, used, strict=True):
        inputs = inputs if create_graph else inputs.detach()
        for p, g in rule_of(module)(module, inputs, grad_output, victims).items():  # type: ignore[misc]
            name = f"{prefix}.{p}" if prefix else p
            if name in grads:  # a module that is called twice
                grads[name] = dense(grads[name]) + dense(g)
            elif name in wanted:
                grads[name] = g if isinstance(g, Tensor) or g.pays else g.dense()
    return {name: grads[name] for name in names}, run


def _victim_loss(model: nn.Module, names: Sequence[str], loss: Loss):
    fixed = dict(model.named_buffers())
    fixed |= {n: p.detach() for n, p in model.named_parameters() if n not in set(names)}

    def of(weights: Grads, x: Tensor, labels: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
        state = {f"model.{n}": w for n, w in (fixed | weights).items()}
        run = torch.func.functional_call(_Runner(model), state, (x, noise))
        return (loss(run.logits, labels) + run.kl).mean()

    return of


class _Runner(nn.Module):
    """Lets `functional_call` reach `forward` with noise."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, noise: tuple[Tensor, ...]) -> Run:
        return forward(self.model, x, noise or None)


def _by_victim(victims: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.reshape(victims, -1, *t.shape[1:]) for t in tensors)


def _vmap(model, x, labels, victims, noise, names, create_graph, loss) -> Grads:
    weights = {n: p.detach() for n, p in model.named_parameters() if n in set(names)}
    gradient = torch.func.grad(_victim_loss(elementary(model), names, loss))
    with torch.set_grad_enabled(create_graph):
        images, classes = _by_victim(victims, x, labels)
        draws = _by_victim(victims, *(noise or ()))
        grads = torch.func.vmap(gradient, in_dims=(None, 0, 0, 0))(weights, images, classes, draws)
    return {name: grads[name] for name in names}


def _loop(model, x, labels, victims, noise, names, create_graph, loss) -> Grads:
    weights = {n: p.detach().requires_grad_() for n, p in model.named_parameters() if n in set(names)}
    of = _victim_loss(model, names, loss)
    rows = []
    images, classes = _by_victim(victims, x, labels)
    draws = _by_victim(victims, *(noise or ()))
    for v in range(victims):
        with torch.enable_grad():
            value = of(weights, images[v], classes[v], tuple(n[v] for n in draws))
        rows.append(torch.autograd.grad(value, list(weights.values()), create_graph=create_graph))
    return {n: torch.stack([row[i] for row in rows]) for i, n in enumerate(weights)}
