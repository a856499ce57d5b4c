"""The chapter "Slice perturbation": experiments, the source's figures, baselines, verdicts, its figure."""

import math
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from gleak_book import figures, slices
from gleak_book.benchmark_rows import Row

from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.datasets import load, victims
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import AttackExperiment, TrainingExperiment, from_json
from gleak_lib.experiments.encoding import encode
from gleak_lib.federated import Compensation, WeightedMean
from gleak_lib.metrics import intervals

NAME = "13_slice_perturbation"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_experiments_of_every_profile(profile):
    values = profiles.load(NAME, profile)
    cells = experiments(NAME, values)
    assert len({c.key for c in cells}) == len(cells)
    assert all(from_json(encode(c)) == c for c in cells)
    assert {c.training.dataset for c in cells if isinstance(c, AttackExperiment)} == set(values["datasets"])


def test_every_compensation_knows_the_variance_of_its_own_noise():
    cells = [c for c in experiments(NAME, profiles.load(NAME, "quick")) if isinstance(c, TrainingExperiment)]
    trained = [c for c in cells if c.protocol.rounds]
    compensated = [c for c in trained if isinstance(c.protocol.aggregation, Compensation)]
    assert compensated and len(compensated) < len(trained)
    for cell in compensated:
        assert cell.protocol.aggregation.variance == cell.defense.entry_variance
    plain = [c.protocol.aggregation for c in trained if c not in compensated]
    assert all(one == WeightedMean() for one in plain)


def test_clients_of_cifar10_are_ten_times_as_many_as_in_the_source():
    values = profiles.load(NAME, "paper")
    cells = [
        c for c in experiments(NAME, values) if isinstance(c, TrainingExperiment) and c.dataset == "cifar10"
    ]
    for protocol in {c.protocol.replace(aggregation=WeightedMean()) for c in cells}:
        assert (protocol.clients, protocol.clients_per_round, protocol.batch_size) == (1000, 200, 40)
        assert (protocol.rounds, protocol.samples_per_class) == (2000, (1, 20))
        assert (protocol.lr, protocol.local_epochs, protocol.optimizer) == (1e-2, 2, "sgd")


def test_the_tables_are_the_source_s():
    two = slices.table_ii()
    assert len(two) == 36 + 6
    row = two[(two["against"] == "GIA") & (two["images"] == "cifar10")].set_index("protection")
    assert row.loc["PLD, muted", "psnr"] == 27.04 and math.isnan(row.loc["PLD, muted", "accuracy"])
    assert row.loc["slices", "round_time"] == 9.33 and row.loc["none", "accuracy"] == 49.31
    assert set(row.index) == {"none", *slices.NAMES.values()}
    five = slices.table_iii("D")
    assert five["setting"].tolist() == ["1", "6", "12", "20"] * 2
    assert [len(slices.table_iii(part)) for part in "ABCE"] == [6, 10, 10, 6]


@pytest.mark.parametrize("scaling", ["none", "minmax"])
def test_the_mean_image_is_scored_as_a_guess_for_every_victim(scaling):
    found = slices.mean_image(["digits"], 3, 5, scaling)
    digits = load("digits")
    truth, _ = victims(digits, 3, 5)
    guess = digits.train.images[:5000].mean(0)
    if scaling == "none":
        errors = (truth - guess).square().mean((1, 2, 3))
        assert found["psnr"].tolist() == pytest.approx((-10 * errors.log10()).tolist(), rel=1e-4)
    assert found["victim"].tolist() == [0, 1, 2] and set(found["images"]) == {"digits"}


def frame():
    rows = [("a", 0, 1.0), ("a", 0, 3.0), ("a", 1, 6.0), ("b", 0, 1.5), ("b", 1, 2.0), ("b", 2, 9.0)]
    return pd.DataFrame(rows, columns=["protection", "victim", "psnr"]).assign(ssim=0.5, images="digits")


def test_several_runs_on_a_victim_count_once():
    found = slices.scored(frame(), ["images", "protection"]).set_index("protection")
    assert found["psnr"].to_dict() == {"a": 4.0, "b": pytest.approx(12.5 / 3)}
    low, high = intervals.mean(np.array([2.0, 6.0]))
    assert found.loc["a", "psnr_text"] == intervals.said(4.0, low, high, 1)
    pairs = slices.differences(frame().assign(kind=frame()["protection"]), "a", "b", "psnr")
    assert pairs.tolist() == [0.5, 4.0]  # victim 2 has no partner
    with pytest.raises(ParameterError, match="No rows of 'a' and 'c' belong together"):
        slices.differences(frame().assign(kind="a"), "a", "c", "psnr")


