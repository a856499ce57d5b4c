"""Executing a chapter: percent source, papermill, and the executed notebook put in its place at the end."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from gleak_lib import errors
from gleak_lib.errors import StoreError
from gleak_lib.experiments import paths
from gleak_lib.experiments.atomic import write_atomically
from gleak_lib.extras import require

ANSI = re.compile(r"\x1b\[[0-9;]*m")
KERNEL = "python3"
START_TIMEOUT = 300  # seconds that a kernel may take to start: on a busy machine a minute is too short


@contextlib.contextmanager
def shared_kernel() -> Iterator[Any]:
    """Give a kernel for several chapters, which imports what they need once; it starts with the first.

    Raises:
        MissingDependencyError: If jupyter_client is not installed.
    """
    manager = require("jupyter_client.manager", "book").AsyncKernelManager(kernel_name=KERNEL)
    connect, clients = manager.client, []

    def client(**options: Any) -> Any:
        clients.append(connect(**options))
        return clients[-1]

    manager.client = client  # nbclient leaves those of a kernel that is not its own open
    try:
        yield manager
    finally:
        for one in clients:
            one.stop_channels()
        if manager.has_kernel:
            require("jupyter_core.utils", "book").run_sync(manager.shutdown_kernel)(now=True)


def execute(
    source: Path,
    destination: Path,
    parameters: Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    kernel: Any = None,
    last: str | None = None,
) -> None:
    """Execute a percent source through papermill, and put the notebook into `destination` when it is done.

    Until then everything happens in a temporary folder: a run that fails leaves `destination` as it was.

    Args:
        source: the percent source.
        destination: the notebook to write.
        parameters: what papermill injects.
        environment: variables for the kernel, if it is started here.
        kernel: what `shared_kernel` gave, emptied of the names of an earlier chapter; None means a new one.
        last: code of one more cell at the end.

    Raises:
        StoreError: If a cell of the notebook failed (the message says which, and why).
        MissingDependencyError: If papermill or jupytext is not installed.
    """
    jupytext, papermill = require("jupytext", "book"), require("papermill", "book")
    dead = require("nbclient.exceptions", "book").DeadKernelError
    with tempfile.TemporaryDirectory(prefix="gleak-") as folder:
        plain, done = Path(folder) / "in.ipynb", Path(folder) / "out.ipynb"
        notebook = jupytext.read(source)
        notebook.metadata["kernelspec"] = {"name": KERNEL, "display_name": "Python 3", "language": "python"}
        if last is not None:
            notebook.cells.append(require("nbformat.v4", "book").new_code_cell(last))
        jupytext.write(notebook, plain, fmt="ipynb")
        # the kernel inherits these variables, the last of which makes it this Python's
        with mock.patch.dict(os.environ, environment or {}, JUPYTER_PREFER_ENV_PATH="1"):
            try:
                if kernel is not None and kernel.has_kernel:
                    _empty(kernel)
                papermill.execute_notebook(
                    plain,
                    done,
                    parameters=dict(parameters),
                    kernel_name=KERNEL,
                    progress_bar=False,
                    cwd=str(paths.root()),
                    start_timeout=START_TIMEOUT,
                    km=kernel,
                    coalesce_streams=True,  # a busy kernel sends what a cell prints in several parts
                )
            except papermill.PapermillExecutionError as error:
                raise StoreError(_failure(source.stem, error)) from error
            except dead as error:
                raise StoreError(
                    f"{source.stem}: the kernel died, perhaps for want of memory. "
                    "Finished experiments are stored: "
                    "run again to go on."
                ) from error
        write_atomically(destination, _cleaned(done).encode())


def _empty(kernel: Any) -> None:
    """Forget all names of a kernel, and count its cells from one again."""
    client = kernel.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(START_TIMEOUT)
        client.execute("get_ipython().reset(new_session=True)", silent=True, reply=True)
    finally:
        client.stop_channels()


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
