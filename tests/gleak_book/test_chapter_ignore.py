"""The chapter on Ignore: the experiments that it declares, and the paper's Table I beside them."""

import numpy as np
import pytest
from gleak_book import paper, table_i

from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.chapters import experiments
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackExperiment, NoiseSensitivityExperiment, TrainingExperiment

CHAPTER = {"profile": "cpu", "dataset": "cifar10", "victims": 4, "steps": 10, "plateau": 400}
CHAPTER |= {"training_rounds": 5, "rounds": [0, 5], "seeds": 2, "repeated": 2}


def declared(**changes):
    return experiments("03_ignore_attack", CHAPTER | changes)


def attacks(rounds=0, **changes):
    return [
        cell for cell in declared(**changes) if isinstance(cell, AttackExperiment) and cell.rounds == rounds
    ]


def test_every_row_of_the_papers_table_i_is_there():
    found = {f"{table_i.network(cell)}: {table_i.matched(cell)}": table_i.asr(cell) for cell in attacks()}
    assert found["no bottleneck: G1+G2+G3+G4"] == 96.88
    assert found["P=3: G1+G2+G3+GE"] == 85.94
    assert found["P=2: G1+G2+GE"] == 7.81
    zero = [label for label, asr in found.items() if asr == 0]
    assert len(zero) == 3 + 4  # P=3: IG and two masks; P=2: IG and three masks, one line in the CSV
    assert np.isfinite(list(found.values())).sum() == len(paper.table("cvb_table_i")) + 2


def test_masks_leave_out_what_they_say():
    for cell in attacks():
        names = table_i.matched(cell).split("+")
        assert cell.attack.schedule.max_steps == 10
        if cell.attack.match.exclude:
            assert (
                len(cell.attack.match.exclude) == 1
                and table_i.symbol(cell.attack.match.exclude[0]) not in names
            )
        else:
            assert cell.attack.name == ("ignore" if "GE" in names and "GD" not in names else "ig")


def test_experiments_are_trainings_noise_and_attacks_without_repetition():
    cells = declared()
    kinds = [
        sum(isinstance(c, kind) for c in cells)
        for kind in (TrainingExperiment, NoiseSensitivityExperiment, AttackExperiment)
    ]
    assert kinds == [4 * 2, 3 * 2, 2 * (1 + 4 + 5 + 2) + (1 + 2 * 3)]  # the last: the second seed, trained
    assert {c.training.bottlenecks for c in cells if isinstance(c, AttackExperiment)} == {
        (), (PRECODE(3, 32),), (PRECODE(2, 16),), (PRECODE(1, 8),)
    }  # fmt: skip
    others = [c for c in cells if isinstance(c, AttackExperiment) and c.seed]
    assert all(c.rounds == 5 and c.training.seed == c.seed and not c.attack.match.exclude for c in others)


def test_the_chapter_runs_on_a_cvb_too():
    cells = attacks(bottleneck="cvb", positions=[1], sizes=[3], partial=[1], beta=0.1)
    assert {c.training.bottlenecks for c in cells} == {(), (CVB(1, 3),)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bottleneck": "precod"}, "bottleneck must be one of precode, cvb"),
        ({"sizes": [8]}, r"sizes needs one value per entry of positions \[3, 2, 1\], got \[8\]"),
        ({"repeated": 3}, r"repeated must be at most seeds \(2\), got 3"),
        ({"rounds": [0, 9]}, r"rounds must be at most training_rounds \(5\), got \[0, 9\]"),
        ({"positions": [4, 2, 1], "partial": [2]}, "position 4, but this model has positions 1 to 3"),
    ],
)
def test_what_the_chapter_refuses(changes, message):
    with pytest.raises(ParameterError, match=message):
        declared(**changes)
