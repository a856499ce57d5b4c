"""The authors' code beside ours: the table is what its rows say, and its sentences follow from it."""

import numpy as np
import pytest
from gleak_book import parity
from gleak_book.benchmark_rows import Row
from scipy import stats

MACHINE = {"kind": "cpu", "device": "Some CPU", "threads": 1, "torch": "2", "code": "a", "commit": "abc"}
MACHINE |= {"date": "2026-01-01T00:00:00Z", "peers": {"cvb": "0123456789abcdef"}}
OURS = np.linspace(0.70, 0.98, 16)
NOISE = np.random.default_rng(0).normal(0, 0.02, 16)


def end(ours=OURS, theirs=OURS + NOISE, *, load=0.9, machine=MACHINE, **settings):
    settings = {"images": "mnist", "model": "cnn", "attack": "ig", "tv": 0.01} | settings
    settings = {"seed": 0} | settings | {"what": "end", "victims": 16, "steps": 20_000}
    figures = {"apart": 3.8e-9, "ssim_ours": list(ours), "steps_ours": [5_000] * 16, "seconds_ours": 80.0}
    figures |= {"ssim_theirs": list(theirs), "steps_theirs": [5_000] * len(theirs)}
    figures |= {"seconds_theirs": [25.0] * len(theirs), "load_ours": [load], "load_theirs": [load] * 16}
    return Row("parity", settings, figures, machine)


def time(**settings):
    row = end(**settings)
    figures = {"ms_ours": 0.5, "ms_theirs": 4.0, "load": [0.2, 0.9]}
    return row._replace(settings=row.settings | {"what": "time"}, figures=figures)


def test_a_line_compares_the_same_victims():
    (line,) = parity.table([end()]).to_dict("records")
    assert (line["images"], line["model"], line["attack"]) == ("MNIST", "cnn", "IG, λ 0.01")
    assert line["victims"] == 16 and line["ssim_paper"] == 0.95
    np.testing.assert_allclose(line["difference"], -NOISE.mean())
    test = stats.ttest_rel(OURS, OURS + NOISE)
    np.testing.assert_allclose([line["low"], line["high"]], test.confidence_interval())
    assert line["p"] == stats.wilcoxon(NOISE).pvalue
    assert (line["ms"], line["ms_theirs"], line["busy"]) == (1.0, 5.0, False)
    partly = parity.table([end(theirs=OURS[:3] + 0.01)]).iloc[0]  # the first three victims of ours alone
    assert partly["victims"] == 3 and partly["ssim"] == OURS[:3].mean()


def test_time_comes_from_a_quiet_run_where_there_is_one():
    busy = parity.table([end(load=7.0)])
    assert busy["busy"].all() and parity.shown(busy)["ms"][0] == "1.0 / 5.0*"
    quiet = parity.table([end(load=7.0), time()])
    assert parity.shown(quiet)["ms"][0] == "0.5 / 4.0" and len(quiet) == 1
    others = [time(tv=0.1), time(machine=MACHINE | {"device": "Another"})]
    assert parity.table([end(load=7.0), *others])["ms"][0] == 1.0


def test_of_several_machines_the_row_with_most_victims_counts():
    few = end(theirs=OURS[:5], machine=MACHINE | {"device": "Another"})
    assert list(parity.table([few, end()])["victims"]) == list(parity.table([end(), few])["victims"]) == [16]


def test_the_pairs_of_all_seeds_are_taken_together():
    other = end(theirs=OURS[:5] - 0.1, seed=1)
    other.figures["apart"] = 5e-9
    (line,) = parity.table([end(), other]).to_dict("records")
    assert line["victims"] == 21 and line["seeds"] == 2 and line["apart"] == 5e-9
    pairs = np.concatenate([-NOISE, np.full(5, 0.1)])
    np.testing.assert_allclose([line["difference"], line["p"]], [pairs.mean(), stats.wilcoxon(pairs).pvalue])
    assert line["ms"] == 1.0  # of the first seed


def test_the_papers_figure_is_that_of_the_same_row():
    rows = [
        end(images="cifar10", attack="ignore", model="cnn + CVB(1, 5)"),
        end(images="cifar10", attack="ignore", model="cnn + PRECODE(1, 8)"),
        end(attack="ig", model="cnn + CVB(1, 5)"),
        end(images="another"),
    ]
    found = list(parity.table(rows)["ssim_paper"])
    assert found[:2] == [0.21, 0.30] and np.isnan(found[2:]).all()


def test_rows_with_too_few_victims_are_not_shown():
    frame = parity.table([end(), end(theirs=OURS[:15], images="cifar10")])
    shown = parity.shown(frame)
    assert list(shown["images"]) == ["MNIST"] and list(shown["victims"]) == [16]
    begun = end(theirs=[])
    del begun.figures["ssim_ours"], begun.figures["steps_ours"]
    only = parity.table([begun])
    assert only["victims"][0] == 0 and parity.shown(only).empty


def test_without_any_row_there_is_nothing_to_show(monkeypatch, tmp_path):
    monkeypatch.setenv("GLEAK_RESULTS", str(tmp_path))
    assert parity.stored() == []
    assert parity.shown(parity.table([])).empty


def test_the_line_of_machines_names_both_codes():
    text = parity.hardware([end(), time()])
    assert text == "Run on: Some CPU, 1 thread, torch 2, 2026-01-01; ours abc, cvb 0123456789ab."
    resumed = parity.hardware([end(machine=MACHINE | {"begun": "aaa"})])
    assert "ours aaa to abc, cvb" in resumed


@pytest.mark.parametrize(("differences", "p"), [([0.0] * 4, 1.0), ([0.1, 0.2, 0.3, 0.4, 0.5], 0.0625)])
def test_wilcoxon(differences, p):
    assert parity.wilcoxon(np.array(differences)) == p
    assert np.isnan(parity.wilcoxon(np.array([])))
