"""Percent sources of the chapters, `book/src/*.py`: what chapters there are, and what each is called."""

import re
from pathlib import Path

from gleak_lib.errors import unknown
from gleak_lib.experiments import paths

CELL = r"""^# %%%%[^\n]*tags=\[[^\]\n]*["']%s["'][^\n]*\n(.*?)(?=^# %%%%|\Z)"""
TITLE = re.compile(r"^# # (.+)$", re.M)


def sources(folder: Path | None = None) -> dict[str, Path]:
    """Return the percent sources of all chapters by name (None: the checkout's `book/src`)."""
    folder = folder or paths.root() / "book" / "src"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def title(source: Path) -> str:
    """Return a chapter's first heading; its name where it has none."""
    found = TITLE.search(source.read_text(encoding="utf-8"))
    return found[1] if found else source.stem


def tagged(source: Path, tag: str) -> list[str]:
    """Return the code of the cells of a percent source that have a tag."""
    return re.findall(CELL % tag, source.read_text(encoding="utf-8"), re.M | re.S)


def source_of(chapter: str, folder: Path | None = None) -> Path:
    """Return the percent source of a chapter; the path of its source or notebook names it, too.

    Raises:
        UnknownNameError: If there is no such chapter, or the file of that name lies in another place.
    """
    found = sources(folder)
    path = Path(chapter)
    name = path.stem if path.suffix in (".py", ".ipynb") else chapter
    own = folder or paths.root() / "book" / "src"
    here = {own / f"{name}.py", own.parent / "chapters" / f"{name}.ipynb"}
    elsewhere = len(path.parts) > 1 and not {(root / path).resolve() for root in (Path(), own.parents[1])} & {
        place.resolve() for place in here
    }
    if name not in found or elsewhere:
        raise unknown("chapter", chapter if elsewhere else name, found)
    return found[name]
