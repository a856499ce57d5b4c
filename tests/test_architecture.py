"""The house: imports flow one way, and the package alone needs torch, torchvision and numpy only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gleak_lib

PACKAGE = Path(gleak_lib.__file__).parent

# a module may import what stands on its own line or above
LAYERS = [
    {"errors", "extras", "fresh", "memory", "registry", "typed", "types", "pixels"},
    {"norms", "graphs", "outer", "patches", "rules", "paths", "trial", "verify", "gradients"},
    {"bottlenecks", "models", "datasets", "metrics", "defenses"},
    {"attacks"},
    {"federated"},
    {"plots"},
    {"experiments"},
    {"usage", "cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "gleak_lib":
                yield from (f"gleak_lib.{alias.name}" for alias in node.names)
            else:
                yield node.module


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_flow_one_way(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    for module in imports_of(path):
        if module.startswith("gleak_lib.") and not room(module).startswith("__"):
            assert LEVEL[room(module)] <= LEVEL[own], f"{own} imports {module}"


def test_every_room_has_its_level():
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert rooms - {"__init__"} == set(LEVEL)


def test_the_package_needs_torch_torchvision_and_numpy_only():
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import torch, torchvision, numpy\n"
        "allowed = {m.partition('.')[0] for m in sys.modules}\n"
        "from gleak_lib import attacks, bottlenecks, datasets, defenses, federated, metrics, models, plots\n"
        "extra = {m.partition('.')[0] for m in sys.modules} - allowed - set(sys.stdlib_module_names)\n"
        "print(sorted(m for m in extra if not m.startswith('_')))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['gleak_lib']"
