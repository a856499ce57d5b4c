"""Tables and figures of the chapter "Breaking the bottleneck"."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gleak_lib.client_setup import short
from gleak_lib.experiments import frame, intervals, tables
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.fields import count
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require

from gleak_book import breaking, medical_report
from gleak_book.breaking import Line

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

Results = Mapping[Cell, Result]
Row = tuple[dict[str, Any], Sequence[AttackCell]]
"""What a row is about, and its cells, one a model."""

STUCK = 2.0  # times the loss at the truth from which on an attack counts as stuck
SCORES = {"ssim_text": "SSIM", "asr_text": "ASR %"}
OPTIMIZED = {"loss": "loss", "loss_at_truth": "loss at the truth", "stuck": "stuck %"}
RECOVERED = {"noise_correlation": "noise recovered (r)"}


def table(rows: Iterable[Row], parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a line a row: its own columns, pooled scores with 95 % intervals, how far it got.

    Returns:
        The rows' columns; victims; ssim, asr with `_low` and `_high`, and as texts `ssim_text`, `asr_text`;
        psnr (dB, median, of images as they are); loss and loss_at_truth (medians), stuck (percent of the
        victims whose loss is above twice that at the truth), noise_correlation (mean).
    """
    found = []
    for about, cells in rows:
        pooled = [results[cell] for cell in cells]
        line = tables.attack_table(frame(pooled, scaling=parameters["scaling"]), "kind").iloc[0].to_dict()
        line["ssim_text"] = intervals.said(line["ssim"], line["ssim_low"], line["ssim_high"], 2)
        line["asr_text"] = intervals.said(line["asr"], line["asr_low"], line["asr_high"])
        line["psnr"] = float(np.median(tables.pool(r.figures["scores"]["none"]["psnr"] for r in pooled)))
        del line["psnr_std"]  # no deviation of medians
        line["stuck"] = _stuck(pooled)
        found.append({**line, **about})
    return require("pandas", "metrics").DataFrame(found)


def rows_of(lines: Iterable[Line]) -> list[Row]:
    """Return a row for each attack on each network: columns label and method."""
    return [
        ({"label": line.label, "method": name}, cells)
        for line in lines
        for name, cells in line.attacks.items()
    ]


def first_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return every attack on the networks of the first table."""
    return table(rows_of(breaking.first(parameters)), parameters, results)


def grid_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return positions and sizes under Ignore and `joint`."""
    return table(rows_of(breaking.grid(parameters)), parameters, results)


def trained_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return the attacks on trained weights: columns label, rounds, method; clients without noise last."""
    rows = [
        ({"label": line.label, "rounds": r, "method": name}, cells)
        for r, lines in breaking.trained(parameters).items()
        for line in lines
        for name, cells in line.attacks.items()
    ]
    last = max(parameters["rounds"])
    rows += [({**about, "rounds": last}, cells) for about, cells in rows_of(breaking.silent(parameters))]
    return table(rows, parameters, results)


def trained_plot(frame: "DataFrame") -> "DataFrame":
    """Return what `plots.intervals` takes of `trained_table`, a line a network and round."""
    shown = for_plot(frame)
    shown["label"] = [
        f"{label}\n{_weights(r)}" for label, r in zip(frame["label"], frame["rounds"], strict=True)
    ]
    order = {label: place for place, label in enumerate(dict.fromkeys(frame["label"]))}
    places = sorted(range(len(frame)), key=lambda i: (order[frame["label"][i]], frame["rounds"][i]))
    return shown.iloc[places].reset_index(drop=True)


def noise_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return sigma and mu of the trained bottlenecks by round, means over the models.

    Returns:
        Columns label, rounds, sigma (mean), mu (root mean square), ratio (mu / sigma), similarity (cosine of
        two gradients of the true image under other noise, all groups' mean).
    """
    rows = []
    for (label, r), cells in breaking.sigmas(parameters).items():
        figures = [results[cell].figures for cell in cells]
        sigma, mu = (float(np.mean([f[name] for f in figures])) for name in ("sigma", "mu"))
        similar = float(np.mean([np.mean(f["similarity"]) for f in figures]))
        about = {"label": label, "rounds": r}
        rows.append(about | {"sigma": sigma, "mu": mu, "ratio": mu / sigma, "similarity": similar})
    return require("pandas", "metrics").DataFrame(
        rows, columns=["label", "rounds", "sigma", "mu", "ratio", "similarity"]
    )


