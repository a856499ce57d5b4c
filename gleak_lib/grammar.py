"""One text form for what a client protects itself with: printed from values, read with `ast`, not evaluated.

`cvb(1, scale=1/2) + dp(noise_multiplier=1e-3)`: the lower-case names of classes, and what differs from their
defaults.
"""

import ast
import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gleak_lib.errors import ParameterError, shown

EXAMPLE = 'cvb(1, kernel_size=5, scale=1/2, kl="exact") + dp(noise_multiplier=1e-3) + batch(4)'
LONGEST = 2000  # characters


class Noun:
    """A frozen dataclass that prints as the text that it is read from."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):
            cls.__repr__ = Noun.__repr__  # that of dataclasses would spell out the defaults
        taken = {known.text_name() for known in subclasses(Noun) if _ours(known)}
        if not _ours(cls) and cls.text_name() in taken:
            raise ParameterError(
                f"The package has {cls.text_name()!r} already, and texts mean that one: name yours otherwise."
            )

    @classmethod
    def text_name(cls) -> str:
        """Name in texts: `average_noise` for `AverageNoise`, `dp` for `DP`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __str__(self) -> str:
        return f"{self.text_name()}({', '.join(self.arguments())})"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.arguments(repr))})"

    def arguments(self, nouns: Callable[[Any], str] = str) -> list[str]:
        """Return what differs from the defaults, as it is written, other nouns by `nouns`: `['p=0.5']`."""
        values = ((f, getattr(self, f.name)) for f in self.options())
        return [f"{f.name}={literal(value, nouns)}" for f, value in values if value != _default(f)]

    @classmethod
    def options(cls) -> list[dataclasses.Field[Any]]:
        """Return the fields that make up the value, those that are keywords only last."""
        fields = [f for f in dataclasses.fields(cls) if f.init and f.compare]  # type: ignore[arg-type]
        return sorted(fields, key=lambda f: bool(f.kw_only))


def _default(field: dataclasses.Field[Any]) -> Any:
    make = field.default_factory
    return field.default if make is dataclasses.MISSING else make()


def subclasses(kind: type[Noun]) -> Iterator[type[Noun]]:
    """Yield all classes that derive from `kind`, of each name the earliest first."""
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def outside(kind: type[Noun] = Noun) -> list[type[Noun]]:
    """Return the classes that others have derived from `kind`; of one name, the latest comes last."""
    return [cls for cls in subclasses(kind) if not _ours(cls)]


def _ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


def literal(value: Any, nouns: Callable[[Any], str] = str) -> str:
    """Return a number, text, truth value, None, noun (by `nouns`) or tuple of these as it is written."""
    if isinstance(value, float):
        short = re.sub(r"e([+-])0+", r"e\1", f"{value:g}")
        return short if float(short) == value else repr(value)
    if isinstance(value, str):
        return (
            '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
            if value.isprintable()
            else repr(value)
        )
    if isinstance(value, Noun):
        return nouns(value)
    if inspect.isroutine(value):
        return value.__qualname__
    if isinstance(value, tuple):
        return f"({', '.join(literal(part, nouns) for part in value)}{',' * (len(value) == 1)})"
    return repr(value)


class Call(NamedTuple):
    """One part of a text: `dp(noise_multiplier=1e-3)`."""

    name: str
    positional: tuple[Any, ...]
    options: dict[str, Any]


def calls(text: str) -> list[Call]:
    """Return the parts of a text, which are joined by `+`; the part `none` is nothing.

    Values are literals, with signs, fractions, and calls of the same form: `slices(root=root_set("mnist"))`.

    Raises:
        ParameterError: If the text is anything else than names with literals, signs and fractions.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval") if len(text) <= LONGEST else None
        return list(_parts(tree.body)) if tree is not None else _refuse(text)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
        if isinstance(error, ParameterError):
            raise
        return _refuse(text)


def _refuse(what: str | ast.AST) -> Any:
    text = what if isinstance(what, str) else ast.unparse(what)
    raise ParameterError(f"{shown(text)} is no setting. Write, for instance, {EXAMPLE}.") from None


def _parts(node: ast.expr) -> Iterator[Call]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _parts(node.left)
        yield from _parts(node.right)
    elif isinstance(node, ast.Name):
        if node.id != "none":
            yield Call(node.id, (), {})
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        named = {k.arg or _refuse(k.value): _value(k.value) for k in node.keywords}
        yield Call(node.func.id, tuple(map(_value, node.args)), named)
    else:
        _refuse(node)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, str, type(None))):
        return node.value
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    if isinstance(node, ast.Call):
        return next(_parts(node))
    number = _number(node)
    return number if math.isfinite(number) else _refuse(node)


def _number(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return -_number(node.operand) if isinstance(node.op, ast.USub) else _number(node.operand)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _number(node.left) / _number(node.right)
    return _refuse(node)
