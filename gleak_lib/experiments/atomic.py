"""Files: written so that a reader sees the old one or the new one, read so that no damage is believed.

What an operating system or a damaged file raises becomes a `StoreError` here, and nowhere else.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from gleak_lib.datasets.archives import regular
from gleak_lib.errors import StoreError

PROBE = bytes(2**16)  # a folder takes it if it will take a result


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` into a temporary file beside `path`, flush it to the disk, and rename it.

    A process that is killed leaves the old file as it was; of several writers one wins as a whole.

    Raises:
        StoreError: the folder cannot be written, the disk is full, or there is a folder in the file's place.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)  # mkstemp lets nobody else read
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error


def check_writable(folder: Path, remedy: str) -> None:
    """Refuse a folder that would not take a file; it is made where it does not exist.

    Args:
        folder: where something is to be written later.
        remedy: the end of the message: what to do.

    Raises:
        StoreError: it is no folder, read-only or full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror or error}): {remedy}") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        FileNotFoundError: there is none.
        StoreError: whatever else: it is no file, no JSON, holds a NaN, or is nested too deep.
    """
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{path} is not there.")
    try:
        regular(path)
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except Exception as error:  # there is no end of what damage can raise
        raise StoreError(f"{path} is damaged ({type(error).__name__}: {error}).") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")
