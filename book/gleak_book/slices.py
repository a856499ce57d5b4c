"""The chapter "Slice perturbation": Wang et al.'s figures (2022) in our names, the mean image, verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gleak_lib import datasets, metrics
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import Experiment, Results
from gleak_lib.extras import require
from gleak_lib.metrics import intervals

from gleak_book import paper
from gleak_book.benchmark_rows import Row
from gleak_book.claims import verdict as decided
from gleak_book.parity import machine

if TYPE_CHECKING:
    from pandas import DataFrame

NAMES = {
    "ours": "slices",
    "gc": "GC",
    "dp-gaussian": "DP-G",
    "dp-laplace": "DP-L",
    "pld": "PLD",
    "pld-muted": "PLD, muted",
}
MEAN_IMAGE = "mean image"
SHOWN = np.array([0.05, 0.25, 0.5, 1])  # of the rounds of a long training
AVERAGED = 5_000  # training images that the mean image is the mean of, at most


def table_ii() -> "DataFrame":
    """Return Table II: against (DGA, GIA), images, protection, psnr, ssim, accuracy, round_time (percent).

    "none" has the accuracy without a defense, and nothing else.
    """
    theirs: Any = paper.table("slices_table_ii").rename(
        {"dataset": "images", "round_time_increase_percent": "round_time"}, axis="columns"
    )
    theirs["against"] = theirs.pop("attack").str.upper()
    theirs["protection"] = theirs.pop("defense").map(NAMES)
    none = theirs.drop_duplicates(["against", "images"])[["against", "images", "accuracy_without_defense"]]
    none = none.rename({"accuracy_without_defense": "accuracy"}, axis="columns").assign(protection="none")
    return require("pandas", "metrics").concat([none, theirs.drop(columns="accuracy_without_defense")])


def table_iii(part: str) -> "DataFrame":
    """Return a part, A to E, of Table III: images, setting (what stands behind the equals sign), figures."""
    theirs: Any = paper.table("slices_table_iii").rename({"dataset": "images"}, axis="columns")
    theirs["setting"] = theirs["setting"].str.rpartition("=")[2]
    return theirs[theirs["part"] == part].drop(columns="part").reset_index(drop=True)


def mean_image(names: Sequence[str], victims: int, victim_seed: int, scaling: str) -> "DataFrame":
    """Return what an attacker scores who sends back the mean training image: images, victim, psnr, ssim."""
    parts = []
    for name in names:
        dataset = datasets.load(name)
        truth, _ = datasets.victims(dataset, victims, victim_seed)
        guess = dataset.train.images[:AVERAGED].mean(0).expand_as(truth)
        scores = metrics.score(guess, truth, scaling=scaling)  # type: ignore[arg-type]
        parts.append(scores.assign(images=name, victim=range(victims)))
    return require("pandas", "metrics").concat(parts)


def scored(frame: "DataFrame", by: Sequence[str], values: Sequence[str] = ("psnr", "ssim")) -> "DataFrame":
    """Return one row per value of `by`: means `v` over the victims, and `v_text` with the 95 % interval.

    Several runs on one victim, with other noise, count as one: their mean.
    """
    keys = [*by, "victim"]
    means: Any = frame.groupby(keys, sort=False, dropna=False)[list(values)].mean()
    each = means.reset_index()
    rows = []
    for place, those in each.groupby(list(by), sort=False, dropna=False):
        row: dict[str, Any] = dict(zip(by, place, strict=True))  # type: ignore[arg-type]
        for name in values:
            found = those[name].to_numpy(float)
            row[name] = float(found.mean())
            low, high = intervals.mean(found)
            row[f"{name}_text"] = intervals.said(row[name], low, high, 2 if name == "ssim" else 1)
        rows.append(row)
    return require("pandas", "metrics").DataFrame(rows)


def curves(
    results: Results, trainings: Mapping[tuple[Any, ...], Experiment], names: Sequence[str]
) -> "DataFrame":
    """Return the test accuracy of trainings in percent, a row per evaluated round.

    Args:
        results: of these trainings.
        trainings: by keys of as many parts as `names`.
        names: columns for these parts; round and accuracy follow.
    """
    rows = [
        (*key, number, 100 * share)
        for key, training in trainings.items()
        for number, share in enumerate(results[training].figures["test_accuracy"])
        if share is not None and not math.isnan(share)
    ]
    return require("pandas", "metrics").DataFrame(rows, columns=[*names, "round", "accuracy"])


def late(curves: "DataFrame") -> "DataFrame":
    """Return each training's mean accuracy over the evaluations in the last quarter of its rounds.

    Args:
        curves: images, protection, victim (of a training its seed), round, accuracy.
    """
    keys = ["images", "protection", "victim"]
    ends: Any = curves.groupby(keys)["round"].transform("max")
    last: Any = curves[curves["round"] >= 0.75 * ends].groupby(keys, sort=False)["accuracy"]
    return last.mean().reset_index()


def over_rounds(curves: "DataFrame", late: "DataFrame", theirs: "DataFrame") -> "DataFrame":
    """Return a line a training: accuracy after some rounds (NaN beyond its end), late, and in the source.

    Args:
        curves, late: see there; several seeds are averaged.
        theirs: images, protection, accuracy.
    """
    by, rounds = ["images", "protection"], curves["round"].to_numpy()
    some = sorted({min(rounds, key=lambda r, end=end: abs(r - end)) for end in rounds.max() * SHOWN})
    means: Any = curves[curves["round"].isin(some)].groupby([*by, "round"])["accuracy"].mean().unstack()
    table = scored(late, by, ["accuracy"]).merge(means.add_prefix("round ").reset_index(), on=by)
    known = theirs.set_index(by)["accuracy"].to_dict()
    table["theirs"] = [
        intervals.said(known.get((images, name), math.nan), math.nan, math.nan, 1)
        for images, name in table[by].to_numpy()
    ]
    table["late"] = table["accuracy_text"]
    shown: Any = table[[*by, *(f"round {r}" for r in some), "late", "theirs"]]
    return shown


def with_chance(frame: "DataFrame") -> "DataFrame":
    """Return trainings with those of the kind "none" once more, as the kind "chance": 100 / classes percent.

    Args:
        frame: kind, images, accuracy (percent), and whatever else tells trainings apart.
    """
    rows: Any = frame[frame["kind"] == "none"]
    chances = [100 / datasets.load(name).num_classes for name in rows["images"]]
    return require("pandas", "metrics").concat([frame, rows.assign(kind="chance", accuracy=chances)])


def wide(ours: "DataFrame", theirs: "DataFrame", value: str, digits: int) -> "DataFrame":
    """Return a line a protection, and for each image set our `value` with its interval beside theirs.

    Args:
        ours: from `scored`: images, protection, `value`_text.
        theirs: images, protection, `value`; rows of other images or protections are left out.
        value: name of the column.
        digits: decimals of theirs.
    """
    known = {(row["images"], row["protection"]): row[value] for row in theirs.to_dict("records")}
    lines: dict[str, dict[str, str]] = {}
    for row in ours.to_dict("records"):
        line = lines.setdefault(row["protection"], {"protection": row["protection"]})
        paper_value = known.get((row["images"], row["protection"]), math.nan)
        line[row["images"]] = row[f"{value}_text"]
        line[f"{row['images']}, theirs"] = intervals.said(paper_value, math.nan, math.nan, digits)
    return require("pandas", "metrics").DataFrame(list(lines.values())).fillna(intervals.MISSING)


def differences(frame: "DataFrame", one: str, other: str, value: str) -> np.ndarray:
    """Return `value` of the kind `one` minus that of the kind `other`, victim by victim of each image set.

    Args:
        frame: kind, images, victim (of a training its seed), `value`; several rows of a victim are averaged.
        one, other: kinds.
        value: name of the compared column.

    Raises:
        ParameterError: If there is no pair.
    """
    means: list[Any] = [
        frame[frame["kind"] == name].groupby(["images", "victim"])[value].mean() for name in (one, other)
    ]
    found = (means[0] - means[1]).dropna().to_numpy(float)
    if not len(found):
        raise ParameterError(f"No rows of {one!r} and {other!r} belong together.")
    return found


def verdict(low: float, high: float, at_least: float = -math.inf, at_most: float = math.inf) -> str:
    """Return what `claims.verdict` says, `does not` for short."""
    return decided(low, high, at_least, at_most).removesuffix(" hold")


@dataclass(frozen=True)
class Claim:
    """A sentence of the source, and the range in which the mean of our values must lie for it to hold.

    Attributes:
        text: the sentence, with the range.
        theirs: what the source's tables give.
        values: our values by the column in which they are shown; none is a dash.
        at_least, at_most: the range.
    """

    text: str
    theirs: str
    values: Mapping[str, np.ndarray]
    at_least: float = -math.inf
    at_most: float = math.inf


def claims(about: str, frame: "DataFrame", value: str, **words: float) -> list[Claim]:
    """Return the source's claims (`paper/slices_claims.csv`): how much a kind is above another.

    Args:
        about: `privacy`, `accuracy`, or `lasting`, the accuracy of long trainings.
        frame: kind, images, victim, `value`, and in which column a row is shown (`shown`); a claim has values
            in the columns that have its kinds.
        value: name of the column that the claims are about.
        words: what is written into sentences and kinds.
    """
    rows: Any = paper.table("slices_claims")
    found = []
    for row in rows[rows["about"] == about].to_dict("records"):
        one, other = (row[name].format(**words) for name in ("one", "other"))
        values = {
            str(shown): differences(those, one, other, value)
            for shown, those in frame.groupby("shown", sort=False)
            if {one, other} <= set(those["kind"])
        }
        bounds = {name: row[name] for name in ("at_least", "at_most") if not math.isnan(row[name])}
        found.append(Claim(row["claim"].format(**words), row["theirs"], values, **bounds))
    return found


def judged(claims: Sequence[Claim], digits: int = 1) -> "DataFrame":
    """Return a line a claim: claim, theirs, and by column our mean with its interval and the verdict."""
    columns = list(dict.fromkeys(name for claim in claims for name in claim.values))
    lines = []
    for claim in claims:
        line = {"claim": claim.text, "theirs": claim.theirs}
        for name in columns:
            values = claim.values.get(name)
            line[name] = line[f"{name}: verdict"] = intervals.MISSING
            if values is not None:
                low, high = intervals.mean(values)
                line[name] = intervals.said(float(np.mean(values)), low, high, digits)
                line[f"{name}: verdict"] = verdict(low, high, claim.at_least, claim.at_most)
        lines.append(line)
    return require("pandas", "metrics").DataFrame(lines)


def round_times(rows: Sequence[Row]) -> "DataFrame":
    """Return the measured round times; there is no row where nothing was measured.

    Returns:
        Columns machine, clients (of a round), protection, milliseconds, more, low, high (percent more than
        without a defense, with its interval), text (these three) and theirs (the range over Table II).
    """
    theirs: Any = table_ii().groupby("protection")["round_time"].agg(["min", "max"])
    lines = []
    for row in rows:
        if row.benchmark == "defended_rounds" and "seconds" in row.figures:
            name, figures = row.settings["method"], row.figures
            more = [100 * (figures[key] - 1) for key in ("relative", "low", "high")]
            known = theirs.loc[name] if name in theirs.index else None
            lines.append(
                {
                    "machine": machine(row),
                    "clients": row.settings["a_round"],
                    "protection": name,
                    "milliseconds": 1000 * figures["seconds"],
                    "more": more[0],
                    "low": more[1],
                    "high": more[2],
                    "text": intervals.said(*more) if name != "none" else intervals.MISSING,
                    "theirs": intervals.MISSING
                    if known is None or math.isnan(known["min"])
                    else f"{known['min']:.1f} to {known['max']:.1f}",
                }
            )
    columns = ["machine", "clients", "protection", "milliseconds", "more", "low", "high", "text", "theirs"]
    return require("pandas", "metrics").DataFrame(lines, columns=columns)
