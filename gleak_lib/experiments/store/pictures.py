"""Example images as files that are named by their content, so that the same images are kept once.

A file holds N images side by side; every attack on the same victims refers to the same file of originals. A
stored result names file and shape: `{"picture": "0123456789abcdef", "shape": [N, C, H, W]}`. Files are PNG,
without loss. Of an attack more than 32 color images are there to be looked at, and the result has their
scores: they are WebP with loss, a fifth of the size, and the entry has `"format": "webp"`, too.
"""

import hashlib
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gleak_lib.datasets.archives import regular
from gleak_lib.errors import StoreError
from gleak_lib.experiments.atomic import write_atomically

FOLDER = "pictures"  # of a store, beside the folders of the kinds
NAME = re.compile(r"[0-9a-f]{16}")
PIXELS = 2**26  # of one file: more is no set of examples, and would fill the memory
GALLERY = 33  # color images of one file, from which on it may lose something
QUALITY = 80  # of WebP


def save(
    folder: Path, examples: Mapping[str, np.ndarray], *, gallery: bool = False
) -> dict[str, dict[str, Any]]:
    """Write images into a store's folder, and return what a result says of them.

    Args:
        folder: of the store.
        examples: uint8 N x C x H x W by name.
        gallery: whether more than 32 color images may lose something.

    Raises:
        StoreError: images of another type or shape, none, or more than 2**26 pixels.
    """
    kept = {}
    for name, images in examples.items():
        if images.dtype != np.uint8 or images.ndim != 4 or not 0 < images.size <= PIXELS:
            raise StoreError(
                f"{name} must be a few images, uint8 N x C x H x W, got {images.dtype} {images.shape}."
            )
        entry: dict[str, Any] = {"picture": _digest(images), "shape": list(images.shape)}
        data = _encoded(images, "PNG", optimize=True)
        if gallery and len(images) >= GALLERY and images.shape[1] == 3:
            data = _encoded(images, "WEBP", quality=QUALITY, method=6)
            entry |= {"picture": _name(data), "format": "webp"}
        write_atomically(file(folder, entry), data)
        kept[name] = entry
    return kept


def load(path: Path, kept: Any) -> dict[str, np.ndarray] | None:
    """Return the images of a result as they were saved, of galleries nearly; None where it keeps none.

    Args:
        path: the result's file, `<kind>/<key>.json` in the store's folder.
        kept: what it says of its examples.

    Raises:
        StoreError: a file is missing, damaged or of other images, or the reference is none.
    """
    if not kept:
        return None
    if not isinstance(kept, dict):
        raise StoreError(f"{path} is damaged: its examples are {kept!r}.")
    return {str(name): _picture(path, entry) for name, entry in kept.items()}


def file(folder: Path, entry: Mapping[str, Any]) -> Path:
    """Return the file of what a result says of a picture, in a store's folder."""
    return folder / FOLDER / f"{entry['picture']}.{'webp' if entry.get('format') == 'webp' else 'png'}"


def _encoded(images: np.ndarray, form: str, **options: Any) -> bytes:
    """N images (or planes, where they are not RGB) side by side: H x NW x 3, or H x NCW."""
    from PIL import Image  # torchvision brings it

    _, c, h, _ = images.shape
    rgb = c == 3
    sheet = (
        images.transpose(2, 0, 3, 1).reshape(h, -1, 3) if rgb else images.transpose(2, 0, 1, 3).reshape(h, -1)
    )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(sheet)).save(buffer, form, **options)
    return buffer.getvalue()


def _picture(path: Path, entry: Any) -> np.ndarray:
    from PIL import Image

    try:
        digest, (n, c, h, w) = str(entry["picture"]), (int(size) for size in entry["shape"])
        if not NAME.fullmatch(digest) or min(n, c, h, w) < 1 or math.prod((n, c, h, w)) > PIXELS:
            raise ValueError("no picture has such a name or shape")
    except Exception as error:  # there is no end of what damage can raise
        raise StoreError(f"{path} is damaged: it refers to pictures by {entry!r} ({error}).") from error
    there = file(path.parents[1], entry)
    expected = ((n * w, h), "RGB") if c == 3 else ((n * c * w, h), "L")
    try:
        regular(there)
        data, lossy = there.read_bytes(), there.suffix == ".webp"
        if lossy and _name(data) != digest:
            raise ValueError("it holds other images")
        with Image.open(io.BytesIO(data), formats=["WEBP" if lossy else "PNG"]) as picture:
            if (picture.size, picture.mode) != expected:  # known before anything is unpacked
                raise ValueError(f"{picture.size} {picture.mode} instead of {expected}")
            sheet = np.asarray(picture)
    except Exception as error:
        raise StoreError(
            f"{path}: {there} is missing or damaged ({type(error).__name__}: {error})."
        ) from error
    images = sheet.reshape(h, n, w, 3).transpose(1, 3, 0, 2) if c == 3 else None
    images = sheet.reshape(h, n, c, w).transpose(1, 2, 0, 3) if images is None else images
    images = np.ascontiguousarray(images)
    if not lossy and _digest(images) != digest:
        raise StoreError(f"{path}: {there} is missing or damaged (it holds other images).")
    return images


def _digest(images: np.ndarray) -> str:
    return _name(f"{images.shape}".encode() + np.ascontiguousarray(images).tobytes())


def _name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
