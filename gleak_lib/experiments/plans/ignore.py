"""Cells of the chapter "The Ignore attack" (001 §III-B and C, Tables I and II, Fig. 7)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gleak_lib import models
from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import BOTTLENECKS, BottleneckSpec
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.cells import AttackCell, Cell, TrainingCell
from gleak_lib.federated import Protocol

PAPER_MASKS = {"G1": "stage1", "G2": "stage2", "G3": "stage3", "G4": "head"}  # names of 001 Table I


class Row(NamedTuple):
    """One row of Table I: which gradients are matched, on which model."""

    position: int | None  # None: no bottleneck
    mask: str  # for people, in 001's names
    cell: AttackCell


def specification(bottleneck: str, position: int, size: float, beta: float) -> BottleneckSpec:
    """Return the bottleneck at a position; `size` is PRECODE's k or the CVB's kernel size.

    Raises:
        UnknownNameError: a bottleneck that there is not.
    """
    if bottleneck not in BOTTLENECKS:
        raise unknown("bottleneck", bottleneck, BOTTLENECKS)
    name = "k" if bottleneck == "precode" else "kernel_size"
    return BOTTLENECKS[bottleneck](position=position, beta=beta, **{name: int(size)})


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
    *, rounds: Sequence[int], victims: int, steps: int, tv: float, seed: int, victim_seed: int, **chapter: Any
) -> dict[int, list[Row]]:
    """Return the rows of Table I by the round whose weights are attacked; for the first model seed."""
    found = trainings(rounds=rounds, seed=seed, **chapter)
    budget = {"max_steps": steps, "tv": tv}
    table: dict[int, list[Row]] = {}
    for r in rounds:
        rows = table[r] = []
        for position, cells in found.items():
            for mask, attack in _masks(cells[0], position):
                attack = attack.replace(**budget)
                cell = AttackCell(
                    cells[0], rounds=r, attack=attack, victims=victims, victim_seed=victim_seed, seed=seed
                )
                rows.append(Row(position, mask, cell))
    return table


def cells(**parameters: Any) -> list[Cell]:
    """Return every cell of the chapter."""
    decisive = {k: v for k, v in parameters.items() if k not in ("profile", "results", "scaling", "examples")}
    rows = [row.cell for rows in table_i(**decisive).values() for row in rows]
    trained = [cell for seeds in trainings(**decisive).values() for cell in seeds]
    return [*trained, *rows]


def _masks(cell: TrainingCell, position: int | None):
    """Pairs of (name of the mask, attack): everything, all but one stochastic group each, and Ignore."""
    yield "all", ATTACKS["ig"]
    if position is None:
        return
    # data-independent, so built for any image: only the names of the parameter groups are needed
    groups = tuple(models.build(cell.model, bottlenecks=cell.bottlenecks).groups)
    later = groups[len(models.before_decoder(groups)) :]
    for group in later:
        yield f"all but {paper_name(group)}", ATTACKS["ig"].replace(exclude=(group,))
    yield "before the decoder", ATTACKS["ignore"]


def paper_name(group: str) -> str:
    """Return a parameter group's name in 001 Table I: G1 to G4, GE, GD."""
    names = {stage: name for name, stage in PAPER_MASKS.items()}
    part = {"encoder": "GE", "decoder": "GD"}.get(group.rpartition(".")[2])
    return part or names.get(group, group)
