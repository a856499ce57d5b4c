"""Cells and tables of the chapter "The Ignore attack" (001 §III-B and C, Tables I and II, Fig. 7)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gleak_lib import models
from gleak_lib.attacks import ATTACKS, Attack
from gleak_lib.bottlenecks import BOTTLENECKS, CVB, PRECODE, BottleneckSpec
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import tables
from gleak_lib.experiments.cells import AttackCell, Cell, TrainingCell
from gleak_lib.experiments.result import Result
from gleak_lib.experiments.spread import SpreadCell
from gleak_lib.extras import require
from gleak_lib.federated import Protocol

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

PAPER_NAMES = {"stage1": "G1", "stage2": "G2", "stage3": "G3", "head": "G4"}  # 001 Table I
LOOKS = ("profile", "scaling", "examples")  # parameters that decide no cell
Results = Mapping[Cell, Result]


class Row(NamedTuple):
    """One row of Table I: which gradients are matched, on which model."""

    position: int | None  # None: no bottleneck
    mask: str  # "all", "all but GD", ..., "before the decoder"
    matched: str  # the groups that are matched, in 001's names
    cell: AttackCell

    @property
    def label(self) -> str:
        """Name of the row for people."""
        return f"P={self.position}: {self.matched}" if self.position else f"no bottleneck: {self.matched}"


def specification(bottleneck: str, position: int, size: float, beta: float) -> BottleneckSpec:
    """Return the bottleneck at a position; `size` is PRECODE's k or the CVB's kernel size.

    Raises:
        UnknownNameError: a bottleneck that there is not.
    """
    if BOTTLENECKS[bottleneck] is PRECODE:
        return PRECODE(position, k=int(size), beta=beta)
    return CVB(position, kernel_size=int(size), beta=beta)


def trainings(
    *,
    dataset: str,
    model: str,
    bottleneck: str,
    positions: Sequence[int],
    sizes: Sequence[int],
    beta: float,
    training_rounds: int,
    rounds: Sequence[int],
    seed: int,
    seeds: int,
    **_others: Any,
) -> dict[int | None, list[TrainingCell]]:
    """Return the trainings by position (None: without bottleneck), one a seed.

    Raises:
        ParameterError: as many sizes as positions are needed.
    """
    if len(sizes) != len(positions):
        raise ParameterError(f"sizes needs one value a position: {list(positions)}, got {list(sizes)}.")
    if too_far := [r for r in rounds if r > training_rounds]:
        raise ParameterError(f"rounds {too_far} come after the last of {training_rounds} training_rounds.")
    specs: dict[int | None, tuple[BottleneckSpec, ...]] = {None: ()}
    for position, size in zip(positions, sizes, strict=True):
        specs[position] = (specification(bottleneck, position, size, beta),)
    keep = tuple(r for r in rounds if r)
    protocol = Protocol(rounds=training_rounds)
    return {
        position: [
            TrainingCell(dataset, model, bottlenecks=spec, protocol=protocol, seed=s, keep=keep)
            for s in range(seed, seed + seeds)
        ]
        for position, spec in specs.items()
    }


def table_i(
    *,
    rounds: Sequence[int],
    victims: int,
    steps: int,
    tv: float,
    plateau: int,
    seed: int,
    victim_seed: int,
    partial: Sequence[int],
    **chapter: Any,
) -> dict[int, list[Row]]:
    """Return the rows of Table I by the round whose weights are attacked; for the first model seed."""
    chapter = {name: value for name, value in chapter.items() if name not in LOOKS}
    found = trainings(rounds=rounds, seed=seed, **chapter)
    budget = {"max_steps": steps, "tv": tv, "plateau": plateau}
    return {
        r: [
            Row(
                position,
                mask,
                matched,
                AttackCell(
                    trained[0],
                    rounds=r,
                    attack=attack.replace(**budget),
                    victims=victims,
                    victim_seed=victim_seed,
                    seed=seed,
                ),
            )
            for position, trained in found.items()
            for mask, matched, attack in _masks(trained[0], position)
            if not mask.startswith("all but") or position in partial
        ]
        for r in rounds
    }


def spreads(
    *, rounds: Sequence[int], victims: int, seed: int, victim_seed: int, **chapter: Any
) -> dict[tuple[int, int], SpreadCell]:
    """Return by (position, round) how far the noise spreads the gradients of the true images."""
    known = {n: v for n, v in chapter.items() if n not in (*LOOKS, "steps", "tv", "plateau", "partial")}
    found = trainings(rounds=rounds, seed=seed, **known)
    return {
        (position, r): SpreadCell(trained[0], r, victims=victims, victim_seed=victim_seed, seed=seed)
        for position, trained in found.items()
        if position is not None
        for r in rounds
    }


def cells(**parameters: Any) -> list[Cell]:
    """Return every cell of the chapter."""
    rows = [row.cell for rows in table_i(**parameters).values() for row in rows]
    trained = [cell for seeds in trainings(**parameters).values() for cell in seeds]
    return [*trained, *spreads(**parameters).values(), *rows]


def similarity_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a position, round and parameter group: similarity of gradients under other noise."""
    rows = []
    for (position, r), cell in spreads(**parameters).items():
        figures = results[cell].figures
        for group, values in zip(figures["groups"], figures["similarity"], strict=True):
            rows.append(
                {
                    "position": position,
                    "rounds": r,
                    "gradients": paper_name(group),
                    "similarity": float(np.mean(values)),
                    "similarity_std": float(np.std(values)),
                }
            )
    return require("pandas", "metrics").DataFrame(rows)


