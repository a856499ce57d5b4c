"""Every row of the paper's tables, and the best stored result for it."""

import dataclasses

import pandas
import pytest
from gleak_book import (
    beside,
    beside_reasons,
    beside_report,
    paper,
    paper_experiments,
    paper_rows,
    source_form,
)

from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import UnknownNameError
from gleak_lib.experiments import AttackExperiment, DamagedResultWarning, TrainingExperiment
from gleak_lib.federated import Protocol

PROVENANCE = {"device": "none", "date": "2026-01-01", "seconds": 1800.0, "threads": 2}
CIFAR = TrainingExperiment("cifar10")


def attacked(store, ssim, training=CIFAR, *, victims=16, steps=2000, attack="ig", seed=0, **cell):
    """Store an attack on `victims` images, each found with this SSIM."""
    column = {"ssim": [ssim] * victims, "psnr": [20.0] * victims, "mse": [0.01] * victims}
    figures = {
        "scores": {"minmax": column, "none": column},
        "loss": [0.1] * victims,
        "steps": [steps] * victims,
        "entries_matched": 1,
        "entries_total": 1,
        "parameters": 1,
    }
    budget = {"max_steps": steps}
    if attack != "idlg":
        budget["drop_after"] = 400 if steps == 20_000 else 50
    chosen = ATTACKS[attack].replace(**budget)
    store.put(
        AttackExperiment(training, attack=chosen, victims=victims, seed=seed, **cell), figures, PROVENANCE
    )


def trained(store, accuracy, *, rounds, seed=0, **cell):
    figures = {"accuracy": accuracy, "rounds": rounds, "best_round": rounds, "parameters": 1}
    store.put(
        TrainingExperiment("cifar10", protocol=Protocol(rounds=rounds), seed=seed, **cell),
        figures,
        PROVENANCE,
    )


def report(store, *names):
    return beside_report.table(beside.printed_rows(names or beside.TABLES), beside.best_results(store))


def test_every_row_of_every_table_is_there():
    found = beside.printed_rows()
    by_table = {name: [c for c in found if c.table == name] for name in beside.TABLES}
    for name in paper_rows.TABLES:
        printed = paper.table("cvb_tables_viii_to_xii").query("table == @name")
        settings = printed.drop_duplicates(["dataset", "model", "attack", "defense", "params"])
        assert len(by_table[name]) == len(settings)
    assert len(by_table["I"]) == len(paper.table("cvb_table_i")) + 2  # one line stands for three masks
    assert len(by_table["II"]) == len(paper.table("cvb_table_ii"))
    assert len(by_table["VII"]) == 2 * len(paper.table("cvb_table_vii"))
    assert [(c.dataset, c.model, c.paper["ssim"]) for c in by_table["V"]] == [
        ("mnist", "resnet18", 0.51), ("mnist", "resnet18", 0.02)
    ]  # fmt: skip
    with pytest.raises(UnknownNameError, match="Unknown table 'III'"):
        beside.printed_rows(["III"])


def test_claims_are_at_full_scale():
    for row in beside.printed_rows():
        if row.attacked:
            assert row.attacked.victims == 128 and row.attacked.rounds == 0
            full = 2000 if row.attacked.attack.kind == "lbfgs" else 20_000
            assert row.attacked.attack.schedule.max_steps == full
        if row.trained:
            assert row.trained.protocol.rounds == 300 and row.trained.seed == 0
        assert row.attacked or row.trained
        assert bool(row.trained) == ("accuracy" in row.paper)


def test_an_empty_store_leaves_every_row_to_be_run(store):
    frame = report(store)
    assert len(frame) == len(beside.printed_rows())
    assert frame[["ssim", "asr", "accuracy", "victims", "rounds"]].isna().to_numpy().all()
    counts = beside_report.counts(frame).iloc[-1]
    assert counts["reproduced"] == counts["differs"] == 0
    assert counts["figures"] == counts["not run"] > 200
    rows = beside_report.attack_counts(frame).iloc[-1]
    assert rows["full"] == 0 and rows["rows"] == rows["missing"] > 85
    assert beside_report.differences(frame).empty


