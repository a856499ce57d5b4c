"""What an experiment needs of the machine it runs on, and what is written down about that machine."""

import functools
import hashlib
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy
import torch

from gleak_lib import __version__, datasets
from gleak_lib.datasets import ImageDataset, Statistics
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.paths import package_root

SAME = 1e-4  # pixel statistics closer than this are those of the same images, resized by another version
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Context:
    """Where and how experiments run; it travels to other processes and decides no figure but by rounding.

    Attributes:
        cache: folder of trained weights.
        device: "cpu" or "cuda"; "auto" on the way to another machine, which then chooses.
        data: folder of the image sets; None means the variable `GLEAK_DATA`, else the user's cache folder.
        progress: whether attacks and trainings show their own bars.
        compile: whether attacks fuse their steps with `torch.compile`.
    """

    cache: Path
    device: str = "cpu"
    data: Path | None = None
    progress: bool = False
    compile: bool = False

    def dataset(self, name: str, statistics: Statistics = "resized") -> ImageDataset:
        """Return an image set with these pixel statistics (see `datasets.load`), read once a process."""
        return _load(name, datasets.data_root(self.data), statistics)

    def signature(self, name: str | None, statistics: Statistics = "resized") -> dict[str, Any] | None:
        """Return the signature of an image set, see `signature`; None of none."""
        return None if name is None else _signature(name, datasets.data_root(self.data), statistics)


def choose_device(name: str) -> str:
    """Return "cpu" or "cuda" for "auto", "cpu" or "cuda".

    Raises:
        UnknownNameError: another name.
        ParameterError: there is no CUDA device.
    """
    if name not in DEVICES:
        raise unknown("device", name, DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise ParameterError('torch finds no CUDA device here: use device="cpu" or "auto".')
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def version() -> tuple[str, str | None]:
    """Return the version of gleak and the checkout's commit, None outside a checkout."""
    return __version__, _commit()


def device_name(device: str) -> str:
    """Return what "cpu" or "cuda" is called here, as it is written down with each result."""
    return torch.cuda.get_device_name() if device == "cuda" else _processor()


def signature(dataset: ImageDataset) -> dict[str, Any]:
    """Return what tells one image set from another of the same name: counts, labels, pixel statistics."""
    splits = (dataset.train, dataset.val, dataset.test)
    labels = hashlib.sha256()
    for split in splits:
        labels.update(split.labels.cpu().numpy().astype("<i8").tobytes())
    return {
        "name": dataset.name,
        "images": [len(split) for split in splits],
        "labels": labels.hexdigest()[:16],
        "mean": [round(value, 6) for value in dataset.mean],
        "std": [round(value, 6) for value in dataset.std],
    }


def same_data(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Return whether two signatures are of the same images, but for another version's rounding."""
    if one is None or other is None:
        return one is other
    if any(one.get(name) != other.get(name) for name in ("images", "labels")):
        return False
    pairs = [(one.get(name, []), other.get(name, [])) for name in ("mean", "std")]
    return all(
        len(a) == len(b) and all(abs(x - y) < SAME for x, y in zip(a, b, strict=True)) for a, b in pairs
    )


def provenance(context: Context, seconds: float, data: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return where figures come from: versions, device, images, seconds and date."""
    return {
        "gleak": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "device": device_name(context.device),
        "threads": torch.get_num_threads(),
        "compile": context.compile,
        "data": None if data is None else dict(data),
        "seconds": seconds,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


@functools.lru_cache(maxsize=2)  # the largest set takes 180 MB, at size 64 four times as much
def _load(name: str, root: Path, statistics: Statistics) -> ImageDataset:
    return datasets.load(name, root, statistics=statistics)


@functools.lru_cache(maxsize=32)
def _signature(name: str, root: Path, statistics: Statistics) -> dict[str, Any]:
    return signature(_load(name, root, statistics))


@functools.cache
def _commit() -> str | None:
    """The checkout's commit, with `-dirty` where files differ from it; None outside a checkout."""
    root = package_root()
    if root is None or not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


@functools.cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()