def noise_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a position and round: the bottleneck's sigma, its mu, and what the noise leaves."""
    rows = []
    for (position, r), cell in spreads(**parameters).items():
        figures = results[cell].figures
        kept = models.before_decoder(figures["groups"])
        similarity = [
            np.mean(v) for g, v in zip(figures["groups"], figures["similarity"], strict=True) if g in kept
        ]
        rows.append(
            {
                "P": position,
                "weights": f"after {r} rounds" if r else "fresh",
                "sigma": figures["sigma"][0],
                "mu": figures["mu"][0],
                "ratio": figures["mu"][0] / figures["sigma"][0],
                "similarity": float(np.mean(similarity)),
            }
        )
    return require("pandas", "metrics").DataFrame(rows)


def mask_table(parameters: Mapping[str, Any], results: Results, rounds: int) -> "DataFrame":
    """Return Table I for the weights after `rounds`: ours, with the paper's ASR where it has the row."""
    rows = table_i(**parameters)[rounds]
    ours = tables.attack_table({row.label: results[row.cell] for row in rows}, scaling=parameters["scaling"])
    ours.insert(0, "P", [row.position or "–" for row in rows])
    ours.insert(1, "gradients", [row.matched for row in rows])
    theirs = {row.label: _paper_asr(row, parameters) for row in rows}
    frame = require("pandas", "metrics").DataFrame({"label": list(theirs), "asr": list(theirs.values())})
    return tables.beside(ours, frame, values=["asr"])


def placement_table(parameters: Mapping[str, Any], results: Results, rounds: int) -> "DataFrame":
    """Return Table II for the weights after `rounds`: the strongest of both attacks, accuracy, parameters.

    Without a bottleneck the attack is IG, with one Ignore, as in 001 §V-B.
    """
    chosen = {
        row.position: row.cell
        for row in table_i(**parameters)[rounds]
        if row.mask == ("before the decoder" if row.position else "all")
    }
    scores = tables.attack_table(
        {_name(p): results[cell] for p, cell in chosen.items()}, scaling=parameters["scaling"]
    )
    trained = trainings(**parameters)
    accuracy = tables.training_table({_name(p): [results[c] for c in cells] for p, cells in trained.items()})
    ours = scores.merge(accuracy[["label", "accuracy", "accuracy_std"]], on="label")
    ours["increase"] = 100 * (ours["parameters"] / ours["parameters"].iloc[0] - 1)
    theirs = tables.paper("cvb_table_ii")
    theirs["label"] = [_name(None if p == "none" else int(p)) for p in theirs["position"]]
    if not _is_the_papers(parameters):
        theirs = theirs.iloc[:0]
    return tables.beside(ours, theirs, values=["ssim", "asr", "accuracy", "parameters"])


