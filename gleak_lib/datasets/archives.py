"""Reading files of strangers: npz archives and MNIST's idx files, never through pickle."""

import gzip
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gleak_lib.errors import DataError

VICTIM_KEYS = ("images", "labels", "mean", "std")
SPLIT_KEYS = tuple(f"{split}_{what}" for split in ("train", "val", "test") for what in ("images", "labels"))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of MedMNIST's layout, or of a victims archive, that `path` holds.

    Other members are never read. An array of Python objects would have to be unpickled, which can run
    code: it is refused.

    Raises:
        DataError: the file is damaged, no npz archive, lacks an array, or holds pickled objects.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError(f"{path} is no npz archive but a single array.")
            members = archive.files
            arrays = {key: archive[key] for key in (*SPLIT_KEYS, *VICTIM_KEYS) if key in members}
    except (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        if isinstance(error, DataError):
            raise
        if "pickle" in str(error):
            raise DataError(
                f"{path} holds a pickled object, which could run code when read: refused. Save plain numeric "
                "arrays with numpy.savez."
            ) from None
        raise DataError(f"{path} is damaged or no npz archive ({error}): fetch or save it again.") from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise DataError(f"{path} is damaged: its member {key} is no array.")
    needed = _needed(arrays)
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}; it holds {', '.join(members) or 'nothing'}. MedMNIST's "
            "layout is train_images, train_labels, test_images, test_labels and maybe val_images, val_labels."
        )
    return arrays


def is_victims(arrays: Mapping[str, np.ndarray]) -> bool:
    """Return whether the arrays are those of a victims archive."""
    return "images" in arrays and "train_images" not in arrays


def _needed(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    if is_victims(arrays):
        return VICTIM_KEYS[:2]
    has_val = "val_images" in arrays or "val_labels" in arrays
    return tuple(key for key in SPLIT_KEYS if has_val or not key.startswith("val"))


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array of an idx file of MNIST's kind (`.gz` or plain).

    Raises:
        DataError: the file is damaged or no idx file of bytes.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}): fetch it again.") from error
    dimensions = data[3] if len(data) > 3 and data[:3] == b"\x00\x00\x08" else 0
    start = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    if dimensions not in (1, 3) or len(data) != start + math.prod(shape):
        raise DataError(f"{path} is damaged or no idx file of bytes ({len(data)} bytes): fetch it again.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()
