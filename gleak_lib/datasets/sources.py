"""The image sets that the package knows by name, and the three places they come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from gleak_lib.datasets.archives import read_idx, regular
from gleak_lib.datasets.build import Arrays
from gleak_lib.errors import DataError, ParameterError
from gleak_lib.extras import require
from gleak_lib.registry import Registry


@dataclass(frozen=True)
class Source:
    """How an image set is had.

    Attributes:
        kind: "embedded" needs no file; "torchvision" and "medmnist" can be downloaded through that package;
            "victims" is a handful of images for attacks on fresh weights.
        num_classes: K.
        title: one line for people.
        how: how to get it.
        package_class: the class of torchvision or medmnist that downloads it.
        folder: the folder that torchvision writes.
    """

    kind: Literal["embedded", "torchvision", "medmnist", "victims"]
    num_classes: int
    title: str
    how: str = "download"
    package_class: str = ""
    folder: str = ""


_VICTIMS = "save the images (float in [0, 1], V x C x 32 x 32), labels, mean and std with numpy.savez"

DATASETS: dict[str, Source] = Registry(
    "dataset",
    {
        "digits": Source(
            "embedded", 10, "scikit-learn's handwritten digits, 8 x 8 gray", "it is always there"
        ),
        "mnist": Source(
            "torchvision", 10, "handwritten digits, 28 x 28 gray", package_class="MNIST", folder="MNIST/raw"
        ),
        "fashionmnist": Source(
            "torchvision",
            10,
            "clothes, 28 x 28 gray",
            package_class="FashionMNIST",
            folder="FashionMNIST/raw",
        ),
        "cifar10": Source(
            "torchvision",
            10,
            "objects, 32 x 32 color",
            package_class="CIFAR10",
            folder="cifar-10-batches-py",
        ),
        "cifar100": Source(
            "torchvision", 100, "objects, 32 x 32 color", package_class="CIFAR100", folder="cifar-100-python"
        ),
        "pneumoniamnist": Source("medmnist", 2, "chest X-rays, 28 x 28 gray", package_class="PneumoniaMNIST"),
        "retinamnist": Source(
            "medmnist", 5, "fundus photographs, 28 x 28 color", package_class="RetinaMNIST"
        ),
        "dermamnist": Source("medmnist", 7, "skin lesions, 28 x 28 color", package_class="DermaMNIST"),
        "bloodmnist": Source("medmnist", 8, "blood cells, 28 x 28 color", package_class="BloodMNIST"),
        "dermamnist_victims": Source("victims", 7, "dermamnist images of the CVB paper", _VICTIMS),
        "bloodmnist_victims": Source("victims", 8, "bloodmnist images of the CVB paper", _VICTIMS),
    },
)


def embedded() -> Arrays:
    """Return scikit-learn's digits, of which every fifth image of a class is a test image.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    digits = require("sklearn.datasets", "data").load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        test[np.flatnonzero(labels == label)[::5]] = True
    return {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}


def read_folder(folder: Path, source: Source) -> Arrays:
    """Return what torchvision once wrote into `folder`.

    MNIST's files are read here. CIFAR's are pickles: torchvision reads them, and only where their md5 is
    that of the official files, so that a stranger's pickle is never opened.

    Raises:
        DataError: a file is missing, damaged or not the official one.
    """
    return _read_cifar(folder, source) if "CIFAR" in source.package_class else _read_mnist(folder)


def fetch(name: str, source: Source, root: Path) -> None:
    """Fetch `name` into `root` through torchvision or medmnist.

    Raises:
        ParameterError: the set cannot be downloaded.
        DataError: the download failed.
        MissingDependencyError: medmnist is not installed.
    """
    if source.kind not in ("torchvision", "medmnist"):
        raise ParameterError(f"{name} cannot be downloaded: {source.how}.")
    old = root / source.package_class / "processed"
    if old.exists():  # torchvision would read the checkpoints of its early versions from there
        raise DataError(f"{old} was written by an early torchvision: remove it, then download again.")
    module = require("torchvision.datasets" if source.kind == "torchvision" else "medmnist", "data")
    which = {"train": True} if source.kind == "torchvision" else {"split": "train"}
    try:
        root.mkdir(parents=True, exist_ok=True)
        getattr(module, source.package_class)(root=str(root), download=True, **which)
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"Downloading {name} into {root} failed: {reason} Fetch it on another machine and put {name}.npz "
            "(MedMNIST's layout) or the folder that torchvision writes there."
        ) from error


def _read_mnist(folder: Path) -> Arrays:
    arrays = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        pair = []
        for suffix in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            plain, packed = folder / f"{prefix}-{suffix}", folder / f"{prefix}-{suffix}.gz"
            if not plain.exists() and not packed.exists():
                raise DataError(f"{folder} lacks {plain.name}: fetch the set again.")
            pair.append(read_idx(plain if plain.exists() else packed))
        arrays[split] = tuple(pair)
    return arrays


def _read_cifar(folder: Path, source: Source) -> Arrays:
    kind = getattr(require("torchvision.datasets", "data"), source.package_class)
    intact = require("torchvision.datasets.utils", "data").check_integrity
    official = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    for name, md5 in official:
        if (folder / name).exists():
            regular(folder / name)
        if not intact(folder / name, md5):
            state = "not the official file (its md5 differs)" if (folder / name).exists() else "missing"
            raise DataError(
                f"{folder / name} is {state}: the folder holds pickles, which could run code, so that only "
                "official files are read. Fetch the set again."
            )
    parts = {split: kind(root=str(folder.parent), train=split == "train") for split in ("train", "test")}
    return {split: (part.data, np.asarray(part.targets)) for split, part in parts.items()}
