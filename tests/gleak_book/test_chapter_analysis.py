"""The plan of the chapter on gradient analysis: its attacks, and what it reads off made-up tracks."""

import numpy as np
import pytest
from gleak_book import analysis, figures

from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import Result
from gleak_lib.experiments.specs.gradient_tracks import GradientTracksCell
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityCell

CHAPTER = {
    "profile": "cpu",
    "dataset": "cifar10",
    "model": "cnn",
    "network": "precode(3, k=32)",
    "victims": 4,
    "steps": 1000,
    "tail": 50,
    "plateau": 400,
    "tv": 0.01,
    "rounds": [0, 5],
    "seed": 0,
    "victim_seed": 0,
    "images": 2,
    "scaling": "minmax",
}
PLAIN = ["stage1", "stage2", "stage3", "head"]
PROTECTED = ["stage1", "stage2", "stage3", "bottleneck3.encoder", "bottleneck3.decoder", "head"]
MEANS = {  # one value a layer; the fourth victim differs by `ODD`
    "no bottleneck, IG": [0.91, 0.93, 0.95, 0.99],
    "PRECODE, IG": [0.02, 0.1, 0.2, 0.2, 0.3, 0.4],
    "PRECODE, Ignore": [0.7, 0.72, 0.78, 0.8, 0.3, 0.45],
}
STDS = {"PRECODE, IG": [0.01, 0.02, 0.03, 0.03, 0.1, 0.2]}
ODD = -0.3
SCORES = {"minmax": {"ssim": [0.2, 0.4, 0.6, 0.8]}, "none": {"ssim": [0.0] * 4}}


def made_up(cell, setting):
    if isinstance(cell, NoiseSensitivityCell):
        figures = {"groups": PROTECTED, "similarity": [[0.5, 0.7]] * 5 + [[0.1, 0.3]]}
        return Result(cell, figures, {"device": "none", "date": "2026-01-01"})
    groups = PLAIN if setting.startswith("no") else PROTECTED
    means = np.array(MEANS[setting])[:, None] + np.array([0, 0, 0, ODD])
    stds = np.array(STDS.get(setting, [0.05] * len(groups)))[:, None] * np.ones(4)
    steps = [1, 10, 100]
    curve = [[0.1, 0.2, place / 10] for place in range(len(groups))]
    tracks = {
        "groups": groups,
        "steps": steps,
        "similarity": {"q25": curve, "median": curve, "q75": curve},
        "examples": [curve, curve, curve],
        "entries": [
            {"client": [[1.0, -1.0]] * 3, "dummy": [[[0.1, 0.2, 0.3], [-0.1, -0.2, float(place)]]] * 3}
            for place in range(len(groups))
        ],
        "tail": {
            "steps": 50,
            "mean": means.tolist(),
            "std": stds.tolist(),
            "change": (2 * stds).tolist(),
            "length": (stds + np.array([1, 1, 3, 9])).tolist(),
        },
    }
    plain = setting.startswith("no")
    tracks["signal"] = {"truth": None if plain else [0.1] * 4, "dummy": None if plain else [1, 2, 3, 9]}
    examples = {name: np.zeros((4, 3, 8, 8), np.uint8) for name in ("truth", "reconstruction")}
    return Result(
        cell, {"tracks": tracks, "scores": SCORES}, {"device": "none", "date": "2026-01-01"}, examples
    )


@pytest.fixture(scope="module")
def results():
    found = {cell: made_up(cell, "") for cell in analysis.spreads(**CHAPTER).values()}
    for settings in analysis.watched(**CHAPTER).values():
        found |= {cell: made_up(cell, setting) for setting, cell in settings.items()}
    return found


def test_cells_are_the_papers_three_attacks_on_both_weights():
    cells = analysis.cells(**CHAPTER)
    assert [
        sum(isinstance(c, kind) for c in cells) for kind in (NoiseSensitivityCell, GradientTracksCell)
    ] == [2, 6]
    assert len(set(cells)) == len(cells)
    settings = analysis.watched(**CHAPTER)[5]
    assert list(settings) == list(MEANS) == list(analysis.names(CHAPTER))
    found = [(c.attacked.attack.match.layers, c.attacked.training.bottlenecks) for c in settings.values()]
    assert found == [("all", ()), ("all", (PRECODE(3, 32),)), ("before-decoder", (PRECODE(3, 32),))]
    for cell in settings.values():
        schedule = cell.attacked.attack.schedule
        assert (schedule.max_steps, schedule.stop_after, schedule.stop_below) == (1000, 0, 0)
        assert cell.attacked.rounds == 5 and cell.tail == 50 and cell.shown == 3


def test_the_chapter_runs_on_a_cvb_too():
    cells = analysis.cells(**CHAPTER | {"network": "cvb(1, kernel_size=3)"})
    attacked = [c.attacked.training.bottlenecks for c in cells if isinstance(c, GradientTracksCell)]
    assert set(attacked) == {(), (CVB(1, 3),)}


