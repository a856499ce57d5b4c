"""The experiments of a chapter: declared in its visible cells, known to the command line without a kernel.

Cells of a chapter's percent source that are tagged `experiment` make the variable `experiments`, a list or a
dict of experiments, from the parameters and from `settings`, all of them checked. They import what they use.
Nothing is computed there and no data is read. So the notebook, `gleak run`, `gleak status` and the tests
speak of the same experiments, and the chapter is the only place that names them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gleak_lib.chapters import parameters, sources
from gleak_lib.errors import GleakError, ParameterError, StoreError
from gleak_lib.experiments.specs.base import Experiment, leaves


def experiments(chapter: str, values: Mapping[str, Any], source: Path | None = None) -> list[Experiment]:
    """Return the experiments that a chapter declares, each once; none where it only shows what others have.

    Args:
        chapter: for instance "03_ignore_attack".
        values: its parameters; others take their defaults.
        source: the percent source; None means the checkout's.

    Raises:
        ParameterError: If a parameter is unknown or out of range, or no experiment can have it.
        StoreError: If the tagged cells fail, or leave no `experiments`.
    """
    path = source or sources.source_of(chapter)
    settings = parameters.validate(parameters.of_chapter(chapter, path), values, chapter)
    found = sources.tagged(path, "experiment")
    if not found:
        return []
    namespace: dict[str, Any] = {**settings, "settings": settings}
    try:
        exec(compile("\n".join(found), str(path), "exec"), namespace)  # the repository's own chapter
    except GleakError:
        raise
    except Exception as error:
        raise StoreError(f"{path.name}: a cell tagged `experiment` failed: {error!r}.") from error
    if "experiments" not in namespace:
        raise StoreError(f"{path.name}: its cells tagged `experiment` must set the variable `experiments`.")
    found = list(dict.fromkeys(leaves(namespace["experiments"])))
    if wrong := [one for one in found if not isinstance(one, Experiment)]:
        raise ParameterError(f"{path.name}: experiments must hold experiments only, got {wrong[0]!r}.")
    return found
