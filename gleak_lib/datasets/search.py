"""Finding an image set by name, and saying what a folder holds."""

import os
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gleak_lib.datasets.archives import is_victims, read_npz
from gleak_lib.datasets.base import ImageDataset
from gleak_lib.datasets.build import Statistics, build, build_victims
from gleak_lib.datasets.folder import is_image_folder, read_images
from gleak_lib.datasets.sources import DATASETS, Source, embedded, fetch, read_folder
from gleak_lib.errors import DataError, GleakError, ParameterError, UnknownNameError, unknown
from gleak_lib.typed import typed

SIZE, LARGEST = 32, 4096  # height and width of images where nothing else is asked for, and at most
NAME = re.compile(r"\w[\w.-]{0,99}(@[1-9]\d{0,99})?(@gray)?")
GRAY = "@gray"  # ends the name of a gray set that models see with one channel


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder that image sets are looked for in.

    It is `root`, else the environment variable `GLEAK_DATA`, else `gleak` in the user's cache folder.
    """
    given = root or os.environ.get("GLEAK_DATA")
    return Path(given).expanduser() if given else user_cache()


def user_cache() -> Path:
    """Return the folder `gleak` in the user's cache folder."""
    try:
        from platformdirs import user_cache_path
    except ImportError:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gleak"
    return user_cache_path("gleak", appauthor=False)


@typed
def load(
    name: str,
    root: str | Path | None = None,
    download: bool = False,
    *,
    channels: int = 3,
    size: int | None = None,
    statistics: Statistics = "resized",
) -> ImageDataset:
    """Load an image set.

    The folder of `data_root` is searched for `NAME.npz` in MedMNIST's layout (a user's own archive loads
    the same way, and so does a victims archive), then for `NAME_64.npz` and the like of medmnist, then for
    the folder that torchvision writes, or one of a user's own images (see `folder.read_images`). Nothing is
    read through pickle.

    Args:
        name: a key of `DATASETS`, or the name of an archive or of a folder of images in the folder. `NAME@64`
            is the set that is found as NAME, at size 64, and is called so in results; `NAME@gray`, or
            `NAME@64@gray`, is a gray set with one channel. Without `root` it may be a path, `/data/NAME`.
        root: the folder; None means the variable `GLEAK_DATA`, else the user's cache folder.
        download: fetch the set through torchvision or medmnist where it is not found.
        channels: 3 replicates gray images, 1 keeps them gray, as `@gray` does.
        size: height and width that the images are resized to; None is what the name says, else 32.
        statistics: mean and std of the training images as models see them (`resized`), or as they lie on disk
            (`original`, the form of the CVB paper's code; not of a folder, whose images have many
            sizes). An archive of victims brings its own.

    Raises:
        UnknownNameError: no such set, and no archive of that name; another kind of statistics.
        DataError: the set is not there, damaged, unsafe or does not fit its layout.
        ParameterError: color images and `channels=1`, a set that cannot be downloaded, a size that is
            out of range or other than the name's, or images that would not fit into memory.
    """
    if root is None and Path(name).name != name:
        name, root = Path(name).name.removesuffix(".npz"), Path(name).parent
    check_name(name)
    base, own = at_size(name)
    if size is not None and (not 1 <= size <= LARGEST or own not in (None, size)):
        raise ParameterError(
            f"size must be 1 to {LARGEST} and that of the name, got size={size!r} for {name!r}."
        )
    size = size or own or SIZE
    channels = 1 if name.endswith(GRAY) else channels
    options: dict[str, Any] = {"channels": channels, "size": size, "statistics": statistics}
    if name != base:
        return replace(load(base, root, download, **options), name=name)
    source = DATASETS.get(name)
    if source and source.kind == "embedded":
        return build(name, embedded(), source="scikit-learn", num_classes=10, **options)
    folder = data_root(root)
    places = _places(name, source, folder)
    found = next(filter(os.path.lexists, places), None)  # a link to nothing is there, and said to be one
    if found is None and source and download:
        fetch(name, source, folder)
        found = next(filter(os.path.lexists, places), None)
    if found is None:
        raise _missing(name, source, folder, places)
    return _read(name, source, found, options)


