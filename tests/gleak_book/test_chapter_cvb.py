"""The plan of "CVB hyper-parameters": the paper's axes, and its tables from made-up results."""

import pytest
import torch
from gleak_book import cvb, cvb_report, paper_cells

from gleak_lib.bottlenecks import CVB
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackCell, Result, TrainingCell
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityCell

CHAPTER = {
    "profile": "cpu",
    "dataset": "cifar10",
    "model": "cnn",
    "positions": ["1", "2", "3", "1+2", "1+3", "2+3", "1+2+3"],
    "kernel_sizes": [1, 3, 5, 7],
    "scales": ["1/16", "1/4", "1/2", "1", "2", "4"],
    "betas": [0.1, 0.01, 0.001, 0.0001, 0.00001],
    "position": "1",
    "position_kernel_size": 1,
    "kernel_size": 5,
    "scale": "1/2",
    "beta": 0.1,
    "kl": "paper-code",
    "kl_betas": [0.1, 0.001],
    "sigma_rounds": [0, 2],
    "victims": 16,
    "steps": 2000,
    "plateau": 400,
    "tv": 0.01,
    "training_rounds": 2,
    "seeds": 1,
    "seed": 0,
    "victim_seed": 0,
    "scaling": "minmax",
    "examples": 4,
}


def test_the_axes_are_the_lines_of_table_viii():
    axes = cvb.axes(**CHAPTER)
    assert [len(points) for points in axes.values()] == [7, 4, 6, 5]
    assert all("ssim" in point.row.paper for points in axes.values() for point in points)
    assert [p.value for p in axes[cvb.AXES[3]]] == ["1e-1", "1e-2", "1e-3", "1e-4", "1e-5"]
    assert [p.row.paper["ssim"] for p in axes[cvb.AXES[2]]] == [0.10, 0.15, 0.21, 0.30, 0.38, 0.44]
    assert axes[cvb.AXES[0]][4].row.bottlenecks() == (CVB(1, 1), CVB(3, 1))
    assert len(cvb.rows(**CHAPTER)) == 1 + 7 + 3 + 5 + 4


def test_other_values_and_images_have_no_figures_of_the_papers():
    other = cvb.axes(**CHAPTER | {"betas": [1.0], "kl_betas": []})[cvb.AXES[3]][0].row
    assert other.paper == {}
    assert other.bottlenecks() == (CVB(1, 5, 0.5, beta=1.0),)
    moved = cvb.rows(**CHAPTER | {"dataset": "digits"})
    assert {row.dataset for row in moved} == {"digits"}
    assert all(row.paper == {} for row in moved)


def test_cells_are_rows_and_both_forms_of_the_kl_term():
    cells = cvb.cells(**CHAPTER)
    kinds = [
        sum(isinstance(c, kind) for c in cells) for kind in (AttackCell, TrainingCell, NoiseSensitivityCell)
    ]
    assert kinds == [20 + 2, 20 + 2, 2 * 2 * 2]
    exact = {c.bottlenecks for c in cells if isinstance(c, TrainingCell) and "exact" in str(c.bottlenecks)}
    assert exact == {(CVB(beta=0.1, kl="exact"),), (CVB(beta=0.001, kl="exact"),)}
    assert len(set(cells)) == len(cells)


def made_up(cell):
    ssim = 0.1 * len(getattr(cell, "training", cell).bottlenecks)
    column = {"ssim": [ssim, 0.4], "psnr": [20.0] * 2, "mse": [0.01] * 2}
    figures = {
        "scores": {"minmax": column, "none": column},
        "loss": [0.1] * 2,
        "steps": [10] * 2,
        "entries_matched": 5,
        "entries_total": 10,
        "parameters": 100 + 10 * len(getattr(cell, "training", cell).bottlenecks),
        "accuracy": 0.5 + 0.05 * len(getattr(cell, "bottlenecks", ())),
        "rounds": 2,
        "best_round": 2,
        "sigma": [0.5],
        "mu": [2.0],
    }
    images = torch.full((2, 3, 8, 8), 255, dtype=torch.uint8).numpy()
    return Result(cell, figures, {}, {"truth": images, "reconstruction": images})


