"""Profiles: `params/<chapter>/{quick,cpu,paper}.yaml`, one file of parameters for each scale."""

from pathlib import Path
from typing import Any

from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments import places
from gleak_lib.extras import require

PROFILES = ("quick", "cpu", "paper")


def profiles_of(chapter: str, folder: Path | None = None) -> list[str]:
    """Return the profiles for which a chapter has a file."""
    there = (folder or places.root() / "params") / chapter
    return [name for name in PROFILES if (there / f"{name}.yaml").is_file()]


def load(chapter: str, profile: str, folder: Path | None = None) -> dict[str, Any]:
    """Return a chapter's parameters at a profile.

    Args:
        chapter: for instance "03_ignore_attack".
        profile: "quick", "cpu" or "paper".
        folder: the folder `params`; None means the checkout's.

    Raises:
        UnknownNameError: no such profile.
        ParameterError: the file is missing, no mapping of names to values, or names another profile.
        MissingDependencyError: pyyaml is not installed.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    path = (folder or places.root() / "params") / chapter / f"{profile}.yaml"
    if not path.is_file():
        there = ", ".join(profiles_of(chapter, folder)) or "none"
        raise ParameterError(f"{chapter} has no profile {profile!r} ({path}). It has: {there}.")
    yaml = require("yaml", "book")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ParameterError(f"{path} must hold lines of the form 'name: value'.")
    if values.get("profile") != profile:
        raise ParameterError(
            f"{path} must say 'profile: {profile}', so that plain papermill knows it as well; "
            f"it says {values.get('profile')!r}."
        )
    return values
