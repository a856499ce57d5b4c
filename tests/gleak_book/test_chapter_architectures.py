"""The chapter on other architectures: rows of Tables V and XI, and its tables from made-up results."""

import numpy as np
import pytest
from gleak_book import architectures, architectures_report, paper

from gleak_lib import plots
from gleak_lib.bottlenecks import CVB
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackCell, Result, TrainingCell, tables

CHAPTER = {
    "profile": "cpu",
    "datasets": ["mnist", "cifar10"],
    "models": ["cnn", "resnet18", "vit"],
    "victims": [16, 4, 2],
    "steps": [2000, 350, 600],
    "plateau": [400, 40, 60],
    "training_rounds": [20, 0, 0],
    "tv": [0.01, 0.01, 1e-4],
    "tv_tried": [0.1, 1e-4],
    "tv_victims": [16, 4, 1],
    "rounds": 0,
    "seeds": 2,
    "seed": 0,
    "victim_seed": 0,
    "scaling": "minmax",
    "examples": 8,
}


def made_up(cell):
    if isinstance(cell, TrainingCell):
        figures = {"accuracy": 0.6, "rounds": 20, "best_round": 19, "parameters": 65_962}
        return Result(cell, figures, {"device": "none", "date": "2026-01-01"})
    count = cell.victims
    column = {name: [value] * count for name, value in (("ssim", 0.6), ("psnr", 20.0), ("mse", 0.01))}
    figures = {
        "scores": {"minmax": column, "none": column},
        "loss": [0.1] * count,
        "steps": [10] * count,
        "entries_matched": 25,
        "entries_total": 100,
        "parameters": 65_962,
    }
    kept = np.full((min(count, 8), 3, 32, 32), 128, dtype=np.uint8)
    return Result(cell, figures, {"device": "none"}, {"truth": kept, "reconstruction": kept})


@pytest.fixture(scope="module")
def results():
    return {cell: made_up(cell) for cell in architectures.cells(**CHAPTER)}


def test_bottlenecks_are_the_papers():
    specs = {s.row.model: s.row.bottlenecks() for s in architectures.settings(**CHAPTER)[1::2]}
    assert specs == {"cnn": (CVB(1, 5),), "resnet18": (CVB(1, 5, beta=5e-5),), "vit": (CVB(1, 3),)}


def test_cells_follow_each_models_own_scale():
    cells = architectures.cells(**CHAPTER)
    trained = [c for c in cells if isinstance(c, TrainingCell)]
    assert {c.model for c in trained} == {"cnn"} and len(trained) == 2 * 2 * 2  # sets, defenses, seeds
    attacks = [c for c in cells if isinstance(c, AttackCell)]
    assert len(set(cells)) == len(cells)
    assert {(c.training.model, c.attack.schedule.max_steps) for c in attacks} == {
        ("cnn", 2000), ("resnet18", 350), ("vit", 600)
    }  # fmt: skip
    assert {(c.victims, c.attack.settings["tv"]) for c in attacks if c.training.model == "vit"} == {
        (2, 1e-4), (1, 0.1), (1, 1e-4)
    }  # fmt: skip
    assert all((c.attack.match.layers == "before-decoder") == bool(c.training.bottlenecks) for c in attacks)


def test_scores_stand_beside_table_xi(results):
    table = architectures_report.scores_table(CHAPTER, results, "cifar10")
    assert table["label"].tolist()[:3] == ["CNN, none", "CNN, CVB", "ResNet-18, none"]
    assert table["ssim_paper"].tolist() == [0.87, 0.21, 0.55, 0.09, 0.90, 0.16]
    assert table["accuracy"].tolist()[:2] == [60, 60] and table["accuracy"][2:].isna().all()
    assert table["accuracy_paper"].tolist()[2] == 73.18
    assert table["rounds"].tolist()[0] == 20 and table["rounds"][2:].isna().all()
    assert table["ssim_mark"].tolist()[0] == "differs*"
    assert set(table["ssim_mark"][2:]) == {"too small to compare"}
    assert ">–<" in tables.show(table, columns=["label", "accuracy"]).to_html()


