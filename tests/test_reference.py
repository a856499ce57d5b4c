"""The reference has every public name, and its examples run."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import torch
import yaml
from programs import BOOK, FIRST, blocks, execute, lines

import gleak_lib
from gleak_lib import attacks

PARTS = yaml.safe_load((BOOK / "_toc.yml").read_text())["parts"]
SECTIONS = [s["file"] for part in PARTS for c in part["chapters"] for s in c.get("sections", ())]
REFERENCE = [page for page in SECTIONS if page.startswith("reference/")]


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Opacus' accountant
def test_the_examples_run(monkeypatch, tmp_path):
    """One after the other, as a reader would try them."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = execute(blocks("programs.md", FIRST)[0])
    for page in REFERENCE:
        code = re.findall(r"```python\n(.*?)```", (BOOK / f"{page}.md").read_text(), re.DOTALL)
        assert len(code) == 1 and lines(code[0]) <= 12, page
        names = execute(code[0], **names)
    assert 0 < names["success"](names["table"]).size == 4 and names["setup"].batch_size == 4


def rooms():
    """Modules of the package that say what is public, and those without rooms that are public as a whole."""
    found = [m.name for m in pkgutil.iter_modules(gleak_lib.__path__)]
    return [name for name in found if hasattr(importlib.import_module(f"gleak_lib.{name}"), "__all__")]


def test_every_room_has_its_page():
    assert {Path(page).name for page in REFERENCE} == {*rooms(), "types", "client_setup"}


@pytest.mark.parametrize("room", rooms())
def test_every_public_name_is_in_the_reference(room):
    """A class or function comes with its docstring, and anything else has an entry of its own."""
    page = (BOOK / "reference" / f"{room}.md").read_text()
    module = importlib.import_module(f"gleak_lib.{room}")
    assert f".. automodule:: gleak_lib.{room}\n   :members:" in page
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.ismodule(value):
            assert f".. automodule:: {value.__name__}\n   :members:" in page, name
        elif inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value) and value.__doc__, name
        else:
            assert f".. py:data:: {name}\n\n   " in page, name


def test_every_preset_is_explained():
    page = (BOOK / "reference" / "attacks.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(attacks.ATTACKS)
