"""The house: imports flow one way, and the package alone needs torch, torchvision and numpy only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gleak_lib

PACKAGE = Path(gleak_lib.__file__).parent

# a room may import what stands on its own line or above
LAYERS = [
    {
        "errors",
        "extras",
        "fingerprint",
        "half_precision",
        "fresh",
        "global_generator",
        "memory",
        "grammar",
        "registry",
        "typed",
        "received",
        "types",
        "pixels",
    },
    {"gradients"},
    {"bottlenecks", "models", "datasets", "metrics", "defenses", "generators"},
    {"attacks", "client_setup"},
    {"federated"},
    {"plots"},
    {"experiments"},
    {"chapters"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# the same within experiments: what is run, what was found, how it is shown, how it is computed
FLOORS = [{"atomic", "context", "encoding", "paths"}, {"specs"}, {"store"}, {"report"}, {"runner"}]
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(path: Path):
    """Everything that a file imports, under TYPE_CHECKING and inside functions, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [module for module in modules if module in NAMES]
            yield from found
            if len(found) < len(modules):
                yield node.module


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = {name_of(path): path for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_flow_one_way(path):
    own = name_of(path).split(".")
    for module in imports_of(path):
        parts = module.split(".")
        if parts[0] != "gleak_lib" or len(parts) < 2 or len(own) < 2 or parts[1].startswith("__"):
            continue
        assert LEVEL[parts[1]] <= LEVEL[own[1]], f"{'.'.join(own)} imports {module}"
        if own[1] == parts[1] == "experiments" and len(own) > 2:
            assert len(parts) > 2, f"{'.'.join(own)} imports the room that it stands in"
            assert FLOOR[parts[2]] <= FLOOR[own[2]], f"{'.'.join(own)} imports {module}"


def test_no_circle():
    edges = {n: {m for m in imports_of(p) if m in NAMES and m != n} for n, p in NAMES.items()}
    done: set[str] = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in edges[name]:
                visit(other, [*path, name])
            done.add(name)

    for name in edges:
        visit(name, [])


def test_every_floor_is_known():
    folder = PACKAGE / "experiments"
    assert {p.stem for p in folder.iterdir() if not p.stem.startswith("__")} == set(FLOOR)


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
