"""`gleak show`: a stored result, how it was made, and where it lies."""

import argparse
import difflib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gleak_lib.errors import ParameterError

SHOWN = {"about", "provenance", "figures", "examples"}


def show(options: argparse.Namespace) -> int:
    """Print the result whose key was given, or why it failed."""
    from gleak_lib.experiments import Experiment, Store, encoding
    from gleak_lib.experiments.atomic import read_json
    from gleak_lib.experiments.store.document import intact
    from gleak_lib.extras import require

    yaml = require("yaml", "book")
    path = _find(options.key, _folders(options.output))
    stored = read_json(path)
    if path.parent.name == "failed":
        trace = "".join(stored["traceback"])
        print(f"failed {path.stem}: {stored['about']}\nfile: {path}\n{trace}", end="")
        return 0
    try:
        found = Store(path.parents[1]).read(path).experiment
        experiment, how = encoding.encode(found, full=False), "what differs from the defaults"
    except encoding.NotImportedError:  # a kind of the book's, or of the user's own
        if not (intact(stored) and stored.keys() >= SHOWN):
            raise
        experiment, how = stored["cell"], "all of its values; nobody has imported its class"
    text = yaml.safe_dump(experiment, sort_keys=False)
    for name, cls in encoding.TYPES.items():  # files call some by an earlier name
        if issubclass(cls, Experiment):
            text = text.replace(f"type: {name}\n", f"type: {cls.__name__}\n")
    made = yaml.safe_dump(stored["provenance"], sort_keys=False, default_flow_style=None, width=100)
    kept = (stored["examples"] or {}).items()
    images = ", ".join(f"{name} {' x '.join(map(str, one['shape']))}" for name, one in kept)
    print(f"{path.parent.name} {path.stem}: {stored['about']}\nfile: {path}")
    print(f"experiment ({how}):", textwrap.indent(text, "  "), sep="\n", end="")
    print("made:", textwrap.indent(made, "  "), sep="\n", end="")
    print("figures:", *(f"  {name}: {text}" for name, text in _summary(stored["figures"])), sep="\n")
    print(f"pictures: {images or 'none are kept'}")
    return 0


def _folders(output: str | None) -> list[Path]:
    from gleak_lib.chapters import PROFILES
    from gleak_lib.experiments import paths

    if output is not None:
        return [Path(output) / "results"]
    return list(dict.fromkeys(paths.results_folder(profile) for profile in PROFILES))


def _find(key: str, folders: list[Path]) -> Path:
    """Return the file of the one result whose key begins so."""
    stored = {path.stem: path for folder in folders for path in sorted(folder.glob("*/*.json"), reverse=True)}
    if key in stored:
        return stored[key]
    found = [name for name in stored if name.startswith(key)]
    if len(found) == 1:
        return stored[found[0]]
    places = ", ".join(map(str, folders))
    if found:
        some = ", ".join(sorted(found)[:5])
        raise ParameterError(f"{len(found)} keys in {places} begin with {key[:80]!r}, for instance {some}.")
    near = difflib.get_close_matches(key[:80], stored, 3, cutoff=0.5)
    hint = f"Nearest: {', '.join(near)}." if near else "Keys are names of files there, without .json."
    hint = hint if stored else "There is none at all."
    raise ParameterError(f"No result in {places} has the key {key[:80]!r}. {hint}")


def _summary(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield a line for each figure: numbers as they are, and of many how many, from where to where."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _summary(part, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and len(value) > 4:
        numbers = [part for part in value if isinstance(part, (int, float))]
        spread = f", {min(numbers):g} to {max(numbers):g}, mean {sum(numbers) / len(numbers):g}"
        yield name, f"{len(value)} values" + (spread if numbers else "")
    else:
        yield name, str(value) if len(str(value)) < 80 else f"{type(value).__name__} of {len(value)}"
