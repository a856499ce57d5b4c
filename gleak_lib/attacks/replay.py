"""Functions of nested tuples and dicts of tensors, fused: `Compiled`, or `Replayed` as a CUDA graph.

Each is made anew for each number of victims, the rows of the first tensor. A function that cannot be fused
costs one warning, and then runs plainly.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from gleak_lib.gradients.cuda_graphs import record


class Compiled:
    """A function that takes gradients, compiled.

    `torch.compile` alone cannot see through a gradient taken inside; `make_fx` records every tensor operation
    of both backward passes, so that what is compiled holds no autograd at all.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.graphs: dict[int, Any] = {}
        self.warned = False

    def __call__(self, *args: Any) -> Any:
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


class Replayed:
    """A function on buffers that stay where they are: on a GPU recorded as a CUDA graph, and replayed.

    What it returns is valid until the next call. Elsewhere the same buffers are used with plain calls, so
    that all but the recording itself can be tested there.

    Args:
        function: maps tensors to a tuple of such trees, and never waits for the host.
        feedback: whether the first output takes the place of the first argument: it is then written into
            that argument's buffers, and handing it back in costs no copy.
    """

    def __init__(self, function: Callable[..., tuple[Any, ...]], *, feedback: bool) -> None:
        self.function, self.feedback = function, feedback
        self.recordings: dict[int, tuple[list[Tensor], Callable[[], Any]]] = {}
        self.pool: Any = None  # graphs are replayed one after the other and share their memory
        self.failed = False

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        if self.failed:
            return self.function(*args)
        given, layout = tree_flatten(args)
        size = len(given[0])
        if size not in self.recordings:
            buffers = [tensor.clone() for tensor in given]
            try:
                self.recordings[size] = buffers, self._record(tree_unflatten(buffers, layout))
            except RuntimeError as error:  # what CUDA and the recorder raise derives from it
                self.failed = True
                message = f"The attack step runs without a CUDA graph: {str(error).splitlines()[0]}"
                warnings.warn(message, stacklevel=2)
                return self.function(*args)
        buffers, run = self.recordings[size]
        for buffer, tensor in zip(buffers, given, strict=True):
            if buffer is not tensor:
                buffer.copy_(tensor)
        first, *others = run()
        return (first if self.feedback else _clone(first), *map(_clone, others))

    def _record(self, args: tuple[Any, ...]) -> Callable[[], Any]:
        def body() -> tuple[Any, ...]:
            first, *others = self.function(*args)
            if self.feedback:
                first = _write(first, args[0])
            return first, *others

        device = tree_flatten(args)[0][0].device
        if device.type != "cuda":
            return body
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        # the warm-up is on copies: a step may change its memory in place
        return record(body, warm_up=lambda: self.function(*_clone(args)), device=device, pool=self.pool)


def _clone(tree: Any) -> Any:
    leaves, layout = tree_flatten(tree)
    return tree_unflatten([leaf.clone() for leaf in leaves], layout)


def _write(tree: Any, into: Any) -> Any:
    """Copy a tree's tensors into those of another of the same form, and return that."""
    targets = tree_flatten(into)[0]
    known = {id(target) for target in targets}
    pairs = list(zip(targets, tree_flatten(tree)[0], strict=True))
    pairs = [(t, s.clone() if id(s) in known else s) for t, s in pairs if t is not s]
    for target, source in pairs:
        target.copy_(source)
    return into
