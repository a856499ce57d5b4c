"""What one seed promises: the same figures on one machine with as many threads, else the same means."""

import pytest
import torch

from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.experiments import AttackExperiment, Context, TrainingExperiment
from gleak_lib.experiments.specs.finite import require_finite

ATTACK = ATTACKS["ig"].replace(max_steps=30)
CELL = AttackExperiment(
    TrainingExperiment("digits", bottlenecks=PRECODE(1, k=4)), attack=ATTACK, victims=6, seed=3
)


@pytest.fixture
def figures(tmp_path):
    """`figures(threads)` computes the experiment with so many threads."""
    before = torch.get_num_threads()

    def compute(threads):
        torch.set_num_threads(threads)
        return CELL.run(Context(cache=tmp_path)).figures

    yield compute
    torch.set_num_threads(before)


def test_one_seed_gives_the_same_figures_with_as_many_threads(figures):
    first = figures(1)
    require_finite(CELL, first)
    assert figures(1) == first


def test_with_other_threads_the_means_are_alike(figures):
    one, two = (figures(threads)["summary"]["none"] for threads in (1, 2))
    assert one["ssim"]["mean"] == pytest.approx(two["ssim"]["mean"], abs=0.003)
    assert one["mse"]["mean"] == pytest.approx(two["mse"]["mean"], rel=0.01)
