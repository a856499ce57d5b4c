"""Cells and tables of the chapter "How gradients leak" (001 Tables III and IX; 002 on batches and labels)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gleak_lib.attacks import ATTACKS, Attack, Inferred
from gleak_lib.bottlenecks import CVB, Bottleneck
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import tables
from gleak_lib.experiments.specs.animation import MovieCell
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.label_inference import LabelCell
from gleak_lib.experiments.specs.training import TrainingCell
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require
from gleak_lib.federated import Protocol

from gleak_book import paper, source_form
from gleak_book.paper_rows import coded, named_attack

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

NAMES = {
    "idlg": "iDLG",
    "idlg-code": "iDLG, as coded",
    "cpl": "CPL",
    "cpl-code": "CPL, as coded",
    "ig": "IG",
}
PAPERS = {"position": 1, "kernel_size": 5, "scale": 0.5, "beta": 0.1, "model": "cnn"}  # 001 Table III's CVB
Results = Mapping[Cell, Result]

# what the chapter shows of each table, and how it calls it
_SCORES = {"ssim": "SSIM", "psnr": "PSNR dB", "asr": "ASR %"}
LADDER_COLUMNS = {"label": "attack", **_SCORES, "found": "label found %", "steps": "steps (median)"}
TABLE_III_COLUMNS = {
    "defense": "defense",
    "method": "attack",
    "ssim": "SSIM",
    "ssim_paper": "paper's SSIM",
    "asr": "ASR %",
    "asr_paper": "paper's ASR %",
}
BATCH_COLUMNS = {
    "batch": "images a batch",
    "unknowns": "unknown pixels",
    "entries": "known entries",
    **_SCORES,
    "loss": "median loss",
}
LABEL_COLUMNS = {
    "defense": "defence",
    "batch": "images per batch",
    "distinct": "GradInversion %, distinct classes",
    "random": "GradInversion %, random images",
    "ceiling": "possible with that rule %",
    "counts": "counts %, random images",
}
MORE_THAN_CLASSES = 16  # images in a batch of ten classes


class Row(NamedTuple):
    """One attack of a table."""

    label: str
    cell: AttackCell


def training(dataset: str, protected: bool, **chapter: Any) -> TrainingCell:
    """Return the fresh weights that are attacked, with the chapter's CVB or without."""
    spec: tuple[Bottleneck, ...] = ()
    if protected:
        size, scale = chapter["kernel_size"], chapter["scale"]
        spec = (CVB(chapter["position"], kernel_size=size, scale=scale, beta=chapter["beta"]),)
    return TrainingCell(
        dataset,
        chapter["model"],
        bottlenecks=spec,
        protocol=Protocol(rounds=0),
        seed=chapter["seed"],
        statistics=source_form.statistics(dataset),
    )


def budget(attack: Attack, steps: int, lbfgs_steps: int, plateau: int, **_others: Any) -> Attack:
    """Return the attack with the chapter's steps; L-BFGS keeps its own plateau."""
    if attack.kind == "lbfgs":
        return attack.replace(max_steps=lbfgs_steps)
    return attack.replace(max_steps=steps, drop_after=plateau)


def ladder(**chapter: Any) -> list[Row]:
    """Return DLG, iDLG, CPL and IG on the same victims, and what lies between CPL and IG, a change a row."""
    adam = ATTACKS["ig"].replace(distance="l2", signed=False, tv=0.0)
    steps = {
        "DLG": ATTACKS["dlg"],
        "DLG + label inferred": ATTACKS["dlg"].replace(labels=Inferred()),
        "iDLG (short steps, box)": ATTACKS["idlg"],
        "CPL (label term, no box)": ATTACKS["cpl"],
        "iDLG + Adam": adam,
        "… + cosine distance": adam.replace(distance="cosine"),
        "… + sign of the gradient": adam.replace(distance="cosine", signed=True),
        "… + total variation = IG": ATTACKS["ig"],
    }
    return [Row(label, _cell(attack, chapter["dataset"], False, chapter)) for label, attack in steps.items()]


def table_iii(**chapter: Any) -> dict[tuple[str, str, str], AttackCell]:
    """Return the cells of 001 Table III by image set, defence (none or CVB) and attack.

    Ours stand there beside the forms of the CVB paper's code, as far as these differ (`paper_rows.coded`):
    CPL everywhere, iDLG on the CVB.
    """

    def attack(name: str, defense: str) -> Attack:
        base, _, form = name.partition("-")
        found = named_attack(f"{base}+ignore" if defense == "CVB" else base)
        return coded(found) if form else found

    return {
        (dataset, defense, name): _cell(attack(name, defense), dataset, defense == "CVB", chapter)
        for dataset in chapter["datasets"]
        for defense in ("none", "CVB")
        for name in NAMES
        if (defense, name) != ("none", "idlg-code")
    }