def check_name(name: object) -> None:
    """Refuse what can be the name of no image set, whether it is there or not.

    Raises:
        UnknownNameError: it is neither `NAME` nor `NAME@64`, `NAME@gray` or `NAME@64@gray`, with a name of at
            most 100 letters, digits, dots, dashes and underscores.
        ParameterError: the size that it says is too large.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise unknown("dataset", name if len(str(name)) <= 200 else f"{str(name)[:50]}…", DATASETS)
    size = at_size(name)[1]
    if size is not None and size > LARGEST:
        raise ParameterError(f"{name!r}: images have a size of at most {LARGEST}.")


def require_known(name: str, root: str | Path | None = None) -> None:
    """Refuse a name that is neither a key of `DATASETS` nor that of a file or folder in the folder.

    A set that is known by name, and not there, is none that anybody misspelled.

    Raises:
        UnknownNameError: with the nearest name and all that there are.
    """
    base, folder = at_size(name)[0], data_root(root)
    places = _places(base, None, folder)
    if base not in DATASETS and not any(map(os.path.lexists, places)):
        raise _missing(base, None, folder, places)


def at_size(name: str) -> tuple[str, int | None]:
    """Return `NAME@64` as NAME and 64, and a name that says no size with None; `@gray` is left out."""
    base, _, size = name.removesuffix(GRAY).partition("@")
    return base, int(size) if size else None


class Found(NamedTuple):
    """One line of `check`: an image set and its state."""

    name: str
    state: str  # "valid", "damaged" or "missing"
    detail: str  # where it is and how much it holds; or what is wrong; or how to get it


@typed
def check(root: str | Path | None = None) -> list[Found]:
    """Read every image set in a folder in full, and say which are valid, damaged or missing.

    The sets of `DATASETS` come first, then the other archives and folders of images in the folder.

    Raises:
        DataError: it is no folder. One that is not there yet is empty.
    """
    folder = data_root(root)
    if os.path.lexists(folder) and not folder.is_dir():
        raise DataError(f"{folder} is no folder: name the one that holds the image sets.")
    known = {place for name, source in DATASETS.items() for place in _places(name, source, folder)}
    return [_check(name, folder) for name in (*DATASETS, *_own(folder, known))]


def _own(folder: Path, known: Collection[Path] = ()) -> list[str]:
    """Return the names of the other archives in a folder, then of its folders of images."""
    paths = [path for path in sorted(folder.glob("*")) if path not in known]
    archives = [path.stem for path in paths if path.suffix == ".npz"]
    return archives + [path.name for path in paths if is_image_folder(path)]


def _check(name: str, folder: Path) -> Found:
    source = DATASETS.get(name)
    embedded_set = source is not None and source.kind == "embedded"
    if not embedded_set and not any(map(os.path.lexists, _places(name, source, folder))):
        return Found(name, "missing", _how(name, source, folder))
    try:
        dataset = load(name, folder)
    except GleakError as error:
        return Found(name, "damaged", str(error))
    except Exception as error:  # whatever is wrong with one set, the others are listed
        return Found(name, "damaged", f"{type(error).__name__}: {error}")
    counts = ", ".join(
        f"{len(split)} {label}"
        for label, split in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test))
        if len(split)
    )
    return Found(name, "valid", f"{dataset.source}: {counts} images, {dataset.num_classes} classes")


def _places(name: str, source: Source | None, folder: Path) -> list[Path]:
    places = [folder / f"{name}.npz"]
    if source and source.kind == "medmnist":
        places += [folder / f"{name}_{size}.npz" for size in (64, 128, 224)]
    if source and source.folder:
        places.append(folder / source.folder)
    if source is None:
        places.append(folder / name)
    return places


def _read(name: str, source: Source | None, place: Path, shown: dict[str, Any]) -> ImageDataset:
    options = {"source": str(place), "num_classes": source.num_classes if source else None, **shown}
    if place.suffix != ".npz" and source:
        return build(name, read_folder(place, source), **options)
    if place.suffix != ".npz":
        if shown["statistics"] == "original":
            raise ParameterError(
                f"{place}: images of many sizes have no statistics='original', only 'resized'."
            )
        return build(name, read_images(place, shown["size"]), **options)
    arrays = read_npz(place)
    if is_victims(arrays):
        return build_victims(name, arrays, **options)
    splits = [split for split in ("train", "val", "test") if f"{split}_images" in arrays]
    pairs = {split: (arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in splits}
    return build(name, pairs, **options)


def _how(name: str, source: Source | None, folder: Path) -> str:
    if source and source.kind in ("torchvision", "medmnist"):
        return f'get it with datasets.load("{name}", download=True), or put {name}.npz into {folder}'
    if source:
        return f"{source.how}, as {folder / name}.npz"
    return f"put {name}.npz into {folder}"


def _missing(name: str, source: Source | None, folder: Path, places: list[Path]) -> GleakError:
    looked = ", ".join(str(place) for place in places)
    if source is None:
        error = unknown("dataset", name, {*DATASETS, *_own(folder)})
        return UnknownNameError(
            f"{error} A set of your own would be {places[0]} (MedMNIST's layout) or {places[1]} (a "
            "folder with one folder of images per class)."
        )
    victims = folder / f"{name}_victims.npz"
    hint = (
        f' {victims.name} is there: load "{victims.stem}" to attack fresh weights.'
        if victims.exists()
        else ""
    )
    return DataError(
        f"{name} is not there: looked for {looked}. To have it, {_how(name, source, folder)}; another folder "
        f"is named by `root` or by the variable GLEAK_DATA.{hint}"
    )
