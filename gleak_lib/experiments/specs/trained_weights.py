"""Trained weights, kept outside the repository as safetensors files and trusted only after a check."""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gleak_lib import __version__
from gleak_lib.datasets.archives import regular
from gleak_lib.errors import StoreError
from gleak_lib.experiments import atomic, encoding
from gleak_lib.experiments.context import Context, same_data
from gleak_lib.experiments.specs.base import Experiment
from gleak_lib.extras import require

State = dict[str, Tensor]


def path_of(training: Experiment, context: Context) -> Path:
    """Return the file of the weights after all rounds of `training`."""
    return context.cache / f"{training.key}.safetensors"


def check_writable(context: Context) -> None:
    """Refuse a cache that cannot be written: every attack would train anew, and find nothing afterwards.

    Raises:
        StoreError: it is read-only, full or no folder.
    """
    atomic.check_writable(
        context.cache, "trained weights have to be kept there; name another by GLEAK_CACHE."
    )


def save(training: Experiment, state: State, context: Context) -> None:
    """Keep the weights after all rounds of `training`; a folder that cannot be written is only warned of."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    data = context.signature(training.dataset_name, training.pixel_statistics)
    metadata = {
        "cell": json.dumps(encoding.encode(training), sort_keys=True),
        "data": json.dumps(data, sort_keys=True),
        "sha256": _digest(tensors),
        "gleak": __version__,
        "torch": torch.__version__,
    }
    content = require("safetensors.torch", "book").save(tensors, metadata)
    try:
        atomic.write_atomically(path_of(training, context), content)
    except StoreError as error:
        warnings.warn(f"The trained weights cannot be kept: {error}", stacklevel=2)


def load(training: Experiment, context: Context, like: nn.Module) -> State | None:
    """Return the weights after all rounds of `training`, or None where they have to be trained anew.

    A file that is damaged, that belongs to another training or to other images of the same name, or that
    does not fit the model is warned of.

    Raises:
        StoreError: a folder stands in its place, so that weights that are trained now would be lost.
    """
    path = path_of(training, context)
    if path.is_dir():
        raise StoreError(f"{path} is a folder: remove it, the weights of a training are to be kept there.")
    if not path.exists():
        return None
    try:
        state, metadata = _read(path)
        _check(state, metadata, training, context, like)
    except StoreError as error:
        warnings.warn(f"{path} is not used, the weights are trained again: {error}", stacklevel=2)
        return None
    return state


def _read(path: Path) -> tuple[State, dict[str, str]]:
    safetensors = require("safetensors", "book")
    try:
        regular(path)
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # there is no end of what damage can raise
        raise StoreError(f"the file is damaged ({error}).") from error


def _check(
    state: State, metadata: dict[str, str], training: Experiment, context: Context, like: nn.Module
) -> None:
    if metadata.get("sha256") != _digest(state):
        raise StoreError("the file is damaged (its checksum differs).")
    try:
        experiment, data = encoding.decode(json.loads(metadata["cell"])), json.loads(metadata["data"])
        alike = same_data(data, context.signature(training.dataset_name, training.pixel_statistics))
    except Exception as error:
        raise StoreError(f"the file does not say what it holds ({type(error).__name__}: {error}).") from error
    if experiment != training:
        raise StoreError("the file holds the weights of another training.")
    if not alike:
        raise StoreError(f"they were trained on other images named {training.dataset_name}.")
    expected = like.state_dict()
    if _shapes(expected) != _shapes(state):
        raise StoreError("its weights do not fit the model of this version.")


def _shapes(state: State) -> dict[str, Any]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _digest(state: State) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype} {tuple(state[name].shape)}\n".encode())
        digest.update(state[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