def batches(**chapter: Any) -> dict[int, AttackCell]:
    """Return IG on the same images, shared in batches of each size.

    Raises:
        ParameterError: the images do not fill the batches.
    """
    images, sizes = chapter["batch_images"], chapter["batch_sizes"]
    if uneven := [size for size in sizes if size < 1 or images % size]:
        raise ParameterError(f"batch_images={images} cannot be shared in batches of {uneven}.")
    attack = ATTACKS["ig"].replace(max_steps=chapter["batch_steps"], drop_after=chapter["plateau"])
    return {
        size: AttackCell(
            training(chapter["dataset"], False, **_without(chapter, "dataset")),
            attack=attack,
            victims=images // size,
            batch_size=size,
            victim_seed=chapter["victim_seed"],
            seed=chapter["seed"],
        )
        for size in sizes
    }


def labels(**chapter: Any) -> dict[tuple[str, str, int], LabelCell]:
    """Return the label rules by defense, kind of batch and batch size.

    The kinds are distinct classes and random images, both by GradInversion's rule, and random images by
    counts, which alone take batches of more images than classes.
    """
    return {
        (defense, kind, size): LabelCell(
            training(chapter["dataset"], defense == "CVB", **_without(chapter, "dataset")),
            victims=chapter["label_batches"],
            batch_size=size,
            distinct=kind == "distinct",
            victim_seed=chapter["victim_seed"],
            seed=chapter["seed"],
            rule="counts" if kind == "counts" else "gradinversion",
        )
        for defense in ("none", "CVB")
        for kind in ("distinct", "random", "counts")
        for size in _label_sizes(kind, chapter["batch_sizes"])
    }


def _label_sizes(kind: str, sizes: Sequence[int]) -> list[int]:
    if kind == "counts":
        return [*(size for size in sizes if size > 1), MORE_THAN_CLASSES]
    return list(sizes)


def movie(**chapter: Any) -> MovieCell:
    """Return the cell behind the animation: IG on the first victims."""
    return MovieCell(
        training(chapter["dataset"], False, **_without(chapter, "dataset")),
        attack=budget(ATTACKS["ig"], **_without(chapter, "dataset")),
        victims=min(chapter["movie_victims"], chapter["victims"]),
        frames=chapter["frames"],
        victim_seed=chapter["victim_seed"],
        seed=chapter["seed"],
    )


def cells(**chapter: Any) -> list[Cell]:
    """Return every cell of the chapter, each once."""
    found: list[Cell] = [row.cell for row in ladder(**chapter)]
    found += [*table_iii(**chapter).values(), *batches(**chapter).values(), *labels(**chapter).values()]
    return list(dict.fromkeys([*found, movie(**chapter)]))


