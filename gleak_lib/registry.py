"""Registries: literal dicts by name that say what there is when a name is not there."""

from collections.abc import Mapping
from typing import TypeVar

from gleak_lib.errors import unknown

T = TypeVar("T")


class Registry(dict[str, T]):
    """A dict whose missing names raise an error that lists the others.

    Args:
        kind: what the entries are called in that error, for instance "attack".
        entries: the entries by name.
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        super().__init__(entries)
        self.kind = kind

    def __missing__(self, name: str) -> T:
        """Raise `UnknownNameError` with the nearest name and all there are."""
        raise unknown(self.kind, name, self)
