"""The chapters that have experiments, and the function that says which cells each needs.

To add one, write `plans/<name>.py` with a function

    def cells(**parameters) -> list[Cell]

that takes all parameters of the chapter's first cell by name (let `**others` take those that decide no
cell, such as `profile` or `scaling`), and add a line to `CHAPTERS`. The notebook, `gleak status` and the
tests then speak of the same cells. Cells must be cheap to make: no data is read and nothing is computed.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.base import Cell


@dataclass(frozen=True)
class Chapter:
    """A chapter's title and plan.

    Attributes:
        title: one line for people.
        plan: the function `cells`, or the name of the module that has it (imported when it is asked for).
    """

    title: str
    plan: str | Callable[..., list[Cell]]

    def cells(self, **parameters: Any) -> list[Cell]:
        """Return the cells that the chapter needs with these parameters.

        Raises:
            ParameterError: a value that no cell can have.
        """
        plan = importlib.import_module(self.plan).cells if isinstance(self.plan, str) else self.plan
        try:
            inspect.signature(plan).bind(**parameters)
        except TypeError as error:
            raise ParameterError(
                f"The plan of {self.title!r} does not take these parameters: {error}."
            ) from error
        return list(plan(**parameters))


CHAPTERS: dict[str, Chapter] = {
    "01_how_gradients_leak": Chapter("How gradients leak", "gleak_lib.experiments.plans.leak"),
    "02_gradient_analysis": Chapter("Gradient analysis", "gleak_lib.experiments.plans.analysis"),
    "03_ignore_attack": Chapter("The Ignore attack", "gleak_lib.experiments.plans.ignore"),
    "04_cvb_hyperparameters": Chapter("CVB hyper-parameters", "gleak_lib.experiments.plans.cvb"),
    "05_attacks_and_defences": Chapter(
        "Attacks and defenses side by side", "gleak_lib.experiments.plans.defences"
    ),
    "06_other_architectures": Chapter("Other architectures", "gleak_lib.experiments.plans.architectures"),
    "07_medical_images": Chapter("Medical images", "gleak_lib.experiments.plans.medical"),
    "08_breaking_the_bottleneck": Chapter("Breaking the bottleneck", "gleak_lib.experiments.plans.breaking"),
    "09_what_stands": Chapter("What stands", "gleak_lib.experiments.plans.standing"),
    "10_closed_form_inversion": Chapter(
        "Closed-form inversion and biases", "gleak_lib.experiments.plans.closed_form"
    ),
    "11_ours_beside_theirs": Chapter("Ours beside theirs", "gleak_lib.experiments.plans.beside"),
    "12_benchmarks": Chapter("Speed", "gleak_lib.experiments.plans.speed"),
}


def chapter(name: str) -> Chapter:
    """Return a chapter of `CHAPTERS`.

    Raises:
        UnknownNameError: no such chapter.
    """
    if name not in CHAPTERS:
        raise unknown("chapter", name, CHAPTERS)
    return CHAPTERS[name]
