"""Tables and figures of the chapter "CVB hyper-parameters", ours beside 001 Table VIII."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gleak_lib.errors import unknown
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require

from gleak_book import cvb, paper_cells

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

Results = Mapping[Cell, Result]

PRIVACY_COLUMNS = {
    "label": "defense",
    "ssim": "SSIM",
    "ssim_paper": "paper's SSIM",
    "ssim_mark": "SSIM is",
    "asr": "ASR %",
    "asr_paper": "paper's ASR %",
    "asr_mark": "ASR is",
    "lpips": "LPIPS",
    "lpips_paper": "paper's LPIPS",
}
UTILITY_COLUMNS = {
    "label": "defense",
    "increase": "more parameters %",
    "accuracy": "accuracy %",
    "gain": "against no defense",
    "accuracy_paper": "paper's accuracy %",
    "gain_paper": "against no defense (paper)",
}
KL_COLUMNS = {
    "beta": "β",
    "kl": "KL term",
    "accuracy": "accuracy %",
    "ssim": "SSIM",
    "asr": "ASR %",
    "sigma": "mean σ, by round",
    "mu": "RMS μ, by round",
}


def table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return Table VIII: a line a setting, ours with the paper's figures.

    Returns:
        What `paper_cells.table` gives, and `increase` (more parameters than without bottleneck, percent),
        `gain` and `gain_paper` (accuracy minus that without bottleneck, points).
    """
    scale = cvb.scale_of(parameters)
    frame = paper_cells.table(cvb.rows(**parameters), scale, results, scaling=parameters["scaling"])
    frame["increase"] = 100 * (frame["parameters"] / frame["parameters"].iloc[0] - 1)
    for name in ("accuracy", "accuracy_paper"):
        frame[name.replace("accuracy", "gain")] = frame[name] - frame[name].iloc[0]
    return frame


def sweep(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return what `figures.dual` takes: a line a point of an axis (001 Fig. 9).

    Returns:
        Columns panel, value; gain and ssim, with `_std`, `_paper` and `_paper_std`.
    """
    frame = table(parameters, results).set_index("label")
    columns = ["gain", "gain_paper", "ssim", "ssim_std", "ssim_paper", "ssim_paper_std"]
    rows = [
        {"panel": name, "value": point.value, **frame.loc[point.row.label, columns].to_dict()}
        for name, points in cvb.axes(**parameters).items()
        for point in points
    ]
    return require("pandas", "metrics").DataFrame(rows)


def baseline(parameters: Mapping[str, Any], results: Results) -> dict[str, float]:
    """Return the figures without bottleneck, for the dashed lines of `figures.dual`."""
    first = table(parameters, results).iloc[0]
    return {"gain": 0.0, "ssim": float(first["ssim"])}


def kl_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a line a weight and form of the KL term: accuracy, attack, and what becomes of sigma and mu.

    Returns:
        Columns beta, kl; accuracy, accuracy_std, ssim, ssim_std, asr; sigma and mu as texts, a value a round
        of `sigma_rounds`.
    """
    rows = cvb.kl_rows(**parameters)
    sigmas = cvb.sigmas(**parameters)
    lines = []
    for row in rows:
        for kl in cvb.KL_FORMS:
            scale = cvb.scale_of(parameters, kl)
            ours = paper_cells.table([row], scale, results, scaling=parameters["scaling"]).iloc[0]
            found = [results[sigmas[kl, row, r]].figures for r in parameters["sigma_rounds"]]
            line = {"beta": row.settings["beta"], "kl": kl}
            line |= {n: ours[n] for n in ("accuracy", "accuracy_std", "ssim", "ssim_std", "asr")}
            line |= {n: " → ".join(f"{f[n][0]:.2f}" for f in found) for n in ("sigma", "mu")}
            lines.append(line)
    return require("pandas", "metrics").DataFrame(lines)


def pictures(
    parameters: Mapping[str, Any], results: Results, axis: str
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals, and the reconstructions without bottleneck and along an axis.

    Raises:
        UnknownNameError: no such axis.
    """
    axes = cvb.axes(**parameters)
    if axis not in axes:
        raise unknown("axis", axis, axes)
    scale = cvb.scale_of(parameters)
    rows = {"no bottleneck": cvb.baseline(**parameters)}
    rows |= {f"{axis.split()[-1]} = {point.value}": point.row for point in axes[axis]}
    found = {name: results[paper_cells.attack(row, scale)] for name, row in rows.items()}
    originals = found["no bottleneck"].images("truth")
    return originals, {name: result.images("reconstruction") for name, result in found.items()}


def caption(parameters: Mapping[str, Any], what: str) -> str:
    """Return what belongs above a table, see `paper_cells.caption`."""
    return paper_cells.caption(cvb.scale_of(parameters), parameters, what)


def kl_caption(parameters: Mapping[str, Any]) -> str:
    """Return what belongs above `kl_table`."""
    rounds = ", ".join(map(str, parameters["sigma_rounds"]))
    return (
        f"{caption(parameters, 'utility')} σ and μ on {parameters['victims']} images after rounds {rounds}."
    )