def test_the_two_tables_disagree_about_one_model(results):
    table = architectures_report.two_tables(CHAPTER, results)
    assert table["label"].tolist() == ["ResNet-18, none, mnist", "ResNet-18, CVB, mnist"]
    assert table["ssim_v"].tolist() == [0.51, 0.02] and table["ssim_xi"].tolist() == [0.47, 0.04]
    assert table["asr_v"].tolist() == [53.91, 0] and table["asr_xi"].tolist() == [37.50, 0]
    assert table["ssim"].tolist() == [0.6, 0.6]
    elsewhere = CHAPTER | {"datasets": ["cifar10"]}
    assert architectures_report.two_tables(elsewhere, results)["ssim"].isna().all()


def test_priors_and_matched_entries(results):
    prior = architectures_report.prior_table(CHAPTER, results)
    assert prior["tv"].tolist() == ["0.1", "0.0001"] * 3
    assert prior["victims"].tolist() == [16, 16, 4, 4, 1, 1]
    assert prior["ssim_paper"].tolist() == [0.87, 0.87, 0.55, 0.55, 0.90, 0.90]
    matched = architectures_report.matched_table(CHAPTER, results)
    assert matched["label"].tolist() == ["CNN", "ResNet-18", "ViT"] and set(matched["share"]) == {25.0}


def test_pictures_are_those_that_all_models_have(results):
    originals, rows = architectures_report.pictures(CHAPTER, results, "mnist")
    assert len(originals) == 2 and {len(images) for images in rows.values()} == {2}
    assert list(rows)[-1] == "ViT, CVB"


def test_tradeoff_has_a_panel_for_the_paper(results):
    frame = architectures_report.tradeoff(CHAPTER, results)
    assert frame["panel"].tolist() == ["ours"] * 12 + ["paper"] * 12
    assert frame.dropna()["panel"].value_counts().to_dict() == {"ours": 4, "paper": 12}
    assert len(plots.utility(frame).axes) == 2


def test_other_images_have_no_figures_of_the_papers():
    chapter = CHAPTER | {"datasets": ["digits"]}
    results = {cell: made_up(cell) for cell in architectures.cells(**chapter)}
    assert architectures_report.scores_table(chapter, results, "digits")["ssim_paper"].isna().all()
    assert architectures_report.prior_table(chapter, results)["asr_paper"].isna().all()


def test_caption_says_what_was_cut_short():
    text = architectures_report.caption(CHAPTER, "mnist")
    assert "mnist, fresh weights" in text
    assert "ViT: 2 victims, at most 600 steps, λ=0.0001, not trained" in text


def test_weights_after_training_can_be_attacked():
    chapter = CHAPTER | {"rounds": 5, "training_rounds": [20, 5, 5]}
    attacks = [c for c in architectures.cells(**chapter) if isinstance(c, AttackCell)]
    assert {c.rounds for c in attacks} == {5}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"models": ["cnn", "resnet", "vit"]}, UnknownNameError, "'resnet'. Did you mean 'resnet18'"),
        ({"victims": [16]}, ParameterError, r"victims needs one value a model: \['cnn', .*\], got \[16\]"),
        ({"tv_victims": [16]}, ParameterError, "tv_victims needs one value a model"),
        ({"rounds": 5}, ParameterError, "rounds=5 comes after the last of 0 training_rounds of resnet18"),
    ],
)
def test_what_the_plan_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        architectures.cells(**CHAPTER | changes)


def test_table_v_repeats_table_xi_but_for_one_model():
    own = {(s.row.dataset, s.row.model, s.row.defense): s.row for s in architectures.settings(**CHAPTER)}
    for line in paper.table("cvb_table_v").to_dict("records"):
        row = own[line["dataset"], line["model"], line["defense"]]
        assert line["accuracy"] == row.paper["accuracy"]
        same = line["ssim"] == row.paper["ssim"] and line["asr"] == row.paper["asr"]
        assert same == ((line["dataset"], line["model"]) != ("mnist", "resnet18"))
