"""The plan of "Attacks and defenses": Table X's rows, its tables from made-up results, and bytes sent."""

import pytest
import torch
from gleak_book import defenses, defenses_report, paper_cells, paper_rows

from gleak_lib.defenses import DP, Compression
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackCell, Context, Result, TrainingCell
from gleak_lib.experiments.specs.communication_cost import CommunicationCostCell

CHAPTER = {
    "profile": "cpu",
    "dataset": "cifar10",
    "datasets": ["mnist", "cifar10"],
    "model": "cnn",
    "defenses": ["dp", "gc", "precode", "cvb"],
    "precode_sizes": [8, 16, 32, 64, 128, 256, 512],
    "more": [],
    "attacks": ["idlg", "cpl", "ig"],
    "compared": ["none", "dp(noise_multiplier=1e-3)", "cvb(1)"],
    "victims": 16,
    "steps": 2000,
    "plateau": 400,
    "lbfgs_steps": 100,
    "tv": 0.01,
    "training_rounds": 2,
    "seeds": 1,
    "seed": 0,
    "victim_seed": 0,
    "scaling": "minmax",
    "examples": 4,
}


def test_all_thirty_rows_of_table_x_are_computed():
    rows = [r for d in CHAPTER["datasets"] for r in defenses.computed(**CHAPTER | {"dataset": d})]
    assert rows == paper_rows.read("X")
    cells = defenses.cells(**CHAPTER)
    kinds = [
        sum(isinstance(c, kind) for c in cells) for kind in (AttackCell, TrainingCell, CommunicationCostCell)
    ]
    assert kinds == [30 + 7, 30, 15]  # IG of three compared settings is a cell of the rows
    assert len(set(cells)) == len(cells)
    private = [c for c in cells if isinstance(c, AttackCell) and isinstance(c.defense, DP)]
    assert len(private) == 2 * 4 + 2


def test_a_selection_keeps_no_defense_and_adds_settings():
    chapter = CHAPTER | {
        "defenses": ["precode"],
        "precode_sizes": [8],
        "more": ["compression(p=1/2)", "dp()"],
    }
    rows = defenses.computed(**chapter)
    assert [r.label for r in rows] == ["none", "DP C=20, σ=1e-1", "PRECODE P=1, K=8", "GC p=0.5"]
    assert rows[1].paper["ssim"] == 0.01  # a setting of Table X, however it is written
    assert rows[3].paper == {}


def test_other_images_have_the_rows_without_figures():
    rows = defenses.computed(**CHAPTER | {"dataset": "digits"})
    assert len(rows) == 15
    assert all(r.dataset == "digits" and not r.paper for r in rows)


def test_attacks_ignore_stochastic_gradients_behind_a_bottleneck_only():
    found = {(row.defense, name): cell for (row, name), cell in defenses.matrix(**CHAPTER).items()}
    assert len(found) == 3 * 3 + 1
    masked = {key for key, cell in found.items() if cell.attack.match.layers == "before-decoder"}
    assert masked == {("cvb", name) for name in ("iDLG", "CPL", "IG")}
    assert found["cvb", defenses.EVERY].attack.match.layers == "all"
    assert found["none", "iDLG"].attack.schedule.max_steps == 100
    assert found["dp", "CPL"].defense == found["dp", "IG"].defense == DP(noise_multiplier=1e-3)


def made_up(cell):
    ssim = 0.9 if not getattr(cell, "defense", ()) else 0.1
    column = {"ssim": [ssim] * 2, "psnr": [20.0] * 2, "mse": [0.01] * 2}
    figures = {
        "scores": {"minmax": column, "none": column},
        "loss": [0.1] * 2,
        "steps": [10] * 2,
        "entries_matched": 5,
        "entries_total": 10,
        "parameters": 1000,
        "accuracy": 0.5 if not getattr(cell, "defense", ()) else 0.4,
        "rounds": 2,
        "best_round": 2,
        "bytes": 4000.0,
    }
    if isinstance(getattr(cell, "defense", None), DP):
        figures |= {"epsilon": [3.25, 12345.6], "delta": 1e-5}
    images = torch.full((2, 3, 8, 8), 255, dtype=torch.uint8).numpy()
    provenance = {"seconds": 8.0, "device": "a machine"}
    return Result(cell, figures, provenance, {"truth": images, "reconstruction": images})


@pytest.fixture
def results():
    return {cell: made_up(cell) for cell in defenses.cells(**CHAPTER)}


def test_table_x_stands_beside_the_papers(results):
    table = defenses_report.table(CHAPTER, results)
    assert len(table) == 30
    assert table["ssim_paper"].tolist()[:3] == [0.95, 0.00, 0.01]
    assert table["gain"].tolist()[:8] == pytest.approx([0, *[-10] * 6, 0])
    assert table["gain_paper"].tolist()[-1] == pytest.approx(4.64)
    assert table["epsilon"].tolist()[:6] == ["", *["1.23e+04"] * 4, ""]
    assert table["ssim_mark"].tolist()[0] == paper_cells.AGREES_SO_FAR  # 0.90 and 0.95
    assert set(defenses_report.PRIVACY_COLUMNS) | set(defenses_report.UTILITY_COLUMNS) <= set(table)