def test_the_largest_attack_of_each_row_is_found(store):
    attacked(store, 0.1, victims=8, steps=100)
    attacked(store, 0.88, victims=32, steps=3000)
    attacked(store, 0.2, victims=32, steps=2500)
    attacked(store, 0.3, victims=64, rounds=20)  # trained weights: another experiment
    attacked(store, 0.4, TrainingExperiment("digits"), victims=64)
    frame = report(store, "II", "VIII", "X", "XI").query("defense == 'none' and victims.notna()")
    assert frame["table"].tolist() == ["II", "VIII", "X", "XI"]
    assert frame["ssim"].tolist() == pytest.approx([0.88] * 4) and set(frame["victims"]) == {32}
    assert set(frame["ssim_mark"]) == set(frame["asr_mark"]) == {"agrees*"}
    attacked(store, 0.86, victims=128, steps=20_000)
    frame = report(store, "II", "VIII", "X", "XI").query("defense == 'none' and victims.notna()")
    assert set(frame["ssim_mark"]) == set(frame["asr_mark"]) == {"reproduced"}


def test_marks_need_full_scale(store):
    attacked(store, 0.55, victims=15)
    attacked(store, 0.55, TrainingExperiment("mnist"))
    attacked(store, 0.01, TrainingExperiment("cifar10", bottlenecks=(CVB(1, 5),)), attack="ignore")
    frame = report(store, "X").dropna(subset=["ssim"])
    marks = dict(zip(frame["dataset"] + " " + frame["defense"], frame["ssim_mark"], strict=True))
    assert marks == {
        "cifar10 none": "too small to compare",
        "mnist none": "differs*",
        "cifar10 cvb": "differs*",
    }
    assert frame["asr_mark"].tolist().count("agrees*") == 2
    differing = beside_report.differences(frame)
    assert differing["row"].tolist() == [
        "mnist, CNN, none, ig",
        "cifar10, CNN, CVB, ig+ignore, P=1, k=5, s=1/2, β=1e-1",
    ]
    gray, color = differing["why"]
    assert set(differing["figure"]) == {"SSIM"} and "one (see" in gray and color.startswith("Tried")


def test_accuracies_are_those_of_most_rounds(store):
    trained(store, 0.5, rounds=20)
    for seed, accuracy in enumerate((0.62, 0.63, 0.64)):
        trained(store, accuracy, rounds=300, seed=seed)
    trained(store, 0.55, rounds=20, bottlenecks=(PRECODE(3, 32, beta=0.01),))
    frame = report(store, "II")
    assert frame["accuracy"].tolist()[:2] == pytest.approx([63, 55])
    assert frame["seeds"].tolist()[:2] == [3, 1] and frame["rounds"].tolist()[:2] == [300, 20]
    assert frame["accuracy_mark"].tolist() == ["reproduced", "too small to compare", "not run", "not run"]


def test_accuracies_of_the_full_protocol_come_once_each(store):
    for seed, accuracy in enumerate((0.62, 0.63, 0.64)):
        trained(store, accuracy, rounds=300, seed=seed)  # in Tables II, VIII, X, XI: 62.53
    for seed in range(3):
        trained(store, 0.5, rounds=300, seed=seed, bottlenecks=PRECODE(2, k=16, beta=0.01))  # 62.80
    trained(store, 0.6, rounds=300, bottlenecks=PRECODE(3, k=32, beta=0.01))  # one seed is not the protocol
    found = beside_report.full_trainings(report(store)).to_dict("records")
    plain, bottleneck = found
    assert plain["row"] == "cifar10, CNN, none"
    assert plain["accuracy"] == pytest.approx(63)
    assert plain["accuracy_std"] == pytest.approx((2 / 3) ** 0.5)
    assert plain["accuracy_difference"] == pytest.approx(63 - 62.53)
    assert bottleneck["row"] == "cifar10, CNN, PRECODE, P=2, K=16"
    assert [line["accuracy_mark"] for line in found] == ["reproduced", "differs"]


