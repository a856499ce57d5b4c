"""Checkouts of what the papers' authors released: whether one is whole, of which commit, and its modules."""

import contextlib
import importlib
import io
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from common import Unavailable
from torch import Tensor

URLS = {
    "cvb": "https://github.com/dAI-SY-Group/ConvolutionalVariationalBottleneck",
    "precode": "https://github.com/dAI-SY-Group/PRECODE",
}
CONFIGS = ("main_config", "fedavg", "attacks/IG")
FILES = {
    "cvb": (
        *("src/attacks.py", "src/utils.py", "src/models/modelzoo.py", "src/models/modules.py"),
        *(f"configs/{name}.yaml" for name in (*CONFIGS, "models/CNN", "models/CNNCVB")),
    ),
    "precode": ("src/VariationalBottleneck.py",),
}


@contextlib.contextmanager
def quiet(kind: str) -> Iterator[None]:
    """Keep their prints and warnings to themselves; on a processor `cuda()` does nothing."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if kind == "cpu":
            stack.enter_context(mock.patch.object(Tensor, "cuda", lambda self, *_a, **_k: self))
        yield


def checked(folder: Path, which: str) -> Path:
    """Return the folder of a checkout.

    Raises:
        Unavailable: there is no such folder, or it lacks files that are used here.
    """
    if not folder.is_dir():
        raise Unavailable(f"There is no folder {folder}: clone {URLS[which]} and name it with --{which}.")
    if lacking := [name for name in FILES[which] if not (folder / name).is_file()]:
        raise Unavailable(f"{folder} is no checkout of {URLS[which]}: it lacks {', '.join(lacking)}.")
    return folder.resolve()


def imported(folder: Path, names: dict[str, str]) -> SimpleNamespace:
    """Import modules of a checkout whose package is called `src`, as other checkouts' are, too.

    Raises:
        Unavailable: something that they import is not installed.
    """
    for name in [n for n in sys.modules if n.partition(".")[0] == "src"]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        with quiet("cpu"):
            return SimpleNamespace(**{key: importlib.import_module(n) for key, n in names.items()})
    except ImportError as error:
        raise Unavailable(f"{folder} needs a package more ({error}): see benchmarks/peer.py.") from error
    finally:
        sys.path.remove(str(folder))


def commit(folder: Path) -> str | None:
    """Return a checkout's commit, with `-dirty` where its code or settings were changed; None without git."""
    git = ["git", "-C", str(folder)]
    try:
        head, changed = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", "src", "configs"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("-dirty" if changed else "")