def pictures(
    parameters: Mapping[str, Any], results: Results, rounds: int
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals, and what IG and Ignore made of them at each position (Fig. 7)."""
    rows = [row for row in table_i(**parameters)[rounds] if row.mask in ("all", "before the decoder")]
    originals = results[rows[0].cell].images("truth")
    return originals, {_attack_name(row): results[row.cell].images("reconstruction") for row in rows}


def loss_traces(
    parameters: Mapping[str, Any], results: Results, rounds: int
) -> "dict[str, tuple[Tensor, Tensor]]":
    """Return the loss traces of the same rows, for `plots.traces`."""
    rows = [row for row in table_i(**parameters)[rounds] if row.mask in ("all", "before the decoder")]
    return {_attack_name(row): results[row.cell].trace() for row in rows}


def caption(parameters: Mapping[str, Any], rounds: int) -> str:
    """Return what belongs above a table: profile, images, weights, steps, scaling."""
    weights = f"weights after {rounds} federated rounds" if rounds else "fresh weights"
    scaled = "each image min–max scaled before scoring"
    return (
        f"Profile {parameters['profile']}: {parameters['victims']} victims from {parameters['dataset']}, "
        f"{weights}, at most {parameters['steps']:,} steps, "
        f"{scaled if parameters['scaling'] == 'minmax' else 'images scored as they are'}."
    )


def paper_name(group: str) -> str:
    """Return a parameter group's name in 001 Table I: G1 to G4, GE, GD."""
    part = {"encoder": "GE", "decoder": "GD"}.get(group.rpartition(".")[2])
    return part or PAPER_NAMES.get(group, group)


def _masks(cell: TrainingCell, position: int | None) -> Iterator[tuple[str, str, Attack]]:
    """Yield (name of the mask, groups matched, attack): all, all but one of the later groups each, Ignore."""
    groups = tuple(models.build(cell.model, bottlenecks=cell.bottlenecks, seed=0).groups)

    def names(kept: Sequence[str]) -> str:
        return "+".join(paper_name(group) for group in kept)

    yield "all", names(groups), ATTACKS["ig"]
    if position is None:
        return
    before = models.before_decoder(groups)
    for group in groups[len(before) :]:
        kept = [g for g in groups if g != group]
        yield f"all but {paper_name(group)}", names(kept), ATTACKS["ig"].replace(exclude=(group,))
    yield "before the decoder", names(before), ATTACKS["ignore"]


def _attack_name(row: Row) -> str:
    attack = "IG" if row.mask == "all" else "Ignore"
    return f"{attack}, {_name(row.position)}"


def _name(position: int | None) -> str:
    return f"P={position}" if position else "no bottleneck"


def _is_the_papers(parameters: Mapping[str, Any]) -> bool:
    """Whether the chapter runs the model and images of 001 Tables I and II."""
    theirs = {"dataset": "cifar10", "model": "cnn", "bottleneck": "precode"}
    return all(parameters[name] == value for name, value in theirs.items())


def _paper_asr(row: Row, parameters: Mapping[str, Any]) -> float:
    """Return the ASR of 001 Table I for a row, NaN where it has none."""
    if not _is_the_papers(parameters):
        return np.nan
    theirs = tables.paper("cvb_table_i")
    position = "none" if row.position is None else str(row.position)
    partial = "single or partial sets beyond GE" if row.position == 2 else row.mask
    for line in theirs.to_dict("records"):
        if str(line["precode_position"]) != position:
            continue
        names = (row.matched, partial if row.mask.startswith("all but") else "")
        if (row.mask == "all" and line["attack"] == "ig") or line["matched_gradients"] in names:
            return float(line["asr"])
    return np.nan