@pytest.fixture
def results():
    return {cell: made_up(cell) for cell in cvb.cells(**CHAPTER)}


def test_the_table_stands_beside_the_papers(results):
    table = cvb_report.table(CHAPTER, results).set_index("label")
    assert table["ssim_paper"].notna().all()
    assert table.loc["none", ["gain", "gain_paper", "increase"]].tolist() == [0.0, 0.0, 0.0]
    chosen = table.loc["CVB P=1, k=5, s=1/2, β=1e-1"]
    assert chosen[["gain", "gain_paper", "increase"]].tolist() == pytest.approx([5.0, 4.64, 10.0])
    assert chosen["ssim_mark"] == paper_cells.AGREES_SO_FAR  # 0.25 and 0.21
    assert chosen["accuracy_mark"] == paper_cells.TOO_SMALL
    assert set(cvb_report.PRIVACY_COLUMNS) | set(cvb_report.UTILITY_COLUMNS) <= {"label", *table}


def test_the_figure_has_a_point_a_setting(results):
    frame = cvb_report.sweep(CHAPTER, results)
    assert frame.groupby("panel", sort=False).size().tolist() == [7, 4, 6, 5]
    assert frame.loc[frame["value"] == "1+2+3", "gain"].tolist() == pytest.approx([15.0])
    assert cvb_report.baseline(CHAPTER, results) == {"gain": 0.0, "ssim": pytest.approx(0.2)}


def test_both_forms_of_the_kl_term_side_by_side(results):
    table = cvb_report.kl_table(CHAPTER, results)
    assert table["kl"].tolist() == ["paper-code", "exact"] * 2
    assert table["beta"].tolist() == ["1e-1", "1e-1", "1e-3", "1e-3"]
    assert table["sigma"].tolist() == ["0.50 → 0.50"] * 4
    assert set(cvb_report.KL_COLUMNS) == set(table) - {"accuracy_std", "ssim_std"}
    assert cvb_report.kl_caption(CHAPTER).endswith("σ and μ on 16 images after rounds 0, 2.")


def test_pictures_follow_an_axis(results):
    originals, pictures = cvb_report.pictures(CHAPTER, results, cvb.AXES[2])
    assert originals.shape == (2, 3, 8, 8)
    assert list(pictures) == ["no bottleneck", *(f"s = {s}" for s in CHAPTER["scales"])]
    with pytest.raises(UnknownNameError, match="Unknown axis 'depth'"):
        cvb_report.pictures(CHAPTER, results, "depth")


def test_captions_name_both_scales():
    assert cvb_report.caption(CHAPTER, "privacy") == (
        "Profile cpu, cifar10: 16 victims, fresh weights, at most 2,000 steps, each image min–max scaled. "
        "The paper: 128 victims, at most 20,000 steps."
    )
    assert "best of at most 2 federated rounds by validation loss, 1 seed. The paper: at most 300" in (
        cvb_report.caption(CHAPTER, "utility")
    )
    with pytest.raises(UnknownNameError, match="Unknown kind of caption 'privcy'. Did you mean 'privacy'"):
        cvb_report.caption(CHAPTER, "privcy")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"scales": []}, ParameterError, "No value is given for: bottleneck scale s"),
        ({"kernel_sizes": [2]}, ParameterError, "kernel_size must be odd"),
        ({"kl_betas": [1.0]}, ParameterError, r"kl_betas must be among betas .*, got \[1.0\]"),
        (
            {"sigma_rounds": [3]},
            ParameterError,
            r"sigma_rounds must be 0 to training_rounds \(2\), got \[3\]",
        ),
        ({"scale": "half"}, ParameterError, "'half' in .* is no number"),
        ({"kl": "exat"}, UnknownNameError, "Unknown form of the KL term 'exat'. Did you mean 'exact'"),
    ],
)
def test_what_the_plan_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        cvb.cells(**CHAPTER | changes)