def test_settings_that_were_not_computed_stay_with_the_papers_figures(results):
    chapter = CHAPTER | {"precode_sizes": [8]}
    kept = set(defenses.cells(**chapter))
    table = defenses_report.table(chapter, {cell: r for cell, r in results.items() if cell in kept})
    assert len(table) == 30
    assert table["ssim"].isna().sum() == 2 * 6
    digits = chapter | {"dataset": "digits", "datasets": ["digits"]}
    there = {cell: made_up(cell) for cell in defenses.cells(**digits)}
    assert len(defenses_report.table(digits, there)) == 15 - 6  # neither has figures


def test_points_of_the_trade_off_are_named_by_what_changes(results):
    frame = defenses_report.tradeoff(CHAPTER, results)
    assert len(frame) == 2 * 30
    assert set(frame["row"]) == {"ours (cpu)", "paper"}
    dp = frame[(frame["family"] == "DP") & (frame["row"] == "paper") & (frame["column"] == "mnist")]
    assert dp["setting"].tolist() == ["σ=1", "σ=1e-1", "σ=1e-2", "σ=1e-3"]
    assert set(frame.loc[frame["family"] == "CVB", "setting"]) == {""}
    asr = defenses_report.tradeoff(CHAPTER, results, "asr")
    assert asr["y"].max() == 100.0
    moved = CHAPTER | {"dataset": "digits", "datasets": ["digits"]}
    there = {cell: made_up(cell) for cell in defenses.cells(**moved)}
    assert set(defenses_report.tradeoff(moved, there)["row"]) == {"ours (cpu)"}


def test_attacks_side_by_side(results):
    table = defenses_report.attack_table(CHAPTER, results, "ssim")
    assert list(defenses_report.attack_columns(CHAPTER)) == ["label", "iDLG", "CPL", "IG", defenses.EVERY]
    assert table["IG"].tolist() == pytest.approx([0.9, 0.1, 0.9])
    assert table[defenses.EVERY].isna().tolist() == [True, True, False]


def test_costs_are_relative_to_no_defense(results):
    table = defenses_report.cost_table(CHAPTER, results)
    assert len(table) == 15
    assert table["kilobytes"].tolist() == [4.0] * 15
    assert table["seconds"].tolist() == [4.0] * 15
    assert table["relative_seconds"].tolist() == [1.0] * 15
    assert set(defenses_report.COST_COLUMNS) == set(table)
    assert "measured on a machine" in defenses_report.cost_caption(CHAPTER, results)


def test_pictures_show_the_ends_of_each_kind(results):
    _, pictures = defenses_report.pictures(CHAPTER, results)
    assert list(pictures)[:3] == ["none", "DP C=20, σ=1", "DP C=20, σ=1e-3"]
    assert len(pictures) == 1 + 2 + 2 + 2 + 1


def test_captions_name_the_images_meant():
    assert defenses_report.caption(CHAPTER, "privacy").startswith("Profile cpu, mnist, cifar10: 16 victims")
    assert defenses_report.caption(CHAPTER, "privacy", "mnist").startswith("Profile cpu, mnist: ")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dataset": "digits"}, ParameterError, r"dataset must be one of datasets .*, got 'digits'"),
        ({"defenses": ["pd"]}, UnknownNameError, "Unknown defense 'pd'. Did you mean 'dp'"),
        ({"compared": ["cvd(1)"]}, UnknownNameError, "Unknown protection 'cvd'. Did you mean 'cvb'"),
        ({"more": ["cvb(1) + dp()"]}, ParameterError, r"rows cannot say 'cvb\(1\) \+ dp\(\)'"),
        ({"more": ["clip()"]}, ParameterError, r"rows cannot say 'clip\(\)'"),
        ({"more": ["compression(p=2)"]}, ParameterError, r"The pruning ratio p must be in \[0, 1\), got 2"),
        ({"attacks": ["ggl"]}, UnknownNameError, "Unknown attack of this table 'ggl'"),
    ],
)
def test_what_the_plan_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        defenses.cells(**CHAPTER | changes)


@pytest.mark.parametrize(("defense", "share"), [(None, 1.0), (Compression(0.9), 0.2)])
def test_bytes_of_a_shared_gradient(tmp_path, defense, share):
    training = TrainingCell("digits")
    cell = CommunicationCostCell(training, victims=1, batch_size=8, defense=defense)
    figures = cell.run(Context(tmp_path)).figures
    assert figures["dense"] == 4 * figures["parameters"] == 4 * 65_962
    assert figures["bytes"] / figures["dense"] == pytest.approx(share, abs=0.001)  # 64 bits for 32
    assert cell.training == training.at(0)
    assert "bytes of a gradient of digits, cnn" in cell.describe()


@pytest.mark.parametrize("changes", [{"victims": 0}, {"batch_size": 0}, {"rounds": -1}, {"seed": 1.5}])
def test_a_cost_cell_refuses(changes):
    with pytest.raises(ParameterError, match=next(iter(changes))):
        CommunicationCostCell(TrainingCell("digits"), **changes)
