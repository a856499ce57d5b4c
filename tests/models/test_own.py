"""Models of the user's, named by module and function."""

import sys

import pytest
import torch
from torch import nn

from gleak_lib import models
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import Store, TrainingExperiment, from_json, run
from gleak_lib.experiments.encoding import encode

SOURCE = """
import pathlib
from torch import nn
pathlib.Path(__file__).with_name("imported").touch()

def small(input_shape, num_classes, activation="relu"):
    kind = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[activation]
    flat = input_shape[0] * input_shape[1] * input_shape[2]
    return nn.Sequential(nn.Flatten(), nn.Linear(flat, 8), kind(), nn.Linear(8, num_classes))

def own_init(init):
    return nn.Linear(2, len(init))

def text():
    return "no model"

def wide(width):
    return nn.Linear(2, width)

number = 3
instance = nn.Linear(2, 2)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "hospital.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("def f(:")
    (tmp_path / "needy.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("hospital", None)


def test_gives_the_functions_model_with_weights_from_the_seed(module):
    def build(seed, init="default"):
        return models.build_own("hospital:small", input_shape=(1, 4, 4), num_classes=3, seed=seed, init=init)

    torch.manual_seed(5)
    expected = nn.Linear(16, 8).weight
    assert torch.equal(build(5)[1].weight, expected) and not torch.equal(build(6)[1].weight, expected)
    drawn = build(5, "kaiming_uniform")
    assert not drawn[1].bias.any() and drawn[1].weight.abs().max() <= (6 / 16) ** 0.5
    assert models.build_own("hospital:own_init", init="dlg").out_features == 3


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("hospital", {}, "is named module:function, as in hospital.nets:small, got 'hospital'"),
        ("hospital:small()", {}, "is named module:function"),
        ("no_such_module:f", {}, "no_such_module cannot be imported .*put its folder into PYTHONPATH"),
        ("hospital.nets:f", {}, "hospital.nets cannot be imported .*name it as `import` does"),
        ("broken:f", {}, "broken cannot be imported .*mend the module"),
        ("needy:f", {}, "needy cannot be imported .*no_such_module.*install what it imports"),
        ("hospital:wide", {}, "hospital:wide: missing a required argument: 'width': give it a default"),
        ("hospital:instance", {}, "hospital:instance is a model: write a function that makes one"),
        ("hospital:large", {}, "The module hospital has no function 'large'"),
        ("hospital:number", {}, "The module hospital has no function 'number'"),
        (
            "hospital:small",
            {"activatoin": "relu"},
            "has no option 'activatoin'. Did you mean 'activation'",
        ),
        ("hospital:text", {}, "hospital:text must return an nn.Module, got 'no model'"),
    ],
)
def test_says_what_is_wrong(module, place, options, message):
    with pytest.raises(ParameterError, match=message):
        models.build_own(place, **options)


def test_experiments_run_on_it_and_reading_a_result_imports_nothing(module, tmp_path):
    cell = TrainingExperiment("digits", "hospital:small", {"activation": "sigmoid"}).at(0)
    assert from_json(encode(cell)) == cell
    assert not (module / "imported").exists(), "a stored cell is data"
    (result,) = run([cell], Store(tmp_path / "results"), progress=False)
    assert result.figures["parameters"] == 3072 * 8 + 8 + 8 * 10 + 10


def test_bottlenecks_are_the_functions_own_business(module, tmp_path):
    from gleak_lib.bottlenecks import CVB

    cell = TrainingExperiment("digits", "hospital:small", bottlenecks=(CVB(1),)).at(0)
    with pytest.raises(ParameterError, match="bottlenecks are not put into it here"):
        run([cell], Store(tmp_path / "results"), progress=False)
