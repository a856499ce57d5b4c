"""Generators as safetensors files: numbers and a line of JSON, nothing that could run."""

import json
from pathlib import Path

from gleak_lib.datasets.archives import regular
from gleak_lib.errors import DataError
from gleak_lib.extras import require
from gleak_lib.generators.dcgan import DCGAN
from gleak_lib.typed import typed


@typed
def save(generator: DCGAN, path: Path | str) -> None:
    """Write a generator's weights and options.

    Raises:
        MissingDependencyError: If safetensors is not installed.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in generator.state_dict().items()}
    options = {"dcgan": json.dumps(generator.options)}
    Path(path).write_bytes(require("safetensors.torch", "book").save(state, options))


@typed
def load(path: Path | str) -> DCGAN:
    """Return the generator that `save` wrote, in evaluation mode, its weights frozen.

    Raises:
        DataError: If the file is not there, damaged, no safetensors file, or not of a DCGAN.
        MissingDependencyError: If safetensors is not installed.
    """
    safetensors = require("safetensors", "book")
    try:
        regular(Path(path))
        with safetensors.safe_open(path, framework="pt") as file:
            options = json.loads((file.metadata() or {})["dcgan"])
            made = DCGAN(**options)
            made.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except Exception as error:  # there is no end of what damage can raise
        raise DataError(
            f"{path} is no generator that generators.save wrote ({type(error).__name__}: {error}): write it "
            "anew, and never from a pickle."
        ) from error
    return made.eval().requires_grad_(False)
