"""What a figure asks of a table before it draws it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError

if TYPE_CHECKING:
    from pandas import DataFrame


def check_rows(frame: "DataFrame", columns: Iterable[str]) -> None:
    """Raise where a figure cannot be drawn.

    Raises:
        ParameterError: If a column is missing, or there is no row.
    """
    missing = [name for name in columns if name not in frame]
    if missing or frame.empty:
        raise ParameterError(f"This figure needs rows; missing: {', '.join(missing) or 'rows'}.")