def ladder_table(chapter: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row an attack: scores, and seconds by victim."""
    rows = ladder(**chapter)
    frame = tables.attack_table({row.label: results[row.cell] for row in rows}, scaling=chapter["scaling"])
    frame["seconds"] = [results[row.cell].provenance["seconds"] / row.cell.victims for row in rows]
    frame["found"] = [100 * results[row.cell].figures.get("label_accuracy", np.nan) for row in rows]
    return frame


def ladder_pictures(
    chapter: Mapping[str, Any], results: Results, labels_: Sequence[str]
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals and the reconstructions of some rows of the ladder."""
    found = {
        row.label: results[row.cell] for row in ladder(**chapter) if row.label.startswith(tuple(labels_))
    }
    originals = next(iter(found.values())).images("truth")
    pictures = {_short(label): result.images("reconstruction") for label, result in found.items()}
    return originals, pictures


def ladder_traces(
    chapter: Mapping[str, Any], results: Results, distance: str
) -> "dict[str, tuple[Tensor, Tensor]]":
    """Return the loss traces of the ladder's attacks with one distance: other losses differ in kind."""
    return {
        _short(row.label): results[row.cell].trace()
        for row in ladder(**chapter)
        if row.cell.attack.settings["distance"] == distance
        and (distance != "l2" or row.cell.attack.kind == "lbfgs")
    }


def table_iii_table(chapter: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return 001 Table III, ours with the paper's figures; its one CPL stands beside both of ours."""
    found = table_iii(**chapter)
    pick = {_label(*key): results[cell] for key, cell in found.items()}
    ours = tables.attack_table(pick, scaling=chapter["scaling"])
    for place, column in enumerate(("images", "defense", "method")):
        ours.insert(place, column, [_words(key)[place] for key in found])
    rows = []
    for row in paper.table("cvb_tables_viii_to_xii").to_dict("records"):
        if row["table"] != "IX":
            continue
        name = str(row["attack"]).removesuffix("+ignore")
        for ours_ in (form for form in (name, f"{name}-code") if form in NAMES):
            label = _label(str(row["dataset"]), "none" if row["defense"] == "none" else "CVB", ours_)
            rows.append({**row, "label": label})
    frame = require("pandas", "metrics").DataFrame(rows)
    if any(chapter[name] != value for name, value in PAPERS.items()):
        frame = frame.iloc[:0]
    return paper.beside(ours, frame, values=["ssim", "psnr", "asr"])


def batch_table(chapter: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a batch size: scores of the same images, each matched with its reconstruction."""
    found = batches(**chapter)
    frame = tables.attack_table(
        {str(size): results[cell] for size, cell in found.items()}, scaling=chapter["scaling"]
    )
    frame.insert(0, "batch", list(found))
    pixels = [results[cell].images("truth")[0].numel() for cell in found.values()]
    frame.insert(1, "unknowns", [size * count for size, count in zip(found, pixels, strict=True)])
    return frame


def batch_pictures(chapter: Mapping[str, Any], results: Results) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the first images, and what IG found of them in batches of each size."""
    found = batches(**chapter)
    pictures = {f"B = {size}": results[cell].images("reconstruction") for size, cell in found.items()}
    return results[next(iter(found.values()))].images("truth"), pictures


def label_table(chapter: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row per batch size and defense: labels found in percent, by rule and kind of batch.

    `ceiling` is the share of classes in random batches that stand for an image each: GradInversion's rule
    names every class once at most, so it can find no more. One image has the sign rule.
    """
    found = labels(**chapter)

    def percent(defense: str, kind: str, size: int) -> float:
        cell = found.get((defense, kind, size))
        return np.nan if cell is None else 100 * float(np.mean(results[cell].figures["accuracy"]))

    rows = []
    for defense in ("none", "CVB"):
        for size in dict.fromkeys(size for _, _, size in found):
            known = results[found.get((defense, "random", size)) or found[defense, "counts", size]].figures
            rows.append(
                {
                    "defense": defense,
                    "batch": size,
                    "distinct": percent(defense, "distinct", size),
                    "random": percent(defense, "random", size),
                    "ceiling": 100 * float(np.mean(known["classes"])) / size,
                    "counts": percent(defense, "counts", size),
                }
            )
    return require("pandas", "metrics").DataFrame(rows)


def animated(
    chapter: Mapping[str, Any], results: Results
) -> "tuple[Tensor, Tensor, list[int], list[list[float]]]":
    """Return what `plots.animation` takes: originals, frames, steps, losses."""
    result = results[movie(**chapter)]
    originals, frames = result.images("truth"), result.images("frames")
    steps, losses = result.figures["steps"], result.figures["loss"]
    return originals, frames.unflatten(0, (len(steps), len(originals))), steps, losses


def caption(chapter: Mapping[str, Any], what: str = "attack") -> str:
    """Return what belongs above a table: profile, images, weights, steps, scaling.

    Args:
        chapter: all parameters.
        what: `attack` (the ladder), `paper` (Table III), `batch` or `labels`.
    """
    images = f"from {chapter['dataset']}"
    scaled = "each image min–max scaled" if chapter["scaling"] == "minmax" else "images scored as they are"
    steps = f"at most {chapter['lbfgs_steps']:,} steps of L-BFGS or {chapter['steps']:,} of Adam, {scaled}"
    tail = {
        "attack": f"{chapter['victims']} victims {images}, fresh weights, {steps}",
        "paper": f"{chapter['victims']} victims an image set, fresh weights, {steps}",
        "batch": f"the same {chapter['batch_images']} images {images} in every row, fresh weights, at most "
        f"{chapter['batch_steps']:,} steps, {scaled}",
        "labels": f"{chapter['label_batches']} batches a figure {images}, fresh weights, no attack",
    }
    return f"Profile {chapter['profile']}: {tail[what]}."


def _cell(attack: Attack, dataset: str, protected: bool, chapter: Mapping[str, Any]) -> AttackCell:
    others = _without(chapter, "dataset")
    return AttackCell(
        training(dataset, protected, **others),
        attack=budget(attack, **others),
        victims=chapter["victims"],
        victim_seed=chapter["victim_seed"],
        seed=chapter["seed"],
    )


def _without(chapter: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in chapter.items() if key != name}


def _words(key: tuple[str, str, str]) -> tuple[str, str, str]:
    return key[0], key[1], NAMES[key[2]]


def _label(*key: str) -> str:
    return ", ".join(_words((key[0], key[1], key[2])))


def _short(label: str) -> str:
    """`IG` of a label that tells what makes it one."""
    return label.rpartition("= ")[2]
