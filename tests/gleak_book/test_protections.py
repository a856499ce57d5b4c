"""Protections in one line of text, and campaigns: one attack on several models."""

import pytest
from gleak_book.campaign import Campaign
from gleak_book.protections import Protection, differences, parse, short

from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import TrainingCell
from gleak_lib.experiments.specs.noise_sensitivity import SpreadCell
from gleak_lib.federated import Protocol

CHOSEN = CVB(1, kernel_size=5, scale=0.5, beta=0.1, kl="paper-code")


@pytest.mark.parametrize(
    ("text", "bottlenecks", "label"),
    [
        ("none", (), "none"),
        ("precode 3 32", (PRECODE(3, k=32, beta=0.01, kl="exact"),), "PRECODE P=3, K=32"),
        ("precode 1 8 beta=1e-3", (PRECODE(1, k=8, beta=1e-3),), "PRECODE P=1, K=8, β=1e-3"),
        ("precode 1+2 8", (PRECODE(1, k=8), PRECODE(2, k=8)), "PRECODE P=1+2, K=8"),
        ("precode 1 8 paper-code", (PRECODE(1, k=8, kl="paper-code"),), "PRECODE P=1, K=8, paper-code"),
        ("cvb 1 5 1/2 1e-1", (CHOSEN,), "CVB P=1, k=5, s=1/2, β=1e-1"),
        ("cvb 2 1 32 5e-5", (CVB(2, kernel_size=1, scale=32.0, beta=5e-5),), "CVB P=2, k=1, s=32, β=5e-5"),
        (
            "cvb 1+3 5 1/2 1e-1 exact floor=2",
            tuple(CVB(p, kernel_size=5, scale=0.5, kl="exact", sigma_floor=2.0) for p in (1, 3)),
            "CVB P=1+3, k=5, s=1/2, β=1e-1, exact KL, σ ≥ 2",
        ),
    ],
)
def test_bottlenecks(text, bottlenecks, label):
    found = parse(text)
    assert found == Protection(text, bottlenecks)
    assert (found.label, found.defense, found.batch) == (label, (), 1)


@pytest.mark.parametrize(
    ("text", "defense", "label"),
    [
        ("dp noise_multiplier=1e-3", (("dp", (("noise_multiplier", 1e-3),)),), "DP σ=1e-3"),
        (
            "dp noise_multiplier=1 max_grad_norm=20",
            (("dp", (("max_grad_norm", 20), ("noise_multiplier", 1))),),
            "DP σ=1, C=20",
        ),
        ("compression p=9/10", (("compression", (("p", 0.9),)),), "compression p=9/10"),
        ("soteria p=0.8 probes=4", (("soteria", (("p", 0.8), ("probes", 4))),), "soteria p=0.8, probes=4"),
        ("quantize", (("quantize", ()),), "quantize"),
        (
            "clip bound=1 + quantize bits=4",
            (("clip", (("bound", 1),)), ("quantize", (("bits", 4),))),
            "clip bound=1 + quantize bits=4",
        ),
    ],
)
def test_changes_of_the_gradient(text, defense, label):
    found = parse(text)
    assert found == Protection(text, (), defense)
    assert found.label == label


def test_whole_options_stay_integers_unless_they_are_written_as_numbers_with_a_point():
    kinds = {
        text: type(parse(f"clip bound={text}").defense[0][1][0][1]) for text in ("2", "2.0", "4/2", "2e0")
    }
    assert kinds == {"2": int, "2.0": float, "4/2": float, "2e0": float}


def test_parts_are_joined_in_any_order():
    one = parse("cvb 1 5 1/2 1e-1 + dp noise_multiplier=1e-3 + batch 4")
    other = parse("batch 4 + dp noise_multiplier=1e-3 + cvb 1 5 1/2 1e-1")
    assert (one.bottlenecks, one.defense, one.batch) == (other.bottlenecks, other.defense, other.batch)
    assert (one.bottlenecks, one.batch) == ((CHOSEN,), 4)
    assert one.label == "CVB P=1, k=5, s=1/2, β=1e-1 + DP σ=1e-3 + batch of 4"
    assert parse("none + batch 2").batch == 2


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", UnknownNameError, "Unknown protection ''"),
        ("precod 1 8", UnknownNameError, "Unknown protection 'precod'. Did you mean 'precode'"),
        ("none 3", ParameterError, "Write 'none', got 'none 3'"),
        ("batch", ParameterError, "Write 'batch B', got 'batch'"),
        ("batch 4 4", ParameterError, "Write 'batch B', got 'batch 4 4'"),
        ("batch 0", ParameterError, "'batch 0': a batch holds at least one image"),
        ("batch 2.5", ParameterError, "'batch 2.5': 2.5 must be a whole number"),
        ("precode 1", ParameterError, "Write 'precode P K', got 'precode 1'"),
        ("cvb 1 5 1/2", ParameterError, "Write 'cvb P k s beta', got 'cvb 1 5 1/2'"),
        ("cvb one 5 1/2 1", ParameterError, "Numbers are written 5, 1/2 or 1e-1, got 'cvb one 5 1/2 1'"),
        ("cvb 1 5 1/0 1", ParameterError, "Numbers are written 5, 1/2 or 1e-1"),
        ("cvb 3/2 5 1/2 1", ParameterError, "1.5 must be a whole number"),
        ("cvb 1 7/2 1/2 1", ParameterError, "3.5 must be a whole number"),
        ("precode 1 17/2", ParameterError, "8.5 must be a whole number"),
        ("cvb 1 4 1/2 1", ParameterError, "kernel_size must be odd"),
        ("cvb 1 5 1/2 1 exat", UnknownNameError, "Unknown word in .* 'exat'. Did you mean 'exact'"),
        ("cvb 1 5 1/2 1 floor", UnknownNameError, "Unknown word in .* 'floor'"),
        ("cvb 1 5 1/2 1 beta=2", UnknownNameError, "Unknown word in .* 'beta=2'"),  # it has one already
        ("precode 1 8 floor=-1", ParameterError, "sigma_floor must be finite and not negative, got -1"),
        ("compression 0.9", ParameterError, "options of a defence as name=value, got '0.9' in 'compression"),
        ("compression p=much", ParameterError, "got 'compression p=much'"),
        ("compression p=2", ParameterError, r"must be in \[0, 1\), got 2"),
        ("compression q=0.9", ParameterError, "unexpected keyword argument 'q'"),
    ],
)
def test_what_is_no_protection(text, error, message):
    with pytest.raises(error, match=message):
        parse(text)
    with pytest.raises(error, match=message):
        parse(f"cvb 1 5 1/2 1e-1 + {text}")


