"""Rows of 001 Tables VIII to XII: read right, made into experiments, and what ours say about them."""

import dataclasses
import math

import pytest
from gleak_book import paper_experiments, paper_rows
from gleak_book.paper_experiments import Scale
from gleak_book.paper_rows import Row

from gleak_lib.attacks import ATTACKS, LabelDistance, Resample
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.chapters import experiments
from gleak_lib.defenses import DP, Compression
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.federated import Protocol

COUNTS = {"VIII": 23, "IX": 12, "X": 30, "XI": 12, "XII": 8}
SMALL = Scale(victims=4, steps=10, plateau=5, lbfgs_steps=3, training_rounds=2, seeds=2)


def row(defense="none", params="", **changes):
    return Row(
        **{"table": "X", "dataset": "cifar10", "model": "cnn", "attack": "ig"} | changes,
        defense=defense,
        params=params,
    )


@pytest.mark.parametrize(("table", "count"), COUNTS.items())
def test_every_line_of_the_tables_is_read(table, count):
    rows = paper_rows.read(table)
    assert len(rows) == count
    assert {r.table for r in rows} == {table}
    assert all({"ssim", "ssim_std", "asr", "psnr", "mse", "lpips"} <= set(r.paper) for r in rows)
    assert all(("accuracy" in r.paper) == (table != "IX") for r in rows)


def test_figures_are_those_of_the_line():
    (line,) = [r for r in paper_rows.read("X", dataset="mnist") if r.params == "P=1;K=64"]
    assert line.paper["ssim"] == 0.52
    assert line.paper["asr"] == 59.38
    assert (line.paper["accuracy"], line.paper["accuracy_std"]) == (98.42, 0.06)
    with pytest.raises(TypeError):
        line.paper["ssim"] = 1.0


def test_the_tables_stand_beside_ours_by_the_label_of_their_setting():
    frame = paper_rows.theirs("X", dataset="cifar10", model="cnn").set_index("label")
    assert len(frame) == 15 and frame.loc["compression p=0.9", "asr"] == pytest.approx(46.88)
    assert frame.loc["DP σ=1e-2", ["ssim", "ssim_std"]].tolist() == [0.03, 0.02]
    assert len(paper_rows.theirs("VIII")) == len(dict.fromkeys(paper_rows.read("VIII")))  # each once
    assert paper_rows.theirs("IX")["accuracy"].isna().all()
    nothing = paper_rows.theirs("X", dataset="digits")
    assert nothing.empty and list(nothing) == list(frame.reset_index()[list(nothing)])


def test_repeated_lines_are_equal():
    assert len(dict.fromkeys(paper_rows.read("VIII"))) == 1 + 7 + 3 + 5 + 4
    assert len(paper_rows.read()) == sum(COUNTS.values())
    assert {r.model for r in paper_rows.read(model="vit")} == {"vit"}


def test_settings_become_bottlenecks_and_defenses():
    assert row("cvb", "P=1;k=5;s=1/16;beta=5e-5").bottlenecks() == (CVB(1, 5, 1 / 16, beta=5e-5),)
    several = row("cvb", "P=1+2+3;k=1;s=1/2;beta=1e-1").bottlenecks()
    assert several == tuple(CVB(p, 1, 0.5, beta=0.1) for p in (1, 2, 3))
    assert row("precode", "P=1;K=8").bottlenecks() == (PRECODE(1, k=8, beta=0.01),)
    assert row("gc", "p=0.99").transformation() == Compression(0.99)
    assert row("dp", "C=20;sigma=1e-3").transformation() == DP(noise_multiplier=1e-3)
    assert (
        row("none").bottlenecks() == row("gc", "p=0.9").bottlenecks() == ()
        and not row("none").transformation()
    )


def test_labels_name_defense_and_settings():
    assert row("cvb", "P=1;k=5;s=1/2;beta=1e-1").setting == "P=1, k=5, s=1/2, β=1e-1"
    assert row("dp", "C=20;sigma=1").setting == "C=20, σ=1"
    assert row().setting == ""


def test_attacks_are_the_presets_and_ignore_replaces_ig():
    assert paper_rows.named_attack("ig") == ATTACKS["ig"]
    assert paper_rows.named_attack("ig+ignore") == ATTACKS["ignore"]
    assert paper_rows.named_attack("cpl+ignore") == ATTACKS["cpl"].replace(layers="before-decoder")
    assert row().attacker().settings["tv"] == 0.01
    assert row(model="vit").attacker().settings["tv"] == 1e-4  # the paper's code
    assert row(model="vit").attacker(tv=0.5).settings["tv"] == 0.5
    assert row(attack="idlg").attacker(tv=0.5) == ATTACKS["idlg"]


