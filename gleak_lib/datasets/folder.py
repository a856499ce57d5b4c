"""A folder of images as an image set: one subfolder per class, files of any size, gray or color."""

import hashlib
import io
from pathlib import Path

import numpy as np

from gleak_lib import memory
from gleak_lib.datasets.archives import COPIES, regular
from gleak_lib.datasets.build import Arrays
from gleak_lib.errors import DataError
from gleak_lib.extras import require

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF",
           ".tiff": "TIFF", ".webp": "WEBP"}  # fmt: skip
GRAY, COLOR = {"1", "L", "LA"}, {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"}
BYTES, PIXELS = 2**28, 2**26  # most of one file
TEST = 0.2  # share of the images that is expected in the test split


def read_images(folder: Path, size: int) -> Arrays:
    """Read a folder of class folders; of an animated file the first picture.

    A file is a test image if the first four bytes of its SHA-256 hash are below a fifth of their range: it
    stays in its split on every machine, under any name, and whatever else is added. Hidden files and files
    that are no images by their names are left out. Classes are numbered by the names of their folders;
    within a class images are ordered by their hashes.

    Args:
        folder: holds a folder for each class, and each of these holds image files.
        size: height and width that every image is resized to (bilinear, antialiased).

    Returns:
        `train` and `test`: images N x size x size (all gray) or N x size x size x 3, uint8, and labels N.

    Raises:
        DataError: If it is no folder, has fewer than two classes or an empty one, if a file is damaged,
            too large or of more than 8 bits, or if a class has no training image or no class a test image.
        MissingDependencyError: If Pillow is not installed.
    """
    classes = _classes(folder)
    files = [(label, path) for label, of in enumerate(classes.values()) for path in of]
    memory.require(3 * COPIES * len(files) * size**2, f"{len(files):,} images of {folder}", DataError)
    found = sorted(((label, *_read(path, size)) for label, path in files), key=lambda one: one[:2])
    gray = all(pixels.ndim == 2 for *_, pixels in found)
    images = np.stack([p if gray or p.ndim == 3 else np.repeat(p[..., None], 3, 2) for *_, p in found])
    labels = np.array([label for label, *_ in found])
    test = np.array([int.from_bytes(digest[:4], "big") < TEST * 2**32 for _, digest, _ in found])
    for label, name in enumerate(classes):
        if test[labels == label].all():
            raise DataError(
                f"{folder}: all images of class {name} fall into the test split: add more of them."
            )
    if not test.any():
        raise DataError(f"{folder}: none of its {len(files)} images falls into the test split: add more.")
    return {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}


def is_image_folder(path: Path) -> bool:
    """Return whether a folder has a folder with an image file in it."""
    return path.is_dir() and any(file.suffix.lower() in FORMATS for file in path.glob("*/*"))


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of each class, by the names of class folders."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: an image set is a folder with one folder per class.")
    classes = {}
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."):
        files = [path for path in sorted(inner.iterdir()) if path.suffix.lower() in FORMATS]
        classes[inner.name] = [path for path in files if path.name[0] != "."]
        if not classes[inner.name]:
            raise DataError(
                f"{inner} holds no image file ({', '.join(FORMATS)}): each class is one folder, with its "
                "images directly in it."
            )
    if len(classes) < 2:
        raise DataError(
            f"{folder} has {len(classes)} class folder(s): a set needs at least two, each with its images."
        )
    return classes


def _read(path: Path, size: int) -> tuple[bytes, np.ndarray]:
    """Return the hash of a file, and its pixels as size x size (x 3)."""
    pillow = require("PIL.Image", "data")
    regular(path)
    if path.stat().st_size > BYTES:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes, more than the {BYTES:,} that are read.")
    content = path.read_bytes()
    try:
        with pillow.open(io.BytesIO(content), formats=sorted(set(FORMATS.values()))) as image:
            width, height = image.size
            if width * height > PIXELS:
                raise DataError(
                    f"{path} has {width} x {height} pixels, more than the {PIXELS:,} that are read."
                )
            if image.mode not in GRAY | COLOR:
                raise DataError(f"{path} has pixels of mode {image.mode}: save it with 8 bits, gray or RGB.")
            image = image.convert("L" if image.mode in GRAY else "RGB")
            small = image.resize((size, size), pillow.Resampling.BILINEAR)
    except DataError:
        raise
    except Exception as error:  # there is no end of what a damaged file can raise
        raise DataError(
            f"{path} is damaged or no image ({type(error).__name__}: {error}): replace it or take it away."
        ) from error
    return hashlib.sha256(content).digest(), np.asarray(small)
