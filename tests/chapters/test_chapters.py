"""The experiments that a chapter declares, and the sources that declare them."""

import pytest

from gleak_lib.chapters import experiments, parameters, sources
from gleak_lib.errors import GleakError, ParameterError, StoreError, UnknownNameError
from gleak_lib.experiments import TrainingExperiment

SOURCE = """# %% [markdown]
# # A title

# %% tags=["parameters"]
seeds: int = 2  # models
{parameter}
# %% tags=["hide-input", "experiment"]
{code}

# %%
raise SystemExit("no other cell is executed")
"""
CODE = """from gleak_lib.experiments import TrainingExperiment

experiments = {s: [TrainingExperiment("digits", seed=s)] for s in range(settings["seeds"])}
experiments["again"] = TrainingExperiment("digits")"""


def declared(tmp_path, code, **values):
    path = tmp_path / "toy.py"
    path.write_text(SOURCE.replace("{code}", code).replace("{parameter}", ""))
    return experiments("toy", values, path)


def test_tagged_cells_declare_the_experiments_each_once(tmp_path):
    assert declared(tmp_path, CODE) == [TrainingExperiment("digits", seed=seed) for seed in (0, 1)]
    assert len(declared(tmp_path, CODE, seeds=3)) == 3


def test_parameters_are_checked_first(tmp_path):
    with pytest.raises(ParameterError, match="toy has no parameter 'seed'. Did you mean 'seeds'"):
        declared(tmp_path, CODE, seed=3)


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (
            "cells = []",
            StoreError,
            "toy.py: its cells tagged `experiment` must set the variable `experiments`",
        ),
        ("experiments = [1]", ParameterError, "toy.py: experiments must hold experiments only, got 1"),
        ("experiments = unknown", StoreError, "toy.py: a cell tagged `experiment` failed: NameError"),
        (CODE.replace("digits", "../digits"), GleakError, "dataset"),
    ],
)
def test_what_is_no_declaration_is_refused(tmp_path, code, error, message):
    with pytest.raises(error, match=message):
        declared(tmp_path, code)


def test_a_chapter_without_such_cells_computes_nothing(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(SOURCE.replace(', "experiment"', "").replace("{code}", "1").replace("{parameter}", ""))
    assert experiments("toy", {}, path) == []
    assert sources.title(path) == "A title"


def test_unknown_chapter_lists_what_there_is():
    with pytest.raises(
        UnknownNameError, match=r"Unknown chapter '03_ignor'. Did you mean '03_ignore_attack'"
    ):
        sources.source_of("03_ignor")
    assert sources.title(sources.source_of("03_ignore_attack")) == "The Ignore attack"
    assert "seed" in parameters.of_chapter("03_ignore_attack")
