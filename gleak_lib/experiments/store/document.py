"""A stored result as text: floats of six digits, a checksum, one line for each value or list of numbers."""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gleak_lib.errors import StoreError

DIGITS = 6  # significant ones
CHECKSUM = "checksum"  # of everything else in the file
INFINITE = {"inf": math.inf, "-inf": -math.inf}  # JSON has no word for them; NaN is null


def checksum(stored: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for a stored file's values, however they are written down.

    Args:
        stored: what the file holds; a checksum in it is not looked at.
    """
    values = {name: value for name, value in stored.items() if name != CHECKSUM}
    canonical = json.dumps(_each(values, _alike), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def intact(stored: dict[str, Any]) -> bool:
    """Return whether a file is as it was stored."""
    return stored.get(CHECKSUM) == checksum(stored)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested dicts and lists with every value in them changed."""
    if isinstance(value, dict):
        return {str(name): _each(part, change) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each(part, change) for part in value]
    return change(value)


def _alike(value: Any) -> Any:
    """Write numbers that are equal alike, 2.0 and 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def rounded(value: Any) -> Any:
    """Return plain JSON data with floats of six significant digits; NaN as None, infinity as text."""
    return _each(value, _rounded)


def _rounded(value: Any) -> Any:
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        value = value.item()
    if isinstance(value, float):
        if math.isfinite(value):
            return float(f"{value:.{DIGITS}g}")
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise StoreError(f"Figures must be plain numbers, texts, lists and dicts, got {type(value).__name__}.")


def plain(value: Any) -> Any:
    """Undo what `rounded` did to infinities."""
    return _each(value, lambda one: INFINITE.get(one, one) if isinstance(one, str) else one)


def text(stored: dict[str, Any]) -> bytes:
    """Return a stored file's content and checksum: sorted keys, one line a value or a list of numbers."""
    summed = stored | {CHECKSUM: checksum(stored)}
    found = json.dumps(_one_line_lists(summed), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return (_unquote(found) + "\n").encode()


def _one_line_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _one_line_lists(part) for name, part in value.items()}
    if isinstance(value, list):
        if value and all(v is None or isinstance(v, (int, float)) for v in value):
            return _MARK + json.dumps(value, separators=(",", ":")) + _MARK
        return [_one_line_lists(part) for part in value]
    return value


_MARK = "\x00"


def _unquote(text: str) -> str:
    mark = json.dumps(_MARK)[1:-1]
    return text.replace(f'"{mark}', "").replace(f'{mark}"', "")
