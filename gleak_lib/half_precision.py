"""Models in half precision are refused: attacks on them find nothing, which is no protection.

All that an attack computes has the gradients' type, and in float16 or bfloat16 the distance of two gradients
is rounding error long before the images are alike.
"""

import torch
from torch import nn

from gleak_lib.errors import ParameterError


def refuse_half(model: nn.Module) -> None:
    """Refuse a model with weights in float16, bfloat16 or less.

    Raises:
        ParameterError: If it has such.
    """
    for name, p in model.named_parameters():
        if p.is_floating_point() and torch.finfo(p.dtype).bits < 32:
            kind = str(p.dtype).removeprefix("torch.")
            raise ParameterError(
                f"{name} is {kind}, and gradients in half precision have too few digits to be matched: an "
                "attack would fail, which is no protection. Cast model and gradients to float32 "
                "(model.float())."
            )