def test_a_row_moved_elsewhere_has_no_figures_of_the_papers():
    line = paper_rows.read("X", dataset="cifar10")[0]
    assert line.on("cifar10") is line
    moved = line.on("digits")
    assert (moved.dataset, moved.model, dict(moved.paper)) == ("digits", "cnn", {})
    assert line.on("cifar10", "vit").paper == {}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: row("dpp"), UnknownNameError, "Unknown defense 'dpp'. Did you mean 'dp'"),
        (lambda: row("gc"), ParameterError, "gc is set by p in this order, got ''"),
        (lambda: row("precode", "K=8;P=1"), ParameterError, "precode is set by P, K in this order"),
        (lambda: row("none", "p=0.9"), ParameterError, "none is set by nothing in this order, got 'p=0.9'"),
        (lambda: row("gc", "p=much"), ParameterError, "'much' in 'p=much' is no number such as 5, 1/2"),
        (lambda: row("cvb", "P=1;k=5;s=1/0;beta=1"), ParameterError, "'1/0' in .* is no number"),
        (lambda: row("cvb", "P=1;k=4;s=1;beta=1"), ParameterError, "kernel_size must be odd"),
        (lambda: paper_rows.read("VII"), UnknownNameError, "Unknown table 'VII'"),
        (lambda: paper_rows.named_attack("ig+ignor"), UnknownNameError, "Did you mean 'ignore'"),
        (lambda: paper_rows.named_attack("gi"), UnknownNameError, "Unknown attack 'gi'"),
    ],
)
def test_what_rows_refuse(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_cpl_in_table_ix_is_the_public_codes():
    (line,) = [r for r in paper_rows.read("IX", dataset="cifar10") if r.attack == "cpl"]
    assert line.attacker().priors == (LabelDistance(0.1, "paper-code"),)
    ours = dataclasses.replace(line, table="X").attacker()
    assert ours.priors == (LabelDistance(0.01),)


def test_lbfgs_on_a_bottleneck_in_table_ix_draws_noise_as_the_public_code_does():
    lines = paper_rows.read("IX", dataset="mnist")
    noise = {line.attack: line.attacker().noise for line in lines}
    assert noise["idlg+ignore"] == noise["cpl+ignore"] == Resample(each_evaluation=True)
    assert {noise[name] for name in ("idlg", "cpl", "ig", "ig+ignore")} == {Resample()}
    assert dataclasses.replace(lines[3], table="X").attacker().noise == Resample()


def test_a_row_is_trained_with_its_defense_and_attacked_fresh():
    line = row("gc", "p=0.9")
    trained = paper_experiments.trainings(line, SMALL)
    compression = Compression(0.9)
    assert [(c.seed, c.defense, c.protocol) for c in trained] == [
        (seed, compression, Protocol(rounds=2)) for seed in (0, 1)
    ]
    attacked = paper_experiments.attack(line, SMALL)
    assert attacked.defense == compression
    assert attacked.training == trained[0].at(0)  # fresh weights know of no defense
    assert (attacked.victims, attacked.attack.schedule.max_steps, attacked.attack.schedule.drop_after) == (
        4,
        10,
        5,
    )
    later = paper_experiments.attack(line, Scale(training_rounds=2, rounds=1))
    assert (later.rounds, later.training) == (1, trained[0].at(1))


def test_table_ix_is_found_among_the_cells_of_chapter_01():
    chapter = {"dataset": "cifar10", "datasets": ["mnist", "cifar10"], "victims": 4, "steps": 10}
    chapter |= {"plateau": 5, "lbfgs_steps": 3, "seed": 0, "victim_seed": 0}
    theirs = set(experiments("01_how_gradients_leak", chapter))
    scale = Scale(victims=4, steps=10, plateau=5, lbfgs_steps=3)
    ours = {paper_experiments.attack(row, scale) for row in paper_rows.read("IX")}
    assert len(ours) == 12 and ours <= theirs


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "extent", "expected"),
    [
        ("ssim", 0.82, 0.87, "full", paper_experiments.REPRODUCED),
        ("ssim", 0.81, 0.87, "full", paper_experiments.DIFFERS),
        ("asr", 90.0, 100.0, "full", paper_experiments.REPRODUCED),
        ("asr", 89.0, 100.0, "full", paper_experiments.DIFFERS),
        ("accuracy", 64.03, 62.53, "full", paper_experiments.REPRODUCED),
        ("accuracy", 60.0, 62.53, "full", paper_experiments.DIFFERS),
        ("accuracy", 62.53, 62.53, "less", paper_experiments.TOO_SMALL),
        ("ssim", math.nan, 0.87, "full", paper_experiments.NOT_RUN),
        ("ssim", 0.82, 0.87, "reduced", paper_experiments.AGREES_SO_FAR),
        ("ssim", 0.81, 0.87, "reduced", paper_experiments.DIFFERS_SO_FAR),
        ("ssim", 0.87, math.nan, "full", ""),
    ],
)
def test_marks(name, ours, theirs, extent, expected):
    assert paper_experiments.mark(name, ours, theirs, extent) == expected


def test_what_counts_as_full_scale():
    cpu = Scale(victims=16, steps=2_000, training_rounds=5, seeds=1)
    assert Scale() == Scale(128, 20_000, 400, 2_000, 300, 3)
    cases = [
        (row(), cpu, "reduced"),
        (row(), Scale(), "full"),
        (row(attack="cpl"), Scale(), "full"),
        (row(), Scale(victims=127), "reduced"),
        (row(), Scale(plateau=50), "reduced"),  # another stop rule
        (row(), Scale(training_rounds=1), "full"),  # whatever the accuracy
        (row(), Scale(victims=12), "less"),
        (row(), Scale(rounds=20), "less"),
        (row(attack="cpl"), Scale(lbfgs_steps=100), "less"),
    ]
    for line, scale, expected in cases:
        found = paper_experiments.attack_extent(paper_experiments.attack(line, scale))
        assert found == expected, scale
    extents = [paper_experiments.training_extent(*scale) for scale in ((300, 3), (5, 1), (300, 1))]
    assert extents == ["full", "less", "less"]
