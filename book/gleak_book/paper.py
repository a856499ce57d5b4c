"""The papers' figures, and ours beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gleak_lib.errors import ParameterError, unknown
from gleak_lib.extras import require

if TYPE_CHECKING:
    from pandas import DataFrame

FOLDER = Path(__file__).parent / "paper"


def table(name: str) -> "DataFrame":
    """Return figures copied from a source, for instance `table("cvb_table_ii")`.

    Raises:
        UnknownNameError: no such table (the message lists what there is).
    """
    file = FOLDER / f"{name}.csv"
    if not file.is_file():
        raise unknown("table", name, sorted(path.stem for path in FOLDER.glob("*.csv")))
    with file.open(encoding="utf-8") as lines:  # "none" is a value of these tables, not a gap
        return require("pandas", "metrics").read_csv(lines, keep_default_na=False, na_values=[""])


def beside(
    ours: "DataFrame",
    theirs: "DataFrame",
    *,
    on: str | Sequence[str] = "label",
    values: Sequence[str],
) -> "DataFrame":
    """Return our rows with the paper's figures and the difference, for each of `values`.

    A row that the paper lacks keeps its place with gaps. For a value v the columns are v (and v_std), v_paper
    (and v_paper_std, where there is one) and v_difference = v - v_paper.

    Args:
        ours: from `tables.attack_table` or `training_table`, or both merged.
        theirs: from `table`, with the columns of `on` added where it lacks them.
        on: the column(s) by which rows belong together.
        values: columns that both have.

    Raises:
        ParameterError: a column is missing, or the paper's rows are not unique.
    """
    keys = [on] if isinstance(on, str) else list(on)
    for frame, whose in ((ours, "our table"), (theirs, "the paper's table")):
        lacking = [column for column in (*keys, *values) if column not in frame]
        if lacking:
            raise ParameterError(f"{whose} lacks {', '.join(lacking)}; it has {', '.join(frame)}.")
    if theirs.duplicated(keys).any():
        raise ParameterError(
            f"The paper's table has several rows with the same {', '.join(keys)}: pick some."
        )
    stds = [f"{name}_std" for name in values if f"{name}_std" in theirs]
    renamed = {name: f"{name}_paper" for name in values} | {name: f"{name[:-4]}_paper_std" for name in stds}
    merged = ours.merge(
        theirs[[*keys, *values, *stds]].rename(renamed, axis="columns"),
        on=keys,
        how="left",
    )
    columns = list(ours.columns)
    for name in values:
        merged[f"{name}_difference"] = merged[name] - merged[f"{name}_paper"]
        added = [f"{name}_paper", f"{name}_paper_std", f"{name}_difference"]
        after = f"{name}_std" if f"{name}_std" in columns else name
        place = columns.index(after) + 1
        columns[place:place] = [column for column in added if column in merged]
    return merged.loc[:, columns]


def lpips_columns(frame: "DataFrame") -> dict[str, str]:
    """Return the columns of LPIPS as `tables.show` takes them: ours where any result has it, and the paper's.

    Args:
        frame: from `beside`, with `lpips` and `lpips_paper`.
    """
    return ({"lpips": "LPIPS"} if frame["lpips"].notna().any() else {}) | {"lpips_paper": "paper's LPIPS"}


def lpips_note(frame: "DataFrame") -> str:
    """Return what a page says of our LPIPS: why it is missing, or of what it is."""
    if frame["lpips"].notna().any():
        return (
            "LPIPS is computed of images in [0, 1], as the paper's code passes them; a dash is a row without "
            "it, computed before its weights were at hand or not at all."
        )
    return (
        "Our LPIPS is missing, and so is its column: the package `lpips`, or the weights of its backbone, "
        "were not at hand when the attacks were run."
    )


def sides(frame: "DataFrame", value: str, *, ours: str = "ours", theirs: str = "paper") -> "DataFrame":
    """Return both figures of each row as `plots.intervals` takes them, their deviations as intervals.

    Args:
        frame: from `beside`: columns `label`, v, v_paper, and maybe v_std, v_paper_std; NaN where there is
            none.
        value: v.
        ours, theirs: the legend's texts; that of ours should say the profile and the number of victims.
    """
    pandas = require("pandas", "metrics")
    parts = []
    for method, column in ((ours, value), (theirs, f"{value}_paper")):
        found, std = frame[column], frame.get(f"{column}_std", float("nan"))
        part = {"label": frame["label"], "method": method, "value": found}
        parts.append(pandas.DataFrame(part | {"low": found - std, "high": found + std}))
    return pandas.concat(parts, ignore_index=True)
