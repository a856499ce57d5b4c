"""Where things lie: the checkout, stored results, trained weights. No path is ever taken from the
working directory of a notebook.

Variables of the environment go before everything else: `GLEAK_RESULTS` (stored results) and `GLEAK_CACHE`
(trained weights).
"""

import os
from pathlib import Path

from gleak_lib.datasets.search import user_cache
from gleak_lib.errors import StoreError

RESULTS, CACHE = "GLEAK_RESULTS", "GLEAK_CACHE"


def package_root() -> Path | None:
    """Return the checkout that this package lies in (an editable install), else None."""
    folder = Path(__file__).resolve().parents[2]
    return folder if _is_checkout(folder) else None


def root() -> Path:
    """Return the checkout of the repository: the package's own, else the one around the working directory.

    Raises:
        StoreError: neither is one.
    """
    own = package_root()
    here = Path.cwd()
    found = own or next((folder for folder in (here, *here.parents) if _is_checkout(folder)), None)
    if found is None:
        raise StoreError(
            f"This needs a checkout of gleak's repository (book/, params/, results/); neither the package "
            f"nor {here} lies in one. Go into a clone, or name a folder for results by {RESULTS}."
        )
    return found


def results_folder(profile: str) -> Path:
    """Return where results of a profile are stored.

    It is the variable `GLEAK_RESULTS`, else the checkout's `results/`; the quick profile, which nobody is
    to quote, goes to `_build/quick/results` instead, which git ignores.

    Raises:
        StoreError: there is neither.
    """
    given = os.environ.get(RESULTS)
    if given:
        return Path(given).expanduser()
    return root() / ("_build/quick/results" if profile == "quick" else "results")


def cache_folder() -> Path:
    """Return where trained weights are kept: `GLEAK_CACHE`, else the user's cache folder."""
    given = os.environ.get(CACHE)
    return Path(given).expanduser() if given else user_cache() / "weights"


def _is_checkout(folder: Path) -> bool:
    project = folder / "pyproject.toml"
    try:
        return (folder / "book").is_dir() and 'name = "gleak"' in project.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