def training_curves():
    class Stored(NamedTuple):
        figures: dict[str, list[float | None]]

    shares = {
        "none": [0.1, None, 0.5, math.nan, 0.8, None, 0.9, None, 1.0],
        "slices": [0.1, None, 0.2, None, 0.3, None, 0.4, None, 0.2],
    }
    trainings = {("digits", name, 0): name for name in shares}
    results = {name: Stored({"test_accuracy": curve}) for name, curve in shares.items()}
    return slices.curves(results, trainings, ["images", "protection", "victim"])  # type: ignore[arg-type]


def test_curves_have_the_rounds_that_were_evaluated():
    found = training_curves()
    assert list(found) == ["images", "protection", "victim", "round", "accuracy"]
    rows = found[found["protection"] == "none"]
    assert rows["round"].tolist() == [0, 2, 4, 6, 8] and rows["accuracy"].tolist() == [10, 50, 80, 90, 100]


def test_late_accuracies_are_means_of_the_last_quarter():
    curves = training_curves()
    late = slices.late(curves)
    assert late.set_index("protection")["accuracy"].to_dict() == {"none": 95, "slices": pytest.approx(30)}
    theirs = pd.DataFrame({"images": ["digits"], "protection": ["none"], "accuracy": [91.7]})
    table = slices.over_rounds(curves, late, theirs).set_index("protection")
    assert list(table)[1:] == ["round 0", "round 2", "round 4", "round 8", "late", "theirs"]
    assert table.loc["none", "round 4"] == 80 and table["late"].tolist() == ["95.0", "30.0"]
    assert table["theirs"].tolist() == ["91.7", "–"]


def test_a_shorter_training_has_its_own_last_quarter():
    longer = training_curves()
    shorter = longer[longer["round"] <= 4].assign(images="few")
    both = pd.concat([longer, shorter])
    late = slices.late(both).set_index(["images", "protection"])["accuracy"]
    assert late["few", "none"] == 80 and late["digits", "none"] == 95
    theirs = pd.DataFrame({"images": [], "protection": [], "accuracy": []})
    table = slices.over_rounds(both, slices.late(both), theirs).set_index(["images", "protection"])
    assert table.loc[("few", "none"), "round 4"] == 80 and math.isnan(table.loc[("few", "none"), "round 8"])


def test_theirs_stand_beside_ours():
    theirs = pd.DataFrame({"images": ["digits"], "protection": ["b"], "psnr": [9.41]})
    table = slices.wide(slices.scored(frame(), ["images", "protection"]), theirs, "psnr", 1)
    assert list(table) == ["protection", "digits", "digits, theirs"]
    assert table["digits, theirs"].tolist() == ["–", "9.4"]