def test_core_hours_count_each_run_of_the_full_protocol_once(store):
    rows = beside.printed_rows()
    assert beside_report.core_hours(rows, beside.best_results(store)) == {"attacks": 0, "trainings": 0}
    attacked(store, 0.9, victims=128, steps=20_000)  # a row of six tables
    attacked(store, 0.9, victims=64, steps=20_000, training=TrainingExperiment("mnist"))
    for seed in range(3):
        trained(store, 0.62, rounds=300, seed=seed)
    trained(store, 0.6, rounds=300, bottlenecks=PRECODE(3, k=32, beta=0.01))
    assert beside_report.core_hours(rows, beside.best_results(store)) == {"attacks": 1, "trainings": 3}


def test_no_accuracy_of_the_full_protocol(store):
    trained(store, 0.62, rounds=20)
    assert beside_report.full_trainings(report(store)).empty


def test_every_table_finds_the_cells_of_its_chapter(store):
    attacked(store, 0.6, TrainingExperiment("cifar10", bottlenecks=(PRECODE(3, 32),)), attack="ignore")
    attacked(store, 0.3, TrainingExperiment("mnist"), attack="idlg", steps=100)
    attacked(store, 0.9, TrainingExperiment("dermamnist_victims"), victims=16)
    table_i = report(store, "I")
    assert table_i.loc[table_i["asr"].notna(), "setting"].tolist() == ["P=3: G1+G2+G3+GE"]
    assert report(store, "IX").dropna(subset=["ssim"])["attack"].tolist() == ["idlg"]
    derma = report(store, "XII").dropna(subset=["ssim"])
    assert derma["dataset"].tolist() == ["dermamnist"]
    assert derma["ssim_mark"].tolist() == ["agrees*"]
    trained(store, 0.6, rounds=300, model="mlp", options=(("bias", False), ("width", 1024)))
    assert report(store, "VII").dropna(subset=["accuracy"])["setting"].tolist() == ["no bias"]


def test_a_reason_belongs_to_the_rows_it_names():
    reason = beside_reasons.Reason(("ssim",), (), ("cpl",), (), "a bug")
    line = {"model": "cnn", "attack": "cpl", "defense": "none", "dataset": "mnist"}
    assert reason.fits("ssim", line)
    assert not reason.fits("asr", line) and not reason.fits("ssim", line | {"attack": "ig"})
    assert not reason._replace(datasets=("cifar10",)).fits("ssim", line)


def test_known_reasons_are_shown(store, monkeypatch):
    attacked(store, 0.55, TrainingExperiment("mnist"))
    reasons = (beside_reasons.Reason(("ssim",), ("cnn",), (), (), "other images"),)
    monkeypatch.setattr(beside_report, "REASONS", reasons)
    assert beside_report.differences(report(store, "X"))["why"].tolist() == ["other images"]


def test_reasons_name_what_there_is():
    lines = [vars(row) for row in beside.printed_rows()]
    for reason in beside_reasons.REASONS:
        assert any(reason.fits(figure, line) for figure in beside.FIGURES for line in lines)


def test_damaged_results_are_left_out(store):
    attacked(store, 0.9)
    (store.folder / "attack" / "zz.json").write_text("{")
    with pytest.warns(DamagedResultWarning, match=r"zz\.json is damaged .* It is left out"):
        found = list(store.results("attack"))
    assert len(found) == 1 and list(store.results("training")) == []


def test_counts_add_up(store):
    attacked(store, 0.88, victims=16)
    counts = beside_report.counts(report(store))
    marks = counts[list(paper_experiments.MARKS)]
    assert (marks.sum(axis=1) == counts["figures"]).all()
    assert (counts.iloc[:-1, 1:].sum() == counts.iloc[-1, 1:]).all()
    assert isinstance(counts, pandas.DataFrame) and counts["table"].tolist()[-1] == "all"


