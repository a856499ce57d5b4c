"""Fuse a function that takes gradients: trace it, inner backward pass included, and compile the one graph.

`torch.compile` alone cannot see through a gradient taken inside the step. `make_fx` can: it runs the step
once and records every tensor operation, those of both backward passes too, so that what is compiled
holds no autograd at all.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten


class Compiled:
    """A function of nested tuples and dicts of tensors, through one compiled graph a number of victims.

    A machine without a working compiler, or an operation that cannot be traced, costs one warning; the
    function then runs plainly.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.graphs: dict[int, Any] = {}  # by number of victims, the rows of the first tensor
        self.warned = False

    def __call__(self, *args: Any) -> Any:
        """Run it."""
        inputs, layout = tree_flatten(args)
        size = len(inputs[0])
        if size not in self.graphs:
            self.graphs[size] = self._compile(inputs, layout)
        graph = self.graphs[size]
        if graph is None:
            return self.function(*args)
        run, out_layout = graph
        with torch.no_grad():
            return tree_unflatten(run(*inputs), out_layout)

    def _compile(self, inputs: list[Tensor], layout):
        out_layout = None

        def plain(*flat: Tensor):
            nonlocal out_layout
            out, out_layout = tree_flatten(self.function(*tree_unflatten(list(flat), layout)))
            return out

        try:
            traced = make_fx(plain)(*(t.clone() for t in inputs))  # tracing tells tensors apart by identity
            run = torch.compile(traced, dynamic=False)
            with torch.no_grad():
                run(*inputs)
        except Exception as error:  # the compiler's own errors have no common base
            if not self.warned:
                message = f"The attack step runs uncompiled: {str(error).splitlines()[0]}"
                warnings.warn(message, stacklevel=2)
                self.warned = True
            return None
        return run, out_layout