def test_tracks_are_those_of_the_papers_layers(results):
    plain = analysis.entry_tracks(CHAPTER, results, 0, "no bottleneck, IG")
    assert list(dict.fromkeys(plain["layer"])) == ["conv 3", "classifier"]
    ig = analysis.entry_tracks(CHAPTER, results, 0, "PRECODE, IG")
    assert list(dict.fromkeys(ig["layer"])) == ["encoder", "decoder", "classifier"]
    assert list(dict.fromkeys(ig["image"])) == ["image 1", "image 2"]
    last = ig[(ig["layer"] == "decoder") & (ig["image"] == "image 2")].iloc[-1]
    assert [last[c] for c in ("step", "first", "second", "client_second")] == [100, 0.3, 4.0, -1.0]
    figures.tracks(ig)


def test_curves_carry_quartiles_for_all_and_none_for_one_image(results):
    for frame in (analysis.curves(CHAPTER, results, 0), analysis.image_curves(CHAPTER, results, 0)):
        figures.similarities(frame)
        assert list(dict.fromkeys(frame["setting"])) == list(MEANS)
        last = frame[(frame["layer"] == "classifier") & (frame["step"] == 100)]
        assert set(last["similarity"]) == {0.3, 0.5}
    assert "low" not in frame and list(dict.fromkeys(frame["row"])) == ["image 1", "image 2"]


def test_table_averages_over_the_victims(results):
    frame = analysis.table(CHAPTER, results, 0).set_index(["setting", "layer"])
    assert len(frame) == 4 + 6 + 6
    row = frame.loc[("PRECODE, IG", "classifier")]
    assert row["similarity"] == pytest.approx(0.4 + ODD / 4)
    assert row["similarity_std"] == pytest.approx(np.std([0, 0, 0, ODD]))
    assert row["fluctuation"] == pytest.approx(0.2)
    assert row["change"] == pytest.approx(0.4)
    assert row["length"] == pytest.approx(2.2)
    assert row["truth"] == pytest.approx(0.2)
    assert frame.loc[("no bottleneck, IG", "classifier"), "truth"] == 1


def test_outcomes_stand_beside_the_signal(results):
    frame = analysis.outcome_table(CHAPTER, results)
    assert frame["weights"].tolist() == ["fresh weights"] * 3 + ["after 5 rounds"] * 3
    assert frame["ssim"].tolist() == pytest.approx([0.5] * 6)
    assert frame["signal_dummy"].isna().tolist() == [True, False, False] * 2
    assert frame["signal_dummy"][1] == 2.5 and frame["signal_truth"][1] == pytest.approx(0.1)


def test_each_claim_is_counted_victim_by_victim(results):
    frame = analysis.claims(CHAPTER, results)
    assert list(frame.columns) == ["setting", "statement", "fresh weights", "after 5 rounds"]
    counts = [int(text.split(" of 4 (")[0]) for text in frame["fresh weights"]]
    # the fourth victim's values are lower everywhere: not close to 1, not near 0, not 0.7 to 0.8
    assert counts == [3, 4, 4, 4, 3, 4, 3, 4]
    assert frame["fresh weights"].tolist() == frame["after 5 rounds"].tolist()


def test_captions_name_scale_and_weights(results):
    assert analysis.caption(CHAPTER, 5) == (
        "Profile cpu: 4 victims from cifar10, weights after 5 rounds, 1,000 steps, "
        "of which the last 50 are measured."
    )
    assert ", fresh weights, " in analysis.caption(CHAPTER, 0)
    note = analysis.note(CHAPTER, results)
    for part in ("profile cpu", "4 victims", "fresh weights, after 5 rounds", "1,000 steps", "2026-01-01"):
        assert part in note


def test_layers_have_names_for_people():
    assert [analysis.layer(g) for g in ("stage2", "bottleneck1.decoder", "head")] == [
        "conv 2", "decoder", "classifier"
    ]  # fmt: skip
    assert analysis.layer("stage2", "resnet18") == "stage 2"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"network": "precod(1)"}, UnknownNameError, "Unknown protection 'precod'. Did you mean 'precode'"),
        ({"network": "dp()"}, ParameterError, r"network must have a bottleneck.*got 'dp\(\)'"),
        ({"tail": 1001}, ParameterError, "tail must be 2 to 1000"),
        ({"images": 5}, ParameterError, "shown 1 to 4, the number of victims"),
    ],
)
def test_what_the_plan_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        analysis.cells(**CHAPTER | changes)


def test_an_unknown_setting_is_named(results):
    with pytest.raises(UnknownNameError, match="setting 'IG'"):
        analysis.entry_tracks(CHAPTER, results, 0, "IG")
