"""The parameters of a chapter: read from its cell, checked wherever they come from.

The first code cell of a chapter is tagged `parameters` and holds lines `name: type = value  # help`, nothing
else. papermill puts what it is given into a cell behind it, and only warns of a misspelled name. So the
next cell is `settings = parameters.check("03_ignore_attack", globals())`: it finds the cells that IPython
has just executed, compares names and types, and says what is meant.
"""

import ast
import re
import types
import typing
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gleak_lib import typed
from gleak_lib.chapters import profiles, ranges, sources
from gleak_lib.errors import ParameterError, nearest, shown
from gleak_lib.experiments import paths

DIGITS = 300  # of a number on the command line; Python reads no integer of more than 4,300
INJECTED = re.compile(r"\s*# Parameters\b")  # how papermill begins its cell
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WORDS = re.compile(r"\[\s*([\w@.:-]+(\s*,\s*[\w@.:-]+)*)\s*\]")  # [mnist, my_set], as YAML has it


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell.

    Attributes:
        name: the parameter.
        type: its annotation as it is written, for instance `list[int]` or `float | None`.
        default: its value in the cell.
        help: the comment behind it.
    """

    name: str
    type: str
    default: Any
    help: str = ""


Declared = dict[str, Parameter]


def declared(source: str, where: str = "The parameters cell") -> Declared:
    """Read a parameters cell.

    Raises:
        ParameterError: something else than lines `name: type = value`, or a type that is not understood.
    """
    lines = source.splitlines()
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ParameterError(f"{where} is no valid Python: {error}") from error
    found: Declared = {}
    for statement in statements:
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            shown = ast.unparse(statement).splitlines()[0]
            raise ParameterError(f"{where} holds lines 'name: type = value  # help' only, got: {shown}")
        name, annotation = statement.target.id, ast.unparse(statement.annotation)
        comment = lines[statement.end_lineno - 1][statement.end_col_offset :].partition("#")[2]  # type: ignore[operator]
        try:
            default = ast.literal_eval(statement.value)  # type: ignore[arg-type]
        except (ValueError, TypeError) as error:
            raise ParameterError(f"{where}: {name} needs a plain value, like 1, 0.5 or 'cnn'.") from error
        found[name] = Parameter(name, annotation, default, comment.strip())
        if problem := _misfit(default, found[name]):
            raise ParameterError(f"{where}: {problem}")
    return found


def of_chapter(chapter: str, source: Path | None = None) -> Declared:
    """Return the parameters of a chapter's percent source (None: `book/src/<chapter>.py` of the checkout).

    Raises:
        ParameterError: there is no such source, or no cell tagged `parameters` in it.
    """
    path = source or paths.root() / "book" / "src" / f"{chapter}.py"
    if not path.is_file():
        raise ParameterError(f"There is no chapter {chapter!r}: {path} does not exist.")
    cells = sources.tagged(path, "parameters")
    if not cells:
        raise ParameterError(
            f'{path} has no cell tagged "parameters": begin it with # %% tags=["parameters"].'
        )
    return declared(cells[0], f"The parameters cell of {path.name}")


def validate(found: Declared, values: Mapping[str, Any], chapter: str = "this chapter") -> dict[str, Any]:
    """Return all parameters: the given values, and defaults for the others.

    A value that takes no effect is warned of, see `ranges.left_out`.

    Raises:
        ParameterError: unknown names (it names the nearest right ones), values of a wrong type, or out of the
            range that `params/ranges.yaml` declares.
    """
    _refuse_unknown(found, values, chapter)
    if problems := [p for name, value in values.items() if (p := _misfit(value, found[name]))]:
        raise ParameterError(" ".join(problems))
    complete = {name: values.get(name, parameter.default) for name, parameter in found.items()}
    if problems := ranges.misfits(complete, chapter):
        raise ParameterError(" ".join(problems))
    for sentence in ranges.left_out(complete):
        warnings.warn(sentence, stacklevel=2)
    return complete


def check(chapter: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Check the parameters of a running notebook, and return them.

    It shows a note where nobody chose a profile and the published chapter had another one, or somebody named
    a profile and did not pass its parameters.

    Args:
        chapter: its name, for messages, and to find the source where no notebook runs it.
        namespace: `globals()` of the notebook.

    Raises:
        ParameterError: papermill was given a name that the chapter does not have, or a value has a wrong
            type or is out of range.
    """
    found, injected = _from_history(namespace.get("In"))
    if found is None:
        found = of_chapter(chapter)
    current = {name: namespace[name] for name in found if name in namespace}
    given = {name: namespace.get(name) for name in injected}
    settings = validate(found, current | given, chapter)
    if "In" in namespace and (text := profiles.notice(chapter, settings, injected)):
        from IPython.display import Markdown, display  # a notebook calls: it is there

        display(Markdown(f"> {text}"))
    return settings


