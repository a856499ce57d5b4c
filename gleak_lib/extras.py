"""Optional packages, imported where they are used."""

import importlib
from types import ModuleType

from gleak_lib.errors import MissingDependencyError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which of gleak's extras brings it.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependencyError(
            f'{package} is not installed: pip install "gleak[{extra}]" brings it ({error}).'
        ) from error
