"""Fuse the attack step: trace it, first backward pass included, into one graph and compile that.

`torch.compile` alone cannot see through a gradient taken inside the step. `make_fx` can: it runs the step
once and records every tensor operation, those of both backward passes too, so that what is compiled
holds no autograd at all.
"""

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

if TYPE_CHECKING:
    from gleak_lib.attacks.step import Problem, State, Step


def compiled_step(
    step: "Step", state: "State", problem: "Problem", noise: tuple[Tensor, ...], tick: Tensor
) -> "tuple[State, Tensor]":
    """Run the step through a graph compiled for this number of victims; plainly where that fails.

    A machine without a working compiler, or an operation that cannot be traced, costs one warning.
    """
    inputs, layout = tree_flatten((state, problem, noise, tick))
    size = len(state.x)
    if size not in step.graphs:
        step.graphs[size] = _compile(step, inputs, layout)
    graph = step.graphs[size]
    if graph is None:
        return step.eager(state, problem, noise, tick)
    run, out_layout = graph
    with torch.no_grad():
        return tree_unflatten(run(*inputs), out_layout)


def _compile(step: "Step", inputs: list[Tensor], layout):
    out_layout = None

    def plain(*flat: Tensor):
        nonlocal out_layout
        out, out_layout = tree_flatten(step.eager(*tree_unflatten(list(flat), layout)))
        return out

    try:
        traced = make_fx(plain)(*(t.clone() for t in inputs))  # tracing tells tensors apart by identity
        run = torch.compile(traced, dynamic=False)
        with torch.no_grad():
            run(*inputs)
    except Exception as error:  # the compiler's own errors have no common base
        if not step.warned:
            warnings.warn(f"The attack step runs uncompiled: {str(error).splitlines()[0]}", stacklevel=2)
            step.warned = True
        return None
    return run, out_layout
