"""CUDA graphs: hundreds of small kernels that are started at once, with no host in between."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

WARM_UP = 3  # calls before the recording, in which libraries choose their kernels and allocate

T = TypeVar("T")


def record(
    step: Callable[[], T], *, warm_up: Callable[[], object], device: torch.device, pool: Any = None
) -> Callable[[], T]:
    """Record `step` once and return a call that replays it and gives what the recording returned.

    Args:
        step: works on buffers that stay where they are, looks at no value on the host and draws no random
            number. Recording it computes nothing.
        warm_up: does what the step does, where that does no harm.
        device: a CUDA device.
        pool: memory shared with other graphs, which must not be replayed at the same time.

    Raises:
        RuntimeError: an operation that cannot be recorded.
    """
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                warm_up()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            outputs = step()

    def replay() -> T:
        graph.replay()
        return outputs

    return replay
