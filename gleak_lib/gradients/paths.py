"""Three ways to each victim's weight gradients: by layer rules, by `torch.func.vmap`, by a plain loop.

All take (model, x N x ..., labels N, V, the bottlenecks' noise, parameter names, whether to keep the graph,
the loss of each image) and compute the gradients of each victim's mean loss + KL term.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.gradients.factored import FactoredGrads, Outer, dense
from gleak_lib.gradients.layer_rules import rule_of
from gleak_lib.gradients.norm_layers import ElementaryLayerNorms
from gleak_lib.types import ForwardPass, Grads, Loss, VariationalModel


def forward(
    model: nn.Module,
    x: Tensor,
    noise: Sequence[Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> ForwardPass:
    """Run any module: one with bottlenecks through its `run`, a plain one with no KL term and no noise.

    Raises:
        ShapeError: noise for a model that takes none.
        ParameterError: a model that returns something else than a tensor of logits.
    """
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention kernels have no second derivative
        if isinstance(model, VariationalModel):
            return model.run(x, noise, generator)
        if noise:
            raise ShapeError("This model has no bottlenecks: it takes no noise.")
        logits = model(x)
    if not isinstance(logits, Tensor):
        raise ParameterError(
            f"The model must return its logits, one tensor N x K, and returned a {type(logits).__name__}: "
            "wrap it in a module whose forward picks them out."
        )
    return ForwardPass(logits, x.new_zeros(x.shape[0]), ())


def holders(model: nn.Module, names: Sequence[str]) -> list[tuple[nn.Module, dict[str, str]]]:
    """Return the modules that hold these parameters: each with its own name for them -> the model's name.

    A tied parameter has several holders and one name, the first of `named_parameters`.
    """
    wanted = set(names)
    known = {id(p): name for name, p in model.named_parameters() if name in wanted}
    found = []
    for module in model.modules():
        own = module.named_parameters(recurse=False, remove_duplicate=False)
        if held := {p: known[id(tensor)] for p, tensor in own if id(tensor) in known}:
            found.append((module, held))
    return found


def has_rules(model: nn.Module, names: Sequence[str]) -> bool:
    """Whether every module that holds one of these parameters has a fast rule."""
    return all(rule_of(module) is not None for module, _ in holders(model, names))


def fast(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    victims: int,
    noise: Sequence[Tensor] | None,
    names: Sequence[str],
    create_graph: bool,
    loss: Loss,
) -> tuple[FactoredGrads, ForwardPass]:
    """One batched pass; each layer's rule makes the gradients, some of them in factors."""
    calls: list[tuple[Any, dict[str, str], Tensor, Tensor]] = []

    def record(held: dict[str, str]):
        def hook(module, inputs, output):
            calls.append((module, held, inputs[0], output))
            return output.clone()  # a later in-place operation must not change what was recorded

        return hook

    if not any(t.requires_grad for t in (x, *(noise or ()))):
        x = x.detach().requires_grad_()
    with ExitStack() as hooks, torch.enable_grad():
        for module, held in holders(model, names):
            hooks.callback(module.register_forward_hook(record(held)).remove)
        run = forward(model, x, noise)
        total = (loss(run.logits, labels) + run.kl).sum() * (victims / x.shape[0])
    outputs = [output for *_, output in calls]
    used = torch.autograd.grad(total, outputs, create_graph=create_graph, materialize_grads=True)
    grads: dict[str, Tensor | Outer] = {}
    for (module, held, inputs, _), grad_output in zip(calls, used, strict=True):
        inputs = inputs if create_graph else inputs.detach()
        for p, g in rule_of(module)(module, inputs, grad_output, victims).items():  # type: ignore[misc]
            if p not in held:
                continue
            name = held[p]
            if name in grads:  # a module that is called twice, or tied parameters
                grads[name] = dense(grads[name]) + dense(g)
            else:
                grads[name] = g if isinstance(g, Tensor) or g.pays else g.dense()
    if missing := [name for name in names if name not in grads]:  # of layers that the pass never used
        parameters = dict(model.named_parameters())
        grads |= {name: parameters[name].new_zeros(victims, *parameters[name].shape) for name in missing}
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

    def forward(self, x: Tensor, noise: tuple[Tensor, ...]) -> ForwardPass:
        return forward(self.model, x, noise or None)


def _by_victim(victims: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.reshape(victims, -1, *t.shape[1:]) for t in tensors)


def vmap(model, x, labels, victims, noise, names, create_graph, loss) -> Grads:
    """All victims at once by `torch.func.vmap`: any module that it can trace."""
    weights = {n: p.detach() for n, p in model.named_parameters() if n in set(names)}
    gradient = torch.func.grad(_victim_loss(model, names, loss))
    with torch.set_grad_enabled(create_graph), ElementaryLayerNorms():
        images, classes = _by_victim(victims, x, labels)
        draws = _by_victim(victims, *(noise or ()))
        grads = torch.func.vmap(gradient, in_dims=(None, 0, 0, 0))(weights, images, classes, draws)
    return {name: grads[name] for name in names}


def loop(model, x, labels, victims, noise, names, create_graph, loss) -> Grads:
    """One victim after the other by plain autograd: what the others are held against."""
    weights = {n: p.detach().requires_grad_() for n, p in model.named_parameters() if n in set(names)}
    of = _victim_loss(model, names, loss)
    rows = []
    images, classes = _by_victim(victims, x, labels)
    draws = _by_victim(victims, *(noise or ()))
    for v in range(victims):
        with torch.enable_grad():
            value = of(weights, images[v], classes[v], tuple(n[v] for n in draws))
        wanted = list(weights.values())
        rows.append(torch.autograd.grad(value, wanted, create_graph=create_graph, materialize_grads=True))
    return {name: torch.stack([row[i] for row in rows]) for i, name in enumerate(weights)}
