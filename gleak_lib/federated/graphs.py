"""One CUDA graph of a step: hundreds of small kernels are started at once, with no host in between."""

import warnings
from collections.abc import Callable

import torch

WARM_UP = 3  # calls before the capture, in which libraries choose their kernels and allocate


def replayed(
    step: Callable[[], None], device: torch.device, *, before: Callable[[], object]
) -> Callable[[], None]:
    """Capture `step` and return a call that replays it; if it cannot be captured, warn and return `step`.

    The step works on buffers that stay where they are, looks at no value on the host and draws no random
    number. It is run a few times before the capture, each time after `before`: fill the buffers afterwards.
    """
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                before()
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                step()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            warnings.warn(f"The clients' step runs without a CUDA graph: {reason}", stacklevel=2)
            return step
    return graph.replay