@pytest.mark.parametrize(
    ("interval", "bounds", "said"),
    [
        ((5.1, 7), {"at_least": 5}, "holds"),
        ((4.9, 7), {"at_least": 5}, "undecided"),
        ((3, 4.9), {"at_least": 5}, "does not"),
        ((-0.5, 0.9), {"at_least": -1, "at_most": 1}, "holds"),
        ((-3, 3), {"at_least": -1, "at_most": 1}, "undecided"),
        ((1.2, 3), {"at_least": -1, "at_most": 1}, "does not"),
        ((math.nan, math.nan), {"at_most": 1}, "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval(interval, bounds, said):
    assert slices.verdict(*interval, **bounds) == said


def test_the_source_s_claims_have_their_ranges():
    kinds = ["PLD", "PLD, muted", "slices", "root 50", "root 100", "root 400", "bias 0.1", "bias 1.0"]
    rows = [(kind, shown, v, place) for place, kind in enumerate(kinds) for shown in "ab" for v in (0, 1)]
    given = pd.DataFrame(rows, columns=["kind", "shown", "victim", "psnr"]).assign(images="digits")
    given = given[(given["kind"] != "PLD") | (given["shown"] != "b")]
    words = {"small": 50, "root": 100, "large": 400, "most": 1.0, "least": 0.1}
    found = {claim.text: claim for claim in slices.claims("privacy", given, "psnr", **words)}
    assert len(found) == 8 and found["Slices are not above GC"].values == {}
    within = found["100 images do as well as 400, within 0.5 dB"]
    assert (within.at_least, within.at_most) == (-0.5, 0.5)
    assert within.values["a"].tolist() == within.values["b"].tolist() == [-1, -1]
    assert list(found["Muted PLD leaks at least 5 dB more than PLD"].values) == ["a"]
    assert found["Bias 1 leaks more than 0.1"].values["b"].tolist() == [1, 1]
    learned = given.replace({"PLD, muted": "DP-G", "slices": "chance"}).assign(accuracy=given["psnr"])
    chance = slices.claims("accuracy", learned, "accuracy", aspect=1)[2]
    assert chance.text == "DP-G is at most 5 points above chance" and chance.values["a"].tolist() == [-1, -1]
    lasting = slices.claims("lasting", learned, "accuracy")
    ranges = [(-math.inf, 2.6), (0, math.inf), *[(-math.inf, 5)] * 2, (0, math.inf), (20, math.inf)]
    assert [(claim.at_least, claim.at_most) for claim in lasting] == ranges
    assert lasting[2].values["a"].tolist() == [-1, -1] and lasting[3].values == {}


def test_chance_is_one_class_of_those_that_an_image_set_has(monkeypatch):
    sets = {"digits": SimpleNamespace(num_classes=10), "lungs": SimpleNamespace(num_classes=2)}
    monkeypatch.setattr(slices.datasets, "load", sets.__getitem__)
    kinds = {"kind": ["none", "DP-G", "none"], "images": ["digits", "digits", "lungs"]}
    given = pd.DataFrame(kinds).assign(victim=[0, 0, 1], accuracy=[90.0, 11.0, 70.0])
    found = slices.with_chance(given)
    chance = found[found["kind"] == "chance"]
    assert found[found["kind"] != "chance"].equals(given)
    assert chance[["images", "victim", "accuracy"]].to_numpy().tolist() == [
        ["digits", 0, 10],
        ["lungs", 1, 50],
    ]


def test_claims_are_judged_column_by_column():
    values = {"DGA": np.array([9.0, 9.1, 9.2]), "GIA": np.array([0.0])}
    table = slices.judged([slices.Claim("first", "9", values, 5), slices.Claim("second", "1", {}, 5)])
    assert list(table) == ["claim", "theirs", "DGA", "DGA: verdict", "GIA", "GIA: verdict"]
    assert table["DGA: verdict"].tolist() == ["holds", "–"]
    assert table["GIA: verdict"].tolist() == ["undecided", "–"] and table["GIA"][0] == "0.0"


def test_round_times_are_percent_of_the_undefended_loop():
    machine = {"kind": "cpu", "device": "Some CPU", "threads": 1, "date": "2026-01-01"}
    figures_ = {"seconds": 0.1, "relative": 1.2, "low": 1.1, "high": 1.3}
    rows = [
        Row("defended_rounds", {"a_round": 10, "method": name}, figures_, machine) for name in ("none", "PLD")
    ]
    found = slices.round_times([*rows, rows[0]._replace(benchmark="attacks")]).set_index("protection")
    assert found.loc["PLD", "text"].replace("\u2060", "") == "20 (10–30)"
    assert found.loc["PLD", "theirs"] == "13.2 to 16.4" and found.loc["none", "theirs"] == "–"
    assert found["milliseconds"].tolist() == [100, 100]
    assert slices.round_times([]).empty


def test_spectra_are_densities_beside_the_law():
    values = torch.linspace(0.4, 1.9, 90, dtype=torch.float64)
    outside = torch.full((10,), 50.0, dtype=torch.float64)
    figure = figures.spectra({"one": values, "two": torch.cat([values, outside])}, aspect=6)
    first, second = (ax for ax in figure.axes if ax.lines)
    areas = [sum(bar.get_width() * bar.get_height() for bar in ax.patches) for ax in (first, second)]
    assert areas == pytest.approx([1, 0.9])
    x, y = first.lines[0].get_data()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.02)
    assert [ax.texts[0].get_text() for ax in (first, second)] == ["0 of 90 beyond", "10 of 100 beyond"]
    with pytest.raises(ParameterError, match="needs at least one panel"):
        figures.spectra({}, aspect=6)


def test_levels_draws_a_line_for_each_kind():
    frame = pd.DataFrame(
        {"std": [1e-2, 1e-3, 1e-2], "psnr": [10.0, 20.0, 5.0], "psnr_std": [1.0] * 3, "line": ["a", "a", "b"]}
    )
    figure = figures.levels(frame, level="std", value="psnr", by="line", xlabel="noise", ylabel="PSNR")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    lines = {c.get_label(): c.lines[0] for c in axes.containers}
    assert lines["a"].get_xdata().tolist() == [1e-3, 1e-2] and lines["a"].get_ydata().tolist() == [20, 10]
    assert lines["b"].get_ydata().tolist() == [5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"std": [1], "psnr": [1]}), "missing: line"),
        (pd.DataFrame({"std": [], "psnr": [], "line": []}), "missing: rows"),
        (pd.DataFrame({"std": [0.0], "psnr": [1], "line": ["a"]}), "levels above 0, got 0: pass log=0"),
    ],
)
def test_levels_refuses(frame, message):
    with pytest.raises(ParameterError, match=message):
        figures.levels(frame, level="std", value="psnr", by="line", xlabel="", ylabel="")
