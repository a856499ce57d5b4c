"""A model of your own, named by where its function stands: `module:function`."""

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

from torch import nn

from gleak_lib.errors import ParameterError, no_option, shown
from gleak_lib.fresh import fresh
from gleak_lib.models.layers import Init, initialize
from gleak_lib.typed import typed

PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@typed
def build_own(
    place: str,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    init: Init = "default",
    seed: int | None = None,
    **options,
) -> nn.Module:
    """Build a model by a function of yours, which is imported; nothing of `place` is evaluated.

    Args:
        place: `module:function`, for instance `hospital.nets:small`; the module must be importable, so that
            its folder is the current one's or stands in PYTHONPATH.
        input_shape, num_classes: passed on if the function takes them.
        init: scheme of all convolutions and linear layers, see `initialize`; a function that has an argument
            of this name does it itself.
        seed: of the weights; None draws from torch's global generator.
        options: further arguments of the function.

    Raises:
        ParameterError: If `place` has another form, is not to be imported or no function, does not take an
            option or needs another, or returns no `nn.Module`.
    """
    make = function_at(place)
    known = inspect.signature(make).parameters
    whatever = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for option in options:
        if option not in known and not whatever:
            raise no_option(place, option, known)
    offered = {"input_shape": tuple(input_shape), "num_classes": num_classes, "init": init}
    given = options | {name: value for name, value in offered.items() if name in known or whatever}

    try:
        inspect.signature(make).bind(**given)
    except TypeError as error:
        raise ParameterError(
            f"{place}: {error}: give it a default, or pass it as an option. It gets: "
            f"{', '.join(given) or 'nothing'}."
        ) from None

    def made() -> nn.Module:
        model = make(**given)
        if not isinstance(model, nn.Module):
            raise ParameterError(f"{place} must return an nn.Module, got {shown(model)}.")
        if "init" not in given:
            initialize(model, init)
        return model

    return fresh(made, seed=seed, what=place)


def function_at(place: str) -> Callable[..., Any]:
    """Return the function that `module:function` names.

    Raises:
        ParameterError: If there is none.
    """
    if not PLACE.fullmatch(place):
        raise ParameterError(
            f"A model of your own is named module:function, as in hospital.nets:small, got {shown(place)}."
        )
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (ImportError, SyntaxError) as error:
        if not isinstance(error, ModuleNotFoundError):
            hint = "mend the module"
        elif error.name == module.partition(".")[0]:
            hint = "put its folder into PYTHONPATH"
        elif error.name == module:
            hint = "name it as `import` does, without .py"
        else:
            hint = "install what it imports"
        raise ParameterError(f"{module} cannot be imported ({error}): {hint}.") from error
    if isinstance(found, nn.Module):
        raise ParameterError(
            f"{place} is a model: write a function that makes one, so that each seed has its own."
        )
    if not callable(found):
        raise ParameterError(f"The module {module} has no function {name!r}.")
    return found
