"""Cells of the chapter "The Ignore attack" (001 §III-B and C, Tables I and II, Fig. 7)."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gleak_lib import models
from gleak_lib.attacks import ATTACKS, Attack
from gleak_lib.bottlenecks import BOTTLENECKS, CVB, PRECODE, Bottleneck
from gleak_lib.errors import ParameterError
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.noise_sensitivity import SpreadCell
from gleak_lib.experiments.specs.training import TrainingCell
from gleak_lib.federated import Protocol

PAPER_NAMES = {"stage1": "G1", "stage2": "G2", "stage3": "G3", "head": "G4"}  # 001 Table I
LOOKS = ("profile", "scaling", "examples")  # parameters that decide no cell


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


def specification(bottleneck: str, position: int, size: float, beta: float) -> Bottleneck:
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
    specs: dict[int | None, tuple[Bottleneck, ...]] = {None: ()}
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
    budget = {"max_steps": steps, "tv": tv, "drop_after": plateau}
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


def repeats(
    *, rounds: Sequence[int], seed: int, repeated: int, **chapter: Any
) -> dict[str, list[AttackCell]]:
    """Return IG and Ignore on the last weights, for the first `repeated` model seeds each, by row label.

    Raises:
        ParameterError: more models than are trained.
    """
    if not 1 <= repeated <= chapter["seeds"]:
        raise ParameterError(f"repeated must be 1 to seeds ({chapter['seeds']}), got {repeated}.")
    found: dict[str, list[AttackCell]] = {}
    for s in range(seed, seed + repeated):
        for row in table_i(rounds=rounds[-1:], seed=s, **chapter)[rounds[-1]]:
            if not row.mask.startswith("all but"):
                name = "IG" if row.mask == "all" else "Ignore"
                found.setdefault(f"{name}, {name_of(row.position)}", []).append(row.cell)
    return found


def name_of(position: int | None) -> str:
    """Return a model's name for people."""
    return f"P={position}" if position else "no bottleneck"


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
    more = [cell for seeds in repeats(**parameters).values() for cell in seeds]
    return list(dict.fromkeys([*trained, *spreads(**parameters).values(), *rows, *more]))


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