def overrides(found: Declared, pairs: Iterable[tuple[str, str]], chapter: str) -> dict[str, Any]:
    """Return the values that pairs of words (name, value) of the command line stand for.

    Raises:
        ParameterError: an unknown name, or a word that is no value of the parameter's type.
    """
    words = dict(pairs)
    _refuse_unknown(found, words, chapter)
    return {name: parse(found[name], text) for name, text in words.items()}


def parse(parameter: Parameter, text: str) -> Any:
    """Return the value that a word of the command line stands for, by the parameter's type.

    Raises:
        ParameterError: it is no value of that type.
    """
    if _fits(text, parameter):
        return text  # a text is meant, even one like `off` or `1`
    if NUMBER.fullmatch(text) and len(text) <= DIGITS:
        value: Any = float(text) if re.search(r"[.eE]", text) else int(text)
    else:
        known = {"true": True, "false": False, "none": None, "null": None}
        value = known.get(text.lower(), text) if (read := _literal(text)) is None else read
    value = list(value) if isinstance(value, tuple) else value  # as YAML would give it
    if value == text and (words := WORDS.fullmatch(text)):
        value = re.split(r"\s*,\s*", words[1])
    if isinstance(value, (str, int, float)) and text[:1] != "[" and _fits([value], parameter):
        value = [value]
    if problem := _misfit(value, parameter):
        raise ParameterError(problem)
    return value


def _literal(text: str) -> Any:
    """Return the Python value that a text writes down, None where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _refuse_unknown(found: Declared, names: Iterable[str], chapter: str) -> None:
    problems = []
    for name in names:
        if name not in found:
            guess = nearest(name, found)
            hint = f" Did you mean {guess!r}?" if guess else ""
            problems.append(f"{chapter} has no parameter {name!r}.{hint}")
    if problems:
        raise ParameterError(f"{' '.join(problems)} There is: {', '.join(found)}.")


def _from_history(history: Any) -> tuple[Declared | None, list[str]]:
    """Find the parameters cell that ran last, and the names that papermill set behind it."""
    injected: list[str] = []
    for source in reversed(history if isinstance(history, list) else []):
        try:
            body = ast.parse(source).body
        except SyntaxError:  # a cell with a magic command
            continue
        if body and all(isinstance(line, ast.AnnAssign) for line in body):
            return declared(source), injected
        if INJECTED.match(source):
            targets = [t for line in body if isinstance(line, ast.Assign) for t in line.targets]
            injected += [target.id for target in targets if isinstance(target, ast.Name)]
    return None, []


def _hint(parameter: Parameter) -> Any:
    """Return the type that an annotation names."""
    holder = types.SimpleNamespace(__annotations__={"hint": parameter.type})
    try:
        return typing.get_type_hints(holder)["hint"]
    except (NameError, TypeError, SyntaxError) as error:
        raise ParameterError(
            f"{parameter.name}: the type {parameter.type} is not understood. There is: int, float, str, "
            "bool, list, dict, list[...], tuple[..., ...], and any of them | None."
        ) from error


def _fits(value: Any, parameter: Parameter) -> bool:
    return typed.fits(value, _hint(parameter))


def _misfit(value: Any, parameter: Parameter) -> str | None:
    """Return what is wrong with a value, or None."""
    if _fits(value, parameter):
        return None
    name, written, hint = parameter.name, parameter.type, _hint(parameter)
    problem = f"{name} must be {written}, got {shown(value)} ({type(value).__name__})"
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()) and "float" in written:
        return f"{problem}: YAML takes it for a text, write {_with_point(value)} without quotes."
    if isinstance(value, bool) and "str" in written:
        return f"{problem}: YAML takes on, off, yes and no for truth values, write it in quotes."
    if typing.get_origin(hint) in (list, tuple):
        read = _literal(value) if isinstance(value, str) else None
        if isinstance(read, (list, tuple)) and _fits(read, parameter):
            return f'{problem}: with papermill, pass -y "{name}: {list(read)}".'
        if isinstance(value, str):
            return f"{problem}: a list is written [1, 2] or ['a', 'b(1)']."
        return f"{problem}: write [{shown(value)}]." if isinstance(value, (int, float)) else f"{problem}."
    return f"{problem}."


def _with_point(text: str) -> str:
    """1e-3 as YAML understands it: 1.0e-3."""
    mantissa, e, exponent = text.strip().lower().partition("e")
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    sign = "" if not e or exponent[:1] in "+-" else "+"
    return f"{mantissa}{e}{sign}{exponent}"