def test_settings_are_told_apart_by_what_differs():
    assert differences(["P=1, k=5, s=2", "P=1, k=3, s=2"]) == ["k=5", "k=3"]
    assert differences(["P=1, k=5", "P=1, k=5, exact KL"]) == ["", "exact KL"]
    assert differences(["CVB + DP", "CVB + batch"], " + ") == ["DP", "batch"]
    assert differences(["alone"]) == [""]
    assert differences([]) == []


def test_short_names_keep_what_tells_settings_apart():
    labels = ["none", "PRECODE P=1, K=8", "CVB P=1, k=5", "CVB P=1, k=5, exact KL", "CVB P=1, k=5"]
    assert short(labels) == ["none", "PRECODE", "CVB", "CVB exact KL", "CVB"]
    assert short(["CVB P=1, k=5", "CVB P=1, k=3"]) == ["CVB k=5", "CVB k=3"]


CAMPAIGN = Campaign("digits", "cnn", victims=9, seeds=3, seed=5, victim_seed=20, training_rounds=4)


def test_a_campaign_takes_what_a_chapter_says():
    chapter = {"dataset": "digits", "model": "cnn", "victims": 9, "seeds": 3, "seed": 5, "victim_seed": 20}
    assert Campaign.of(chapter | {"training_rounds": 4, "steps": 7}) == CAMPAIGN
    assert Campaign.of(chapter, training_rounds=4, victims=2) == CAMPAIGN.replace(victims=2)


def test_every_model_has_victims_of_its_own():
    protection = parse("cvb 1 5 1/2 1e-1 + compression p=0.9")
    cells = CAMPAIGN.attack(protection, ATTACKS["joint"], rounds=4)
    assert [(c.seed, c.training.seed, c.victim_seed) for c in cells] == [(5, 5, 20), (6, 6, 21), (7, 7, 22)]
    assert {(c.victims, c.batch_size, c.rounds, c.share_noise) for c in cells} == {(9, 1, 4, False)}
    for cell in cells:
        assert cell.attack == ATTACKS["joint"]
        assert cell.defense == cell.training.defense == protection.defense
        assert cell.training.bottlenecks == protection.bottlenecks
    assert CAMPAIGN.attack(protection, ATTACKS["joint"])[0].rounds == 0  # fresh weights


@pytest.mark.parametrize(("batch", "victims"), [(1, 9), (2, 4), (9, 1), (16, 1)])
def test_batches_share_the_victims_out(batch, victims):
    cell = CAMPAIGN.attack(parse(f"batch {batch}"), ATTACKS["ig"])[0]
    assert (cell.batch_size, cell.victims) == (batch, victims)


def test_the_noise_is_told_to_those_who_were_given_it():
    chosen = parse("cvb 1 5 1/2 1e-1")
    assert CAMPAIGN.attack(chosen, ATTACKS["oracle"])[0].share_noise
    assert not CAMPAIGN.attack(chosen, ATTACKS["ignore"])[0].share_noise
    assert CAMPAIGN.attack(chosen, ATTACKS["ig"], updates=2, share_labels=False)[0].updates == 2


def test_trainings_know_nothing_of_the_attacks_batches():
    chosen = parse("cvb 1 5 1/2 1e-1")
    trainings = CAMPAIGN.trainings(chosen)
    assert trainings == CAMPAIGN.trainings(parse("cvb 1 5 1/2 1e-1 + batch 4"))
    assert trainings == [
        TrainingCell("digits", "cnn", bottlenecks=(CHOSEN,), protocol=Protocol(rounds=4), seed=seed)
        for seed in (5, 6, 7)
    ]
    kept = CAMPAIGN.attack(chosen, ATTACKS["ig"], rounds=2)[0].training
    assert kept == trainings[0].at(2)  # the weights on the way


def test_spreads_follow_the_attacks():
    spreads = CAMPAIGN.spread(parse("cvb 1 5 1/2 1e-1"), 2)
    attacked = CAMPAIGN.attack(parse("cvb 1 5 1/2 1e-1"), ATTACKS["ig"], rounds=2)
    assert spreads == [SpreadCell(c.training, 2, 9, victim_seed=c.victim_seed, seed=c.seed) for c in attacked]
