"""Memory that is still free, asked before something large is taken and not after."""

import os
from pathlib import Path

from gleak_lib.errors import GleakError, ParameterError

MEMINFO = Path("/proc/meminfo")
UNKNOWN = 8 * 2**30  # bytes assumed where the system does not say


def available() -> int:
    """Return the bytes that can still be taken: what Linux calls available, elsewhere all that there is."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return UNKNOWN


def require(needed: int, what: str, error: type[GleakError] = ParameterError) -> None:
    """Refuse what would need more memory than there is.

    Args:
        needed: bytes.
        what: the subject of the message, with the value that is too large.
        error: the class to raise.

    Raises:
        ParameterError: it would not fit (or `error`, where one is given).
    """
    free = available()
    if needed > free:
        raise error(f"{what} would need {gigabytes(needed)} of memory, and {gigabytes(free)} are free.")


def gigabytes(count: int) -> str:
    """Return bytes for people, for instance `37.6 GB`."""
    return f"{count / 1e9:,.1f} GB" if count < 10**18 else "more than a billion GB"
