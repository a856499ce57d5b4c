"""The types of what comes through a public door, read off its annotations and refused with one sentence.

Annotations promise; nothing holds a caller to them. `typed` does, for functions and dataclasses: what is
plainly of another type is refused before it can do harm far from where it was passed. Values, shapes and
ranges are the door's own business.
"""

import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from gleak_lib.errors import ParameterError

Door = TypeVar("Door", bound=Callable[..., Any])

NUMBERS: dict[Any, Any] = {bool: (bool, np.bool_), int: numbers.Integral, float: numbers.Real}
LISTED = 6  # classes that a message names at most
PLAIN = (bool, int, float, str, bytes, type(None), PurePath)  # of these errors show the value
INSTEAD = {  # of types for which people pass something else
    "Generator": "pass torch.Generator().manual_seed(...)",
    "Inversion": 'pass a preset such as attacks.ATTACKS["ig"]',
    "Module": "load a state dict into its model, and pass that",
}


def typed(door: Door) -> Door:
    """Check the arguments of a function, or of a dataclass's constructor, at every call; a decorator.

    Numbers may be numpy's, an int may stand for a float, a list for a tuple or the other way round, and a
    `Literal` is checked for its type only, since the door itself names the nearest option. Annotations that
    cannot be checked (type variables, names that exist for type checkers alone) are not.

    Args:
        door: the function or dataclass.

    Returns:
        The same function behind a check, or the same class with one before its constructor. Its calls raise
        `ParameterError` if an argument is missing, unknown, or of another type than its annotation says.
    """
    if isinstance(door, type):
        door.__init__ = _checked(door.__init__, door.__name__)  # type: ignore[misc]
        return door  # type: ignore[return-value]
    return _checked(door, door.__name__)  # type: ignore[return-value]


def _checked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.cache  # at the first call, when all names exist
    def hints() -> dict[str, Any]:
        space = getattr(function, "__globals__", {})
        return {p.name: _resolved(p.annotation, space) for p in signature.parameters.values()}

    @functools.wraps(function)
    def door(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            takes = ", ".join(p for p in signature.parameters if p not in ("self", "cls"))
            raise ParameterError(f"{name}: {error}. It takes: {takes or 'nothing'}.") from None
        for parameter, value in given.items():
            kind, hint = signature.parameters[parameter].kind, hints()[parameter]
            parts = (value,)
            if kind is inspect.Parameter.VAR_POSITIONAL:
                parts = value
            elif kind is inspect.Parameter.VAR_KEYWORD:
                parts = value.values()
            for part in parts:
                if not fits(part, hint):
                    raise ParameterError(
                        f"{name}: {parameter} must be {shown(hint)}, got {_got(part)}{_instead(hint, part)}."
                    )
        return function(*args, **kwargs)

    return door


def _resolved(annotation: Any, space: dict[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    try:
        holder = types.SimpleNamespace(__annotations__={"hint": annotation})
        return typing.get_type_hints(holder, space)["hint"]
    except NameError:  # imported for type checkers alone
        return Any


def fits(value: object, hint: Any) -> bool:
    """Return whether a value is of the type that an annotation says, as far as this can be told cheaply."""
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint in (Any, object):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, option) for option in inner)
    if origin is typing.Literal:
        return any(type(value) is type(option) for option in inner)
    if hint is None or hint is type(None):
        return value is None
    if hint in NUMBERS:
        return isinstance(value, NUMBERS[hint]) and (hint is bool or not isinstance(value, bool))
    if origin is Callable or not isinstance(origin, type):
        return callable(value) if origin is Callable else True
    if getattr(origin, "_is_protocol", False):
        return not getattr(origin, "_is_runtime_protocol", False) or isinstance(value, origin)
    if issubclass(origin, Mapping):
        key, part = inner or (Any, Any)
        return isinstance(value, Mapping) and all(fits(k, key) and fits(v, part) for k, v in value.items())
    if origin is tuple or (issubclass(origin, Iterable) and inner):
        return _fits_sequence(value, origin, inner)
    return isinstance(value, origin)


def _fits_sequence(value: object, origin: Any, inner: tuple[Any, ...]) -> bool:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return False
    if isinstance(value, (Tensor, np.ndarray)):  # one number an entry, as pixel statistics may come
        return value.ndim == 1 and bool(inner) and inner[0] in NUMBERS
    if not isinstance(value, (list, tuple, Sequence)):
        return not issubclass(origin, Sequence) and isinstance(value, origin)
    several = origin is not tuple or (len(inner) == 2 and inner[1] is Ellipsis)
    parts = inner[:1] * len(value) if several else inner
    return all(fits(part, hint) for part, hint in zip(value, parts, strict=False))


def shown(hint: Any) -> str:
    """Return an annotation as people write it, without modules: `Tensor | None`, `Sequence[float]`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(shown, inner))
    if origin is typing.Literal:
        return " | ".join(map(repr, inner))
    if hint in (None, type(None), Ellipsis):
        return "..." if hint is Ellipsis else "None"
    if hint is Callable or origin is Callable:
        return "a function"
    name = getattr(origin or hint, "__name__", str(hint))
    return f"{name}[{', '.join(map(shown, inner))}]" if inner else name


def _instead(hint: Any, value: object) -> str:
    """What to pass: by the type's name, or, of a base class of this package, some of what derives from it."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return ""
    for kind in typing.get_args(hint) or (hint,):
        name = getattr(kind, "__name__", "")
        if name in INSTEAD and (name != "Module" or isinstance(value, Mapping)):
            return f": {INSTEAD[name]}"
        own = inspect.isclass(kind) and kind.__module__.startswith("gleak_lib.")
        if own and (made := list(dict.fromkeys(_concrete(kind)))):
            return f": there is {', '.join(f'{c}(...)' for c in made[:LISTED])}" + (
                " and others" if len(made) > LISTED else ""
            )
    return ""


def _concrete(kind: type) -> Iterator[str]:
    for derived in kind.__subclasses__():
        if derived.__module__.startswith("gleak_lib.") and not inspect.isabstract(derived):
            yield derived.__name__
        yield from _concrete(derived)


def _got(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, PLAIN):
        text = repr(value)
        return text if value is None else f"{text if len(text) < 60 else text[:57] + '...'} ({kind})"
    if isinstance(value, (list, tuple)) and value:
        return f"{kind} of {', '.join(dict.fromkeys(type(part).__name__ for part in value))}"
    if inspect.isclass(value) or inspect.isroutine(value):
        return f"{value.__name__} itself: call it first"
    return kind
