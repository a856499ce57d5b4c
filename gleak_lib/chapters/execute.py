"""Executing a chapter: percent source, papermill, and the executed notebook put in its place at the end."""

import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gleak_lib import errors
from gleak_lib.errors import StoreError, TimeLimitError
from gleak_lib.experiments import paths
from gleak_lib.experiments.atomic import write_atomically
from gleak_lib.experiments.runner.progress import PROGRESS
from gleak_lib.experiments.runner.run import DEADLINE
from gleak_lib.extras import require

ANSI = re.compile(r"\x1b\[[0-9;]*m")
KERNEL = "python3"
START_TIMEOUT = 300  # seconds that a kernel may take to start: on a busy machine a minute is too short


def execute(
    source: Path,
    destination: Path,
    parameters: Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    time_limit: float | None = None,
    log: Callable[[str], None] | None = None,
) -> None:
    """Execute a percent source through papermill, and put the notebook into `destination` when it is done.

    Until then everything happens in a temporary folder: a run that fails leaves `destination` as it was.

    Args:
        source: the percent source.
        destination: the notebook to write.
        parameters: what papermill injects.
        environment: variables for the kernel.
        time_limit: seconds, after which the runner begins no further cell and the kernel is interrupted.
        log: is given a line for each cell of the experiments that ends.

    Raises:
        StoreError: a cell of the notebook failed (the message says which, and why).
        TimeLimitError: the time was up.
        MissingDependencyError: papermill or jupytext is not installed.
    """
    jupytext, papermill = require("jupytext", "book"), require("papermill", "book")
    dead = require("nbclient.exceptions", "book").DeadKernelError
    with tempfile.TemporaryDirectory(prefix="gleak-") as folder:
        plain, done, progress = (Path(folder) / name for name in ("in.ipynb", "out.ipynb", "progress.txt"))
        notebook = jupytext.read(source)
        notebook.metadata["kernelspec"] = {"name": KERNEL, "display_name": "Python 3", "language": "python"}
        jupytext.write(notebook, plain, fmt="ipynb")
        variables = {**(environment or {}), "JUPYTER_PREFER_ENV_PATH": "1"}  # this Python's kernel, no other
        if "OMP_WAIT_POLICY" not in os.environ:  # spinning threads starve each other on shared cores
            variables["OMP_WAIT_POLICY"] = "PASSIVE"
        if time_limit is not None:
            variables[DEADLINE] = str(time.time() + time_limit)
        if log is not None:
            variables[PROGRESS] = str(progress)
        with _variables(variables), _following(progress, log):
            try:
                papermill.execute_notebook(
                    plain,
                    done,
                    parameters=dict(parameters),
                    kernel_name=KERNEL,
                    progress_bar=False,
                    cwd=str(paths.root()),
                    start_timeout=START_TIMEOUT,
                    execution_timeout=None if time_limit is None else max(1, int(time_limit) + 1),
                )
            except papermill.PapermillExecutionError as error:
                kind = TimeLimitError if error.ename == TimeLimitError.__name__ else StoreError
                raise kind(_failure(source.stem, error)) from error
            except dead as error:
                raise StoreError(
                    f"{source.stem}: the kernel died, perhaps for want of memory. Finished cells are stored: "
                    "run again to go on."
                ) from error
            except TimeoutError as error:  # nbclient's, for a cell that outlasts the limit
                raise TimeLimitError(
                    f"{source.stem} took longer than the {time_limit:.0f} s that were left. Finished cells "
                    "are stored: run again to go on."
                ) from error
        write_atomically(destination, _cleaned(done).encode())


def _cleaned(path: Path) -> str:
    """Return an executed notebook without traces of when and where it ran; its parameters stay."""
    nbformat = require("nbformat", "book")
    notebook = nbformat.read(path, as_version=4)
    given = notebook.metadata.get("papermill", {}).get("parameters", {})
    notebook.metadata["papermill"] = {"parameters": given}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # random ones would differ at each run
        cell["source"] = cell.source.rstrip("\n")  # papermill's cell ends in an empty line
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = ["injected-parameters", "hide-cell"]  # as the chapter's own
        for name in ("execution", "papermill"):
            cell.metadata.pop(name, None)
    notebook.metadata.pop("widgets", None)
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def _failure(chapter: str, error: Any) -> str:
    """Say which cell failed and why; what is no error of gleak's own comes with the end of its traceback."""
    source = "\n".join(f"    {line}" for line in str(error.source).strip().splitlines()[:12])
    reason = f"{error.ename}: {ANSI.sub('', str(error.evalue))}"
    text = f"{chapter}: code cell {error.exec_count} failed with {reason}\n{source}"
    if isinstance(getattr(errors, error.ename, None), type):
        return text
    trace = ANSI.sub("", "\n".join(error.traceback)).splitlines()
    return "\n".join([text, "  ...", *(f"    {line}" for line in trace[-15:])])


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment, which the kernel inherits, and restore them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _following(path: Path, log: Callable[[str], None] | None) -> Iterator[None]:
    """Hand each line that is written to a file to `log`, soon after."""
    if log is None:
        yield
        return
    stop, shown = threading.Event(), 0

    def follow() -> None:
        nonlocal shown
        last = False
        while not last:
            last = stop.wait(0.5)
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            for line in lines[shown:]:
                log(line)
            shown = len(lines)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
