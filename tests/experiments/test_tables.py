"""Tables of ours beside the paper's."""

import dataclasses

import numpy as np
import pandas
import pytest
from gleak_book import paper

from gleak_lib.errors import ParameterError, StoreError, UnknownNameError
from gleak_lib.experiments import AttackExperiment, Result, TrainingExperiment, frame, tables
from gleak_lib.federated import Protocol


def attacked(ssim, seed=0, **cell):
    count = len(ssim)
    scores = {"ssim": ssim, "psnr": [10.0] * (count - 1) + [float("inf")], "mse": [0.1] * count}
    figures = {
        "scores": {
            "minmax": scores,
            "none": {name: [v / 2 for v in values] for name, values in scores.items()},
        },
        "loss": [0.5] * count,
        "steps": [9] * count,
        "entries_matched": 10,
        "entries_total": 40,
        "parameters": 40,
    }
    where = {"date": "2026-01-02T03:04:05Z", "device": "a CPU"}
    return Result(
        AttackExperiment(TrainingExperiment("digits"), victims=count, seed=seed, **cell), figures, where
    )


def trained(accuracy, seed=0):
    figures = {"accuracy": accuracy, "rounds": 4, "best_round": 3, "parameters": 40}
    cell = TrainingExperiment("digits", protocol=Protocol(rounds=5), seed=seed)
    return Result(cell, figures, {"date": "2026-01-02T03:04:05Z", "device": "a CPU"})


def test_every_paper_table_is_there():
    table = paper.table("cvb_table_ii")
    assert table.loc[0, "position"] == "none" and table.loc[0, "asr"] == 96.88  # "none" is no gap
    assert list(table["parameters"]) == [65_962, 72_106, 104_362, 141_226]
    others = ("cvb_table_i", "cvb_table_vii", "cvb_tables_viii_to_xii", "slices_table_ii", "slices_table_iii")
    assert all(len(paper.table(name)) for name in others)
    with pytest.raises(UnknownNameError, match=r"Unknown table 'cvb_table_iii'. Did you mean .*cvb_table_ii"):
        paper.table("cvb_table_iii")


def test_attack_table_pools_victims_of_all_seeds():
    groups = {"a": [attacked([0.2, 0.6]), attacked([0.5, 0.7], seed=1)], "b": attacked([0.1, 0.1])}
    table = tables.attack_table(frame(groups))
    row = table.iloc[0]
    assert row["ssim"] == pytest.approx(0.5) and row["ssim_std"] == pytest.approx(
        np.std([0.2, 0.6, 0.5, 0.7])
    )
    assert row["asr"] == 75 and row["victims"] == 4 and row["seeds"] == 2
    assert row["matched"] == 10 and row["entries"] == 40 and row["rounds"] == 0
    assert row["psnr"] == np.inf and np.isnan(row["psnr_std"])
    assert list(table["label"]) == ["a", "b"] and table.iloc[1]["asr"] == 0
    assert tables.attack_table(frame({"a": attacked([0.2, 0.6])}, scaling="none")).iloc[0][
        "ssim"
    ] == pytest.approx(0.2)


def test_training_table_is_over_seeds():
    table = tables.training_table(frame({"two": [trained(0.6), trained(0.7, 1)], "one": trained(0.5)}))
    assert table.loc[0, "accuracy"] == pytest.approx(65) and table.loc[0, "accuracy_std"] == pytest.approx(5)
    assert np.isnan(table.loc[1, "accuracy_std"]) and table.loc[1, "seeds"] == 1


def test_wrong_frames_are_refused():
    with pytest.raises(StoreError, match="The frame lacks ssim; it has label, kind, dataset"):
        tables.attack_table(frame({"a": trained(0.5)}))
    with pytest.raises(StoreError, match="lacks label, best_round; it has no row"):
        tables.training_table(frame({"a": []}))
    with pytest.raises(StoreError, match="The frame lacks model_name"):
        tables.attack_table(frame([attacked([0.5])]), "model_name")


