"""Profiles: `params/<chapter>/{quick,cpu,paper}.yaml`, one file of parameters for each scale."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from gleak_lib.errors import GleakError, ParameterError, unknown
from gleak_lib.experiments import paths
from gleak_lib.experiments.store import Store
from gleak_lib.extras import require

PROFILES = ("quick", "cpu", "paper")


def profiles_of(chapter: str, folder: Path | None = None) -> list[str]:
    """Return the profiles for which a chapter has a file."""
    there = (folder or paths.root() / "params") / chapter
    return [name for name in PROFILES if (there / f"{name}.yaml").is_file()]


def published(chapter: str) -> str | None:
    """Return the profile at which a chapter's stored notebook was executed; None where there is none."""
    try:
        path = paths.root() / "book" / "chapters" / f"{chapter}.ipynb"
        stored = json.loads(path.read_text(encoding="utf-8"))
        return str(stored["metadata"]["papermill"]["parameters"]["profile"])
    except (GleakError, OSError, ValueError, KeyError, TypeError):
        return None


def notice(chapter: str, values: Mapping[str, Any], given: Collection[str] = ()) -> str | None:
    """Return what to say of a run that has not the parameters of its profile, or a profile that nobody chose.

    Papermill replaces all parameters of a stored notebook by those that it is given: without a file of
    parameters the defaults run.

    Args:
        chapter: its name.
        values: the parameters that run.
        given: names of those that somebody passed.
    """
    here, there = values.get("profile"), published(chapter)
    if "profile" in given:
        return _named_only(chapter, str(here), given)
    if here is None or there in (None, here):
        return None
    images = f" ({values['dataset']})" if "dataset" in values else ""
    return (
        f"**This run uses the profile `{here}`{images}, the published chapter was run with `{there}`.** "
        f"To repeat that one, pass its parameters: `-f params/{chapter}/{there}.yaml`; any `-p` goes behind."
    )


def _named_only(chapter: str, profile: str, given: Collection[str]) -> str | None:
    try:
        lacking = [name for name in load(chapter, profile) if name not in given]
    except GleakError:  # no such file: then there is nothing to pass
        return None
    if not lacking:
        return None
    some = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
    return (
        f"**This run is called `{profile}`, but {len(lacking)} parameters of that profile were not passed "
        f"and have their defaults ({some}).** Pass them: `-f params/{chapter}/{profile}.yaml`; any `-p` goes "
        "behind."
    )


def load(chapter: str, profile: str, folder: Path | None = None) -> dict[str, Any]:
    """Return a chapter's parameters at a profile.

    Args:
        chapter: for instance "03_ignore_attack".
        profile: "quick", "cpu" or "paper".
        folder: the folder `params`; None means the checkout's.

    Raises:
        UnknownNameError: no such profile.
        ParameterError: the file is missing, no mapping of names to values, has a name twice, or names another
            profile.
        MissingDependencyError: pyyaml is not installed.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    path = (folder or paths.root() / "params") / chapter / f"{profile}.yaml"
    if not path.is_file():
        there = ", ".join(profiles_of(chapter, folder)) or "none"
        raise ParameterError(f"{chapter} has no profile {profile!r} ({path}). It has: {there}.")
    yaml = require("yaml", "book")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _strict(yaml))
    except Exception as error:  # YAML that is broken, nested too deep, or has a number of thousands of digits
        raise ParameterError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ParameterError(f"{path} must hold lines of the form 'name: value'.")
    if values.get("profile") != profile:
        raise ParameterError(
            f"{path} must say 'profile: {profile}', so that plain papermill knows it as well; "
            f"it says {values.get('profile')!r}."
        )
    return values


def _strict(yaml: Any) -> Any:
    """Return the loader that makes plain values only, and refuses a key that stands twice."""

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                if isinstance(key.value, str) and key.value in seen:
                    raise yaml.constructor.ConstructorError(problem=f"{key.value!r} stands there twice")
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    return Loader


def open_store(profile: str = "cpu") -> Store:
    """Return the store of a profile: `GLEAK_RESULTS`, else the checkout's `results/`.

    Results of the quick profile go to `_build/quick/results` instead: nobody is to quote them.

    Raises:
        UnknownNameError: no such profile.
        StoreError: there is no such folder, since this is no checkout.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    return Store(paths.results_folder(profile))
