"""Cells of the chapter "Other architectures" (001 §VI-D, Tables V and XI, Figs. 10 and 11a)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell

from gleak_book import paper_cells, paper_rows
from gleak_book.paper_cells import Scale
from gleak_book.paper_rows import Row

TITLES = {"cnn": "CNN", "resnet18": "ResNet-18", "vit": "ViT"}
EACH = ("victims", "steps", "plateau", "training_rounds", "tv")  # one value a model


class Setting(NamedTuple):
    """One row of Table XI, and how much of it is run."""

    row: Row
    scale: Scale

    @property
    def label(self) -> str:
        """Model and defense for people."""
        return f"{TITLES[self.row.model]}, {'CVB' if self.row.defense == 'cvb' else 'none'}"


def scales(*, models: Sequence[str], **chapter: Any) -> dict[str, Scale]:
    """Return by model how much of the protocol is run.

    Raises:
        UnknownNameError: a model that Table XI does not have.
        ParameterError: a list that has not one value a model, or weights after more rounds than are trained.
    """
    for model in models:
        if model not in TITLES:
            raise unknown("model of Table XI", model, TITLES)
    for name in EACH:
        if len(chapter[name]) != len(models):
            raise ParameterError(
                f"{name} needs one value a model: {list(models)}, got {list(chapter[name])}."
            )
    found = {}
    for place, model in enumerate(models):
        own = {name: chapter[name][place] for name in EACH}
        if chapter["rounds"] > own["training_rounds"]:
            raise ParameterError(
                f"rounds={chapter['rounds']} comes after the last of {own['training_rounds']} "
                f"training_rounds of {model}."
            )
        shared = {name: chapter[name] for name in ("rounds", "seeds", "seed", "victim_seed")}
        found[model] = Scale(**shared, **own)
    return found


def rows(dataset: str, model: str) -> list[Row]:
    """Return the two rows of Table XI of a model; on other images the paper has no figures."""
    lines = paper_rows.read("XI", dataset=dataset, model=model)
    return lines or [row.on(dataset) for row in paper_rows.read("XI", dataset="cifar10", model=model)]


def settings(*, datasets: Sequence[str], **chapter: Any) -> list[Setting]:
    """Return every row of the chapter, image set by image set, in the order of `models`."""
    by_model = scales(**chapter)
    return [
        Setting(row, scale)
        for dataset in datasets
        for model, scale in by_model.items()
        for row in rows(dataset, model)
    ]


def priors(
    *, datasets: Sequence[str], tv_tried: Sequence[float], tv_victims: Sequence[int], **chapter: Any
) -> dict[tuple[str, float], AttackCell]:
    """Return IG on the last image set's unprotected models by (model, weight of the prior).

    Raises:
        ParameterError: not one number of victims a model.
    """
    by_model = scales(**chapter)
    if len(tv_victims) != len(by_model):
        raise ParameterError(f"tv_victims needs one value a model: {list(by_model)}, got {list(tv_victims)}.")
    return {
        (model, tv): paper_cells.attack(
            rows(datasets[-1], model)[0], replace(scale, tv=float(tv), victims=victims)
        )
        for (model, scale), victims in zip(by_model.items(), tv_victims, strict=True)
        for tv in tv_tried
    }


def cells(**parameters: Any) -> list[Cell]:
    """Return every cell of the chapter: attacks, trainings of the models that are trained, tried priors."""
    found: list[Cell] = []
    for row, scale in settings(**parameters):
        found += paper_cells.cells([row], scale, untrained=() if scale.training_rounds else (row.dataset,))
    return list(dict.fromkeys([*found, *priors(**parameters).values()]))