def variants_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return the variants of `joint`."""
    rows = [({"label": name}, cells) for name, cells in breaking.variants(parameters).items()]
    return table(rows, parameters, results)


def sets_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return the image sets under Ignore and `joint`, each with the CVB that 001 chose for it."""
    rows = [
        ({"label": medical_report.title(dataset), "network": line.label, "method": name}, cells)
        for dataset, line in breaking.sets(parameters).items()
        for name, cells in line.attacks.items()
    ]
    return table(rows, parameters, results)


def architectures_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return the larger models under IG without a bottleneck, and under Ignore and `joint` with 001's CVB."""
    rows = [
        ({"label": f"{model}, {line.label}", "method": name}, cells)
        for model, line in breaking.architectures(parameters)
        for name, cells in line.attacks.items()
    ]
    return table(rows, parameters, results)


def patches_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return the closed form on vision transformers: columns label, shared, and the scores."""
    rows = []
    for (label, r, shared), cells in breaking.patches(parameters).items():
        weights = f"weights {_weights(r)} on {cells[0].dataset_name}" if r else shared
        rows.append(({"label": label, "shared": weights}, cells))
    return table(rows, parameters, results)


def limits_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return `joint` where it is harder; `labels` is the percentage of them that was right."""
    groups = breaking.limits(parameters)
    frame = table([({"label": name}, cells) for name, cells in groups.items()], parameters, results)
    shares = [
        tables.pool([[results[c].figures.get("label_accuracy")] for c in cells]) for cells in groups.values()
    ]
    frame["labels"] = [100 * float(share.mean()) for share in shares]
    return frame


def for_plot(frame: "DataFrame", value: str = "asr") -> "DataFrame":
    """Return the columns that `plots.intervals` takes, for `asr` or `ssim`."""
    names = {value: "value", f"{value}_low": "low", f"{value}_high": "high"}
    return frame.loc[:, ["label", "method", *names]].rename(names, axis="columns")


def pictures(lines: Sequence[Line], results: Results, number: int = 0) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals of model `number`, and what each attack on each network made of them.

    Networks have names that are short enough for a figure (`client_setup.short`). Where an attack had fewer
    victims than others, the first victims of all are returned, which are the same images.
    """
    names = short([line.label for line in lines])
    found = {
        f"{network}: {name}": results[cells[number]]
        for network, line in zip(names, lines, strict=True)
        for name, cells in line.attacks.items()
    }
    images = {label: result.images("reconstruction") for label, result in found.items()}
    fewest = min(map(len, images.values()))
    originals = next(iter(found.values())).images("truth")[:fewest]
    return originals, {label: some[:fewest] for label, some in images.items()}


def headline(
    parameters: Mapping[str, Any], results: Results
) -> "tuple[Tensor, dict[str, Tensor], dict[str, str]]":
    """Return what the introduction shows: the last network of the first table, under two attacks.

    Returns:
        The originals of the first model; what Ignore (IG where there is no bottleneck) and `joint` made of
        them; and texts by name: `network`, `dataset`, `profile`, `images` and `models` (how many), and the
        success rates in percent with 95 % intervals, `published` and `joint`.
    """
    line = breaking.first(parameters)[-1]
    published = breaking.IGNORE if breaking.IGNORE in line.attacks else breaking.IG
    shown = Line(line.label, line.protection, {n: line.attacks[n] for n in (published, breaking.JOINT)})
    originals, rows = pictures([shown], results)
    titles = (f"“protected”: {published}", f"recovered: {breaking.JOINT}")
    frame = table(rows_of([shown]), parameters, results)
    models, victims = parameters["seeds"], parameters["victims"]
    numbers = {"network": line.label, "dataset": parameters["dataset"], "profile": parameters["profile"]}
    numbers |= {"images": str(victims * models), "models": count(models, "model")}
    numbers |= {
        key: tables.quote(frame, "asr_text", method=name)
        for key, name in (("published", published), ("joint", breaking.JOINT))
    }
    return originals, dict(zip(titles, rows.values(), strict=True)), numbers


def caption(parameters: Mapping[str, Any], victims: int, steps: int) -> str:
    """Return what belongs above a table: profile, victims, models, steps, and what the brackets are."""
    models = parameters["seeds"]
    return (
        f"Profile {parameters['profile']}, {parameters['dataset']}: {victims * models} victims on {models} "
        f"models ({victims} each), {steps:,} steps. In brackets 95 % intervals over the victims."
    )


def _stuck(results: Sequence[Result]) -> float:
    if not all("loss_at_truth" in result.figures for result in results):
        return np.nan
    loss, least = (tables.pool(r.figures[name] for r in results) for name in ("loss", "loss_at_truth"))
    return 100 * float(np.mean(loss > STUCK * least))


def _weights(rounds: int) -> str:
    return f"after {count(rounds, 'round')}" if rounds else "fresh weights"