def test_a_row_is_reproduced_if_all_its_privacy_figures_are(store):
    attacked(store, 0.86, victims=128, steps=20_000)  # none, CIFAR-10: 0.87 and 96.9 %, in II, VIII, X, XI
    attacked(store, 0.55, TrainingExperiment("mnist"), victims=128, steps=20_000)  # 0.95 and 100 %
    attacked(store, 0.9, TrainingExperiment("dermamnist_victims"), victims=16)
    rows = beside_report.attack_counts(report(store, "X", "XII")).set_index("table")
    assert rows.loc["X", ["rows", "full", "reproduced", "differs", "smaller"]].tolist() == [30, 2, 1, 1, 0]
    assert rows.loc["XII", ["rows", "full", "smaller", "missing"]].tolist() == [8, 0, 1, 7]
    assert rows.loc["all", "rows"] == 38
    alike = beside_report.reproduced(report(store, "X", "XII"))
    assert list(alike["dataset"]) == ["cifar10"] and alike["ssim"].item() == pytest.approx(0.86)
    assert beside_report.attack_counts(report(store, "VII")).iloc[-1]["rows"] == 0  # accuracies only


def test_the_scale_of_a_row_is_that_of_the_shared_abstraction():
    row = paper_rows.read("XII")[0]
    small = paper_experiments.attack(row, paper_experiments.Scale(victims=4, steps=10, plateau=3, seed=2))
    printed = beside.printed_rows(["XII"])[0]
    assert beside.whole_attack(small) == printed.attacked
    assert beside.whole_attack(dataclasses.replace(small, rounds=5)) != printed.attacked


def test_gray_rows_on_one_channel_stand_beside_those_on_three_and_never_in_their_place(store):
    full = {"victims": 128, "steps": 20_000}
    three, one = (TrainingExperiment(f"mnist_victims{look}") for look in ("", "@gray"))
    attacked(store, 0.85, three, **full)
    best = beside.best_results(store)
    gray = beside.one_channel, ("three", "one")
    assert beside_report.two_forms(beside.printed_rows(), best, *gray).empty  # only what was run in both ways
    attacked(store, 0.94, one, **full)
    attacked(store, 0.2, dataclasses.replace(one, bottlenecks=(CVB(1),)), **full)
    printed, best = beside.printed_rows(), beside.best_results(store)
    (line,) = beside_report.two_forms(printed, best, *gray).to_dict("records")
    assert line["row"] == "mnist, CNN, none, ig"
    assert [line[f"ssim_{of}"] for of in ("paper", "three", "one")] == pytest.approx([0.95, 0.85, 0.94])
    assert (line["asr_paper"], line["asr_three"], line["asr_one"]) == (100, 100, 100)
    assert (line["three"], line["one"]) == ("differs", "reproduced")
    row = beside_report.table(printed, best).query("label == 'mnist, CNN' and defense == 'none'")
    assert row.loc[row["attack"] == "ig", "ssim"].tolist() == pytest.approx(
        [0.85] * len(row[row["attack"] == "ig"])
    )


def test_the_kl_term_in_bits_is_for_attacks_behind_precode():
    rows = {row: beside.in_bits(row) for row in beside.printed_rows() if row.attacked}
    assert {row.defense for row, other in rows.items() if other} == {"precode"}
    for row, other in rows.items():
        if other:
            (own,), (changed,) = (one.attacked.training.bottlenecks for one in (row, other))
            assert changed == dataclasses.replace(own, kl="bits") != own
    assert beside.in_bits(beside.printed_rows(["VII"])[0]) is None  # no attack


def test_one_channel_is_for_attacks_on_gray_sets():
    seen = {row.dataset: beside.one_channel(row) for row in beside.printed_rows() if row.attacked}
    assert {name for name, gray in seen.items() if gray} == {"mnist", "pneumoniamnist"}
    assert seen["mnist"].attacked.training.dataset == "mnist@gray"
    assert beside.one_channel(beside.printed_rows(["VII"])[0]) is None  # no attack
    assert source_form.whole("mnist_victims@gray") == "mnist@gray" and source_form.whole("mnist") == "mnist"
    assert source_form.statistics("pneumoniamnist@gray") == "original"