def test_rows_are_those_of_any_columns():
    results = [attacked([0.2, 0.6], seed=seed, rounds=rounds) for rounds in (0, 5) for seed in (0, 1)]
    table = tables.attack_table(frame(results), ["rounds", "seed"])
    assert table[["rounds", "seed", "victims"]].to_numpy().tolist() == [
        [0, 0, 2], [0, 1, 2], [5, 0, 2], [5, 1, 2]
    ]  # fmt: skip
    assert tables.attack_table(frame(results), "rounds")["seeds"].tolist() == [2, 2]


def test_medians_are_over_victims_whatever_their_batches():
    pair = attacked([0.2, 0.6, 0.1, 0.3], batch_size=2)
    pair.figures.update(loss=[1.0, 9.0], steps=[5, 9])
    single = attacked([0.5])
    single.figures.update(loss=[3.0], steps=[7])
    (row,) = tables.attack_table(frame({"a": [pair, single]})).to_dict("records")
    assert row["victims"] == 3 and row["loss"] == 3.0 and row["steps"] == 7
    assert row["ssim"] == pytest.approx(np.mean([0.2, 0.6, 0.1, 0.3, 0.5]))


def test_a_row_says_its_intervals_and_how_many_searches_are_stuck():
    first, second = attacked([0.9] * 4), attacked([0.9] * 3 + [0.4], seed=1)
    first.figures["loss_at_truth"] = [None, 0.3, 0.2, 0.2]  # losses are 0.5; what is missing is not stuck
    second.figures["loss_at_truth"] = [0.2] * 4
    (row,) = tables.attack_table(frame({"a": [first, second]})).to_dict("records")
    assert row["asr_text"] == "88 (53–98)"  # Wilson: (7.92 ± 2.52) / 11.84
    assert row["ssim_text"] == "0.84 (0.69–0.99)"  # 0.8375 ± 2.365 · 0.1768 / √8
    assert row["stuck"] == pytest.approx(75) and row["above_truth"] == pytest.approx(87.5)
    del second.figures["loss_at_truth"]
    for both in ([first, second], second):
        assert tables.attack_table(frame({"a": both})).iloc[0][["stuck", "above_truth"]].isna().all()


PAPER = pandas.DataFrame(
    {"label": ["a", "z"], "ssim": [0.4, 0.9], "ssim_std": [0.1, 0.1], "asr": [50.0, 99.0]}
)


def test_beside_keeps_our_rows_and_subtracts():
    ours = tables.attack_table(frame({"a": attacked([0.2, 0.6]), "b": attacked([0.1, 0.3])}))
    table = paper.beside(ours, PAPER, values=["ssim", "asr"])
    assert list(table["label"]) == ["a", "b"]
    place = list(table.columns).index("ssim")
    expected = ["ssim", "ssim_std", "ssim_paper", "ssim_paper_std", "ssim_difference"]
    assert list(table.columns)[place : place + 5] == expected
    assert table.loc[0, "ssim_difference"] == pytest.approx(0.0) and table.loc[0, "asr_difference"] == 0
    assert np.isnan(table.loc[1, "ssim_paper"])
    sides = paper.sides(table, "ssim").dropna()
    assert sides["method"].tolist() == ["ours", "ours", "paper"] and sides["low"].iloc[2] == pytest.approx(
        0.3
    )


def test_beside_needs_its_columns():
    ours = tables.attack_table(frame({"a": attacked([0.2, 0.6])}))
    with pytest.raises(ParameterError, match="the paper's table lacks psnr; it has label, ssim"):
        paper.beside(ours, PAPER, values=["psnr"])
    with pytest.raises(ParameterError, match="several rows with the same label"):
        paper.beside(ours, pandas.concat([PAPER, PAPER]), values=["ssim"])


