"""Spread of gradients over the noise: 1 where no noise comes in, less behind the sampling."""

import pytest

from gleak_lib.bottlenecks import PRECODE
from gleak_lib.experiments.cells import TrainingCell, from_json
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.serial import encode
from gleak_lib.experiments.spread import SpreadCell


def similarity(tmp_path, *bottlenecks):
    cell = SpreadCell(TrainingCell("digits", bottlenecks=bottlenecks), victims=4, draws=3)
    assert from_json(encode(cell)) == cell
    return cell.run(Context(tmp_path)).figures["similarity"]


def test_without_a_bottleneck_the_gradient_is_the_same(tmp_path):
    found = similarity(tmp_path)
    assert set(found) == {"stage1", "stage2", "stage3", "head"}
    for values in found.values():
        assert values == pytest.approx([1.0] * 4, abs=1e-5)


def test_the_noise_spoils_the_decoder_more_than_what_precedes_it(tmp_path):
    found = similarity(tmp_path, PRECODE(3, 8))
    means = {group: sum(values) / len(values) for group, values in found.items()}
    assert means["bottleneck3.decoder"] < 0.6
    assert means["stage1"] < 0.999
    assert means["stage1"] > means["bottleneck3.decoder"]
