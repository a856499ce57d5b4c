"""The programs of the documentation, as the tests execute them."""

import re
from pathlib import Path
from typing import Any

BOOK = Path(__file__).parents[1] / "book"
FIRST = "Attack your own model's gradients"
"""What the others, and the reference, start from."""


def blocks(page: str, title: str) -> list[str]:
    """Code under a heading of a page of the book."""
    text = (BOOK / page).read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section is not None, f"{page} has no section {title!r}"
    return re.findall(r"```python\n(.*?)```", section[1], re.DOTALL)


def lines(code: str) -> int:
    """How many it has besides imports and blank ones."""
    return sum(bool(line) and not line.startswith(("import ", "from ")) for line in code.splitlines())


def execute(code: str, **names: Any) -> dict[str, Any]:
    """Run it as a module of its own that has these names; return what it has afterwards."""
    space: dict[str, Any] = {"__name__": "mine"} | names
    exec(code, space)
    return space
