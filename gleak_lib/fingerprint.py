"""What a model was when its gradients were observed: whoever trains it on would attack with other weights.

A fingerprint is of whole numbers, sums over the bits of parameters and buffers. They are exact, whatever the
device, the number of threads and the order, and the same again once the same values are loaded again. On one
core of a CPU it takes about 3 ms for a million weights, as long as a copy of the model.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

SLICE = 2**16  # words that are summed at a time: they and their products fit a processor's cache
WORDS = {1: torch.int8, 2: torch.int16}  # by bytes an entry; larger entries are words of 32 bits
MIX = (0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9)  # odd; products with them scatter over all 64 bits


@dataclass(frozen=True)
class Fingerprint:
    """Of one model at one time; `changed` compares it with what the model is now.

    Attributes:
        model: the module itself, no copy.
        sums: by parameter and buffer, one sum a slice.
        training: by module, whether it is in training mode.
    """

    model: nn.Module = field(repr=False)
    sums: dict[str, tuple[int, ...]] = field(repr=False)
    training: dict[str, bool] = field(repr=False)

    @classmethod
    def of(cls, model: nn.Module) -> "Fingerprint":
        """Take it; on a GPU the host waits once."""
        return cls(model, _sums(model), {name: module.training for name, module in model.named_modules()})

    def changed(self) -> str:
        """Return what the first change is, in words; nothing where there is none."""
        now = Fingerprint.of(self.model)
        if now.sums.keys() != self.sums.keys() or now.training.keys() != self.training.keys():
            return "it has other parts"
        for name, sums in self.sums.items():
            if now.sums[name] != sums:
                return f"{name} has other values"
        for name, training in self.training.items():
            if now.training[name] != training:
                return f"{name or 'it'} was in {'training' if training else 'evaluation'} mode"
        return ""


def _sums(model: nn.Module) -> dict[str, tuple[int, ...]]:
    parts = {name: list(_slices(t)) for name, t in (*model.named_parameters(), *model.named_buffers())}
    found = [part for of in parts.values() for part in of]
    values = iter(torch.stack([part.to(found[0].device) for part in found]).tolist() if found else ())
    return {name: tuple(next(values) for _ in of) for name, of in parts.items()}


def _slices(tensor: Tensor) -> Iterator[Tensor]:
    """Yield for each slice the sum of its words, each times an odd number of its place, modulo 2^64."""
    if is_lazy(tensor) or tensor.is_meta:  # there are no values
        return
    tensor = tensor.detach()
    tensor = tensor if tensor.layout == torch.strided else tensor.to_dense()
    tensor = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    words = tensor.resolve_neg().reshape(-1).view(WORDS.get(tensor.element_size(), torch.int32))
    for part in words.split(SLICE):
        yield (part * _odd(tensor.device)[: len(part)]).sum()


@functools.cache
def _odd(device: torch.device) -> Tensor:
    """Return the odd numbers, as they come out on every machine, so that a stored fingerprint stays true."""
    place = torch.arange(1, SLICE + 1, device=device) * MIX[0]
    return (place ^ (place >> 31)) * MIX[1] | 1  # of 64 bits: a word's sign must count in more than one
