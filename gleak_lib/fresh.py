"""Fresh modules: from a seed of their own, and only if there is memory for their weights."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from gleak_lib import memory
from gleak_lib.errors import ParameterError
from gleak_lib.global_generator import isolated

Module = TypeVar("Module", bound=nn.Module)
LEAST, MOST = -(2**63), 2**64 - 1  # seeds that torch takes
MAKERS = (torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand)
ENTRIES = 2**26  # of a tensor: for fewer nobody is asked


def fresh(make: Callable[[], Module], *, seed: int | None, what: str) -> Module:
    """Return what `make` makes, with initial weights from a seed.

    Args:
        make: builds the module.
        seed: of the weights; torch's global generator is then left as it was. None draws from that.
        what: how errors name the module, with the values that decide its size.

    Raises:
        ParameterError: If the seed is none that torch takes, or a tensor would not fit into memory.
    """
    if seed is not None and not LEAST <= seed <= MOST:
        raise ParameterError(f"seed must be in -2**63 ... 2**64 - 1, got {seed}.")
    with nullcontext() if seed is None else isolated(seed=seed), _Asking(what):
        return make()


class _Asking(TorchFunctionMode):
    """Asks for the memory of every large tensor before it is taken."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in MAKERS:
            sizes = args[0] if args and isinstance(args[0], (tuple, list)) else args
            entries = math.prod(size for size in sizes if isinstance(size, int))
            if entries > ENTRIES:
                memory.require(entries * torch.get_default_dtype().itemsize, self.what)
        return func(*args, **(kwargs or {}))
