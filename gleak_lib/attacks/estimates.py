"""What observed gradients tell of the defense that they passed, applied to the dummies' gradients (003, T).

Each maps (dummy gradients, observed ones), name -> V x shape, to dummy gradients.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gleak_lib.outer import by_row
from gleak_lib.types import Grads


def sparsity(dummy: Grads, observed: Grads) -> Grads:
    """Set to zero what is zero in the observed gradients."""
    return {name: g * (observed[name] != 0) for name, g in dummy.items()}


def clipping(dummy: Grads, observed: Grads) -> Grads:
    """Shorten each parameter tensor's gradient to the observed norm."""
    return {n: _shortened(by_row(g), by_row(observed[n])).reshape(g.shape) for n, g in dummy.items()}


def _shortened(rows: Tensor, to: Tensor) -> Tensor:
    bound = torch.linalg.vector_norm(to, dim=1, keepdim=True)
    return rows * (bound / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12)).clamp(max=1)


ESTIMATES: dict[str, Callable[[Grads, Grads], Grads]] = {"sparsity": sparsity, "clipping": clipping}