def test_show_is_readable_and_the_same_each_time():
    ours = tables.attack_table(frame({"a": attacked([0.2, 0.6]), "b": attacked([0.1, 0.3])}))
    table = paper.beside(ours, PAPER, values=["ssim"])
    html = tables.show(
        table,
        caption="quick",
        columns={
            "label": "model",
            "ssim": "SSIM",
            "ssim_paper": "paper",
            "ssim_difference": "difference",
            "matched": "entries",
        },
    ).to_html()
    assert (
        html
        == tables.show(
            table,
            caption="quick",
            columns={
                "label": "model",
                "ssim": "SSIM",
                "ssim_paper": "paper",
                "ssim_difference": "difference",
                "matched": "entries",
            },
        ).to_html()
    )
    assert (
        "0.40\u00a0±\u00a00.20" in html
        and "0.40\u00a0±\u00a00.10" in html
        and "+0.00" in html
        and "<caption>quick" in html
    )
    assert ">–<" in html and "nan" not in html.lower()
    assert "row_heading" not in html  # no index
    assert "SSIM (paper)" in tables.show(table).to_html()
    with pytest.raises(ParameterError, match="lacks color"):
        tables.show(table, columns=["color"])


def test_show_numbers():
    shown = pandas.DataFrame(
        {"n": [65962, 3], "asr": [96.875, np.nan], "mse": [0.00012, np.inf], "who": ["x", None]}
    )
    html = tables.show(shown).to_html()
    assert "65,962" in html and "96.9" in html and "0.0001" in html and "∞" in html
    shown = pandas.DataFrame({"asr_difference": [-3.25, 3.25]})
    assert "−3.2" in (html := tables.show(shown).to_html()) and "+3.2" in html


def test_quotes_are_entries_of_the_table():
    shown = pandas.DataFrame(
        {
            "label": ["a", "a", "b"],
            "rounds": [0, 5, 0],
            "ssim": [0.256, -0.1, np.nan],
            "asr": [95.83, 4.0, 0.0],
        }
    )
    assert tables.quote(shown, "ssim", label="a", rounds=0) == "0.26"  # digits as in tables
    assert tables.quote(shown, "asr", 0, label="a", rounds=0) == "96"
    assert tables.quote(shown, "ssim", label="a", rounds=5) == "−0.10"
    assert tables.quote(shown, "label", rounds=5) == "a"
    assert tables.quote(shown, "ssim", label="b") == "–"  # a figure that is missing
    assert tables.quote(shown, "ssim", label="c") == "–"  # a row that this run lacks
    assert tables.quote(shown.iloc[:0], "ssim", label="a") == "–"
    assert tables.quote(pandas.DataFrame(), "ssim", label="a") == "–"  # of nothing at all


def test_quotes_that_are_not_clear():
    shown = pandas.DataFrame({"label": ["a", "a"], "ssim": [0.1, 0.2]})
    with pytest.raises(ParameterError, match="2 rows fit {'label': 'a'}: name more columns"):
        tables.quote(shown, "ssim", label="a")
    with pytest.raises(ParameterError, match="The table lacks psnr, method; it has label, ssim"):
        tables.quote(shown, "psnr", method="IG")


def test_note_says_how_much_was_computed():
    text = tables.note(
        [attacked([0.2, 0.6]), attacked([0.2, 0.6], rounds=5), trained(0.5), trained(0.5, 1)], "quick"
    )
    for part in (
        "profile quick",
        "digits",
        "victims 2",
        "fresh, after 5 rounds",
        "2 seeds",
        "a CPU",
        "2026-01-02",
    ):
        assert part in text


def test_note_says_what_the_whole_cost():
    results = [attacked([0.2]), attacked([0.6], rounds=5)]
    timed = [
        dataclasses.replace(r, provenance=r.provenance | {"seconds": s})
        for r, s in zip(results, (70, 110), strict=True)
    ]
    assert "2 experiments in 3 min" in tables.note(timed, "quick")
    assert "2 experiments in 3 min" in tables.note(timed * 2, "quick")
    unknown = [dataclasses.replace(r, provenance={"device": "a CPU"}) for r in results]
    assert "experiments in" not in tables.note(unknown, "quick")
