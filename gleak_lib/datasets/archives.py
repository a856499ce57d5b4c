"""Reading files of strangers: npz archives and MNIST's idx files, never through pickle.

Nothing is believed before it was checked: what kind of file it is, how large its arrays claim to be, and
only then what they hold. Whatever goes wrong is a `DataError`.
"""

import gzip
import math
import stat
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from gleak_lib import memory
from gleak_lib.errors import DataError

VICTIM_KEYS = ("images", "labels", "mean", "std")
SPLIT_KEYS = tuple(f"{split}_{what}" for split in ("train", "val", "test") for what in ("images", "labels"))
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes; others unpack without a limit
COPIES = 3  # how often an array lies in memory while an image set is made of it
PACKED, LARGE = 100, 2**28  # no images of more bytes than LARGE are packed to less than a share of 1 / PACKED
PICKLE = (
    "holds a pickled object, which could run code when read: refused. Save plain numeric arrays with "
    "numpy.savez."
)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of MedMNIST's layout, or of a victims archive, that `path` holds.

    Other members are never read. An array of Python objects would have to be unpickled, which can run
    code: it is refused.

    Raises:
        DataError: it is no file, no npz archive, damaged, encrypted, too large for the memory, lacks an
            array, or holds pickled objects.
    """
    regular(path)
    try:
        with path.open("rb") as file:
            _check_kind(path, file.read(512))
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            found = {info.filename.removesuffix(".npy"): info for info in archive.zip.infolist()}
            wanted = {key: found[key] for key in (*SPLIT_KEYS, *VICTIM_KEYS) if key in found}
            _check_members(path, wanted.values())
            arrays = {key: archive[key] for key in wanted}
    except DataError:
        raise
    except Exception as error:  # there is no end of what a damaged file can raise: zipfile, zlib, numpy, ast
        if "Object arrays" in str(error):
            raise DataError(f"{path} {PICKLE}") from error
        raise DataError(
            f"{path} is damaged or no npz archive ({type(error).__name__}: {error}): fetch or save it again."
        ) from error
    if odd := [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise DataError(f"{path} is damaged: its member {odd[0]} is no array.")
    missing = [key for key in _needed(arrays) if key not in arrays]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}; it holds {', '.join(found) or 'nothing'}. MedMNIST's "
            "layout is train_images, train_labels, test_images, test_labels and maybe val_images, val_labels."
        )
    return arrays


def is_victims(arrays: Mapping[str, np.ndarray]) -> bool:
    """Return whether the arrays are those of a victims archive."""
    return "images" in arrays and "train_images" not in arrays


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array of an idx file of MNIST's kind (`.gz` or plain).

    Raises:
        DataError: it is no file, damaged, no idx file of bytes, or too large for the memory.
    """
    regular(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            dimensions = head[3] if head[:3] == b"\x00\x00\x08" and len(head) == 4 else 0
            if dimensions not in (1, 3):
                raise DataError(f"{path} is damaged or no idx file of bytes: fetch it again.")
            shape = tuple(int.from_bytes(file.read(4), "big") for _ in range(dimensions))
            size = math.prod(shape)
            _check_size(path, size, path.stat().st_size)
            data = file.read(size + 1)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}): fetch it again.") from error
    if len(data) != size:
        more = "more" if len(data) > size else len(data)
        raise DataError(f"{path} is damaged: its head says {size} bytes, it has {more}. Fetch it again.")
    return np.frombuffer(data, np.uint8).reshape(shape).copy()


def regular(path: Path) -> None:
    """Refuse what is no file before it is opened: a pipe would be waited for, a device never ends.

    Raises:
        DataError: it says what the path is.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        what = "a link to nothing" if path.is_symlink() else "not there"
        raise DataError(f"{path} is {what} ({error.strerror}).") from error
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise DataError(f"{path} is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file.")


def _check_kind(path: Path, head: bytes) -> None:
    """Say what a file is that is no zip archive, as far as its first bytes tell."""
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(npy.MAGIC_PREFIX):
        raise DataError(f"{path} is no npz archive but a single array: save all arrays with numpy.savez.")
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        raise DataError(
            f"{path} is a web page, not an npz archive: the download gave an error or a login page."
        )
    if head.startswith(b"\x80"):
        raise DataError(f"{path} {PICKLE}")
    what = f"begins with {head[:8]!r}" if head else "is empty"
    raise DataError(f"{path} is damaged or no npz archive (it {what}): fetch or save it again.")


def _check_members(path: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse what cannot be unpacked, or would be too much, by the archive's directory."""
    total = packed = 0
    for info in members:
        if info.flag_bits & 1:
            raise DataError(f"{path} is encrypted ({info.filename}): save it without a password.")
        if info.compress_type not in METHODS:
            raise DataError(
                f"{path} is packed by an unknown method ({info.filename}: {info.compress_type}): save it by "
                "numpy.savez."
            )
        total, packed = total + info.file_size, packed + info.compress_size
    _check_size(path, total, packed)


def _check_size(path: Path, size: int, packed: int) -> None:
    if size > LARGE and size > PACKED * packed:
        raise DataError(
            f"{path} would unpack to {memory.gigabytes(size)} from {packed:,} bytes, as no images do: it is "
            "damaged, or made to fill the memory."
        )
    memory.require(COPIES * size, f"{path}, with {memory.gigabytes(size)} of arrays,", DataError)


def _needed(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    if is_victims(arrays):
        return VICTIM_KEYS[:2]
    has_val = "val_images" in arrays or "val_labels" in arrays
    return tuple(key for key in SPLIT_KEYS if has_val or not key.startswith("val"))
