"""Bytes of a shared gradient."""

import pytest

from gleak_lib.defenses import Compression
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import Context, TrainingExperiment
from gleak_lib.experiments.specs.communication_cost import CommunicationCostExperiment


@pytest.mark.parametrize(("defense", "share"), [(None, 1.0), (Compression(0.9), 0.2)])
def test_bytes_of_a_shared_gradient(tmp_path, defense, share):
    training = TrainingExperiment("digits")
    cell = CommunicationCostExperiment(training, victims=1, batch_size=8, defense=defense)
    figures = cell.run(Context(tmp_path)).figures
    assert figures["dense"] == 4 * figures["parameters"] == 4 * 65_962
    assert figures["bytes"] / figures["dense"] == pytest.approx(share, abs=0.001)  # 64 bits for 32
    assert cell.training == training.at(0)
    assert "bytes of a gradient of digits, cnn" in cell.describe()


@pytest.mark.parametrize("changes", [{"victims": 0}, {"batch_size": 0}, {"rounds": -1}, {"seed": 1.5}])
def test_a_cost_cell_refuses(changes):
    with pytest.raises(ParameterError, match=next(iter(changes))):
        CommunicationCostExperiment(TrainingExperiment("digits"), **changes)
