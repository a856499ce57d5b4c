"""Which way to a model's gradients is right: tried once for each model, remembered with it.

The fast path sees a layer's input and output through a hook and takes the layer to be all that its weights
are for, and no victim to see another. Code in a `forward` may break either: weights used outside their
layer, rows in another order, a mean over the batch, dropout as a function. So before a model's gradients are
first used, they are compared with those of plain autograd (`trial`), and

- the fast path is taken where it is right, else `torch.func.vmap`, else a plain loop, with one warning;
- a model is refused that mixes the images of a batch or draws random numbers that nobody controls.

On one core of a CPU that takes 15 ms for the CNN, 0.1 s for the ViT and 0.4 s for ResNet-18 (32 x 32
pixels), as long as 4 to 8 gradients of two victims; looking it up takes some microseconds.

What was found is remembered as long as the model lives, and tried anew when its structure changes: modules,
their modes and plain settings, parameters and which of them are tied.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from gleak_lib.errors import GradientError
from gleak_lib.gradients.trial import Path, tried

Known = dict[Any, Path]
"""By C x H x W, dtype and kind of device; and parameter names."""

_KNOWN: "WeakKeyDictionary[nn.Module, dict[Any, Known]]" = WeakKeyDictionary()  # by model and structure
MARK = "_gleak_prepared"
PLAIN = (bool, int, float, str)


@dataclass
class Prepared:
    """What `gradients.prepare` leaves on its copy.

    Attributes:
        trained: names of the parameters that the original trains.
        known: the paths that were tried, shared by all copies of one model with one structure.
    """

    trained: tuple[str, ...]
    known: Known = field(default_factory=dict)


def mark(model: nn.Module, source: nn.Module) -> None:
    """Make `model`, a copy, remember what is known of `source` and which parameters that trains."""
    known = _KNOWN.setdefault(source, {}).setdefault(_structure(model), {})
    setattr(model, MARK, Prepared(trained(source), known))


def trained(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the parameters that a client trains (`requires_grad`), maybe none.

    Of a copy that `prepare` made: those of its original.
    """
    prepared = getattr(model, MARK, None)
    if prepared is not None:
        return prepared.trained
    return tuple(name for name, p in model.named_parameters() if p.requires_grad)


def path(model: nn.Module, like: Tensor, names: Sequence[str]) -> Path:
    """Return the way to the gradients of `names` that is right for images like these.

    Args:
        model: made by `gradients.prepare`.
        like: N x C x H x W; its values do not count.
        names: parameters.

    Raises:
        ParameterError: the model mixes the images of a batch, draws random numbers of its own, changes its
            input, or plain autograd cannot differentiate it.
        ShapeError: it does not run on such images.
        GradientError: `torch.inference_mode` is on.
    """
    refuse_inference()
    prepared = getattr(model, MARK, None)
    known = _KNOWN.setdefault(model, {}).setdefault(None, {}) if prepared is None else prepared.known
    key = (*like.shape[1:], like.dtype, like.device.type)
    names = tuple(names)
    if (found := known.get((key, names))) is not None:
        return found
    more = (of for (kind, of), way in known.items() if kind == key and way == "fast")
    if any(set(names) <= set(of) for of in more):
        known[key, names] = "fast"
        return "fast"
    trial = tried(model, like, names)
    if trial.error is not None:
        raise trial.error
    if trial.why:
        slow = "torch.func.vmap, which is slower" if trial.path == "vmap" else "a plain loop, which is slow"
        warnings.warn(f"Gradients of {type(model).__name__} are taken by {slow}: {trial.why}", stacklevel=3)
    if trial.judged:
        known[key, names] = trial.path
    return trial.path


def refuse_inference() -> None:
    """Refuse to work where nothing can be differentiated.

    Raises:
        GradientError: `torch.inference_mode` is on.
    """
    if torch.is_inference_mode_enabled():
        raise GradientError(
            "torch.inference_mode() is on, and nothing has gradients in it: leave it, or use "
            "torch.no_grad(), under which attacks work."
        )


def _structure(model: nn.Module) -> Any:
    """What a verdict may depend on and a program may change: modules, plain settings, parameters, ties."""
    modules = []
    for name, module in model.named_modules(remove_duplicate=False):
        settings = tuple((k, v) for k, v in vars(module).items() if _is_plain(v))
        modules.append((name, type(module), settings))
    first: dict[int, str] = {}
    parameters = tuple(
        (name, first.setdefault(id(p), name), p.shape, p.dtype)
        for name, p in model.named_parameters(remove_duplicate=False)
    )
    return tuple(modules), parameters


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(v, PLAIN) for v in value)
    return isinstance(value, PLAIN)
