"""Cells and tables of the chapter "Closed-form inversion and biases" (001 appendix, Eq. 5 and Table VII)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from gleak_lib import models
from gleak_lib.attacks import Inversion, LinearInversion, RankOne, invert, observe
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.defenses import NO_DEFENSE, Compression, Defense, Gaussian
from gleak_lib.errors import GleakError, ParameterError
from gleak_lib.experiments import frame, tables
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.training import TrainingCell
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require
from gleak_lib.federated import Protocol

from gleak_book import paper

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

Results = Mapping[Cell, Result]
ANALYTIC = LinearInversion()
DRAWS = 4  # of PRECODE's noise, over which the gradients tried by `direction` are averaged
ROUTES = {
    "bias": "∂W / ∂b",
    "shift": "∂W / ∂shift",
    "direction": "∂W alone",
}


class Row(NamedTuple):
    """One attack of the chapter, and what its row is called."""

    label: str
    rounds: int
    position: int | None  # of PRECODE; None: there is none
    route: str
    cell: AttackCell


def training(
    position: int | None,
    seed: int,
    *,
    dataset: str,
    width: int,
    size: int,
    beta: float,
    training_rounds: int,
    local_batch: int = 64,
    bias: bool = True,
    norm: bool = True,
    **_others: Any,
) -> TrainingCell:
    """Return the training of an MLP, with PRECODE at a position unless that is None."""
    return TrainingCell(
        dataset,
        "mlp",
        options=(("bias", bias), ("width", width), *(() if norm else (("norm", False),))),
        bottlenecks=() if position is None else (PRECODE(position, k=size, beta=beta),),
        protocol=Protocol(rounds=training_rounds, batch_size=local_batch),
        seed=seed,
        keep=(training_rounds,) if training_rounds else (),
    )


def trainings(
    *, seed: int, seeds: int, precode_at: int, **chapter: Any
) -> dict[tuple[bool, bool], list[TrainingCell]]:
    """Return the four trainings of 001 Table VII by (PRECODE, bias), one a seed."""
    return {
        (precode, bias): [
            training(precode_at if precode else None, s, bias=bias, **chapter)
            for s in range(seed, seed + seeds)
        ]
        for precode in (False, True)
        for bias in (True, False)
    }


def inversions(
    *, positions: Sequence[int], precode_at: int, training_rounds: int, **chapter: Any
) -> list[Row]:
    """Return the attacks with biases: fresh weights and every position, then the weights of the trainings."""
    chapter["training_rounds"] = training_rounds
    fresh = [_row(p, 0, ANALYTIC, **chapter) for p in (None, *positions)]
    trained = [_row(p, training_rounds, ANALYTIC, **chapter) for p in (None, precode_at)]
    return [*fresh, *(trained if training_rounds else [])]


def perturbations(
    *, noise_levels: Sequence[float], pruning: Sequence[float], training_rounds: int, **chapter: Any
) -> dict[tuple[str, float], list[Row]]:
    """Return by defense and strength the attacks on perturbed gradients of the MLP without PRECODE.

    One row for each way to use the rows of the weight gradient, and for fresh and trained weights.
    """
    chapter["training_rounds"] = training_rounds
    kinds: list[tuple[str, float, Defense]] = [("gaussian", std, Gaussian(std)) for std in noise_levels]
    kinds += [("compression", p, Compression(p)) for p in pruning]
    return {
        (name, value): [
            _row(None, r, ANALYTIC.replace(rows=rows), defense=defense, **chapter)
            for r in _both(training_rounds)
            for rows in ("largest", "all")
        ]
        for name, value, defense in kinds
    }


def batched(*, batch_sizes: Sequence[int], batches: int, **chapter: Any) -> list[Row]:
    """Return the attacks on batches: in evaluation mode, and the smallest of them in training mode too.

    Raises:
        ParameterError: a batch of one image, which is the rest of the chapter.
    """
    if not batch_sizes or min(batch_sizes) < 2:
        raise ParameterError(f"batch_sizes are at least 2 images each, got {list(batch_sizes)}.")
    chapter["victims"] = batches
    repeated = ANALYTIC.replace(rows="repeated")
    runs = [(size, "eval") for size in batch_sizes] + [(min(batch_sizes), "train")]
    return [_row(None, 0, repeated, batch_size=size, mode=mode, **chapter) for size, mode in runs]


def removals(*, precode_at: int, positions: Sequence[int], training_rounds: int, **chapter: Any) -> list[Row]:
    """Return the attacks on MLPs without biases: by BatchNorm's shift, and by the weight gradient alone."""
    chapter |= {"training_rounds": training_rounds, "bias": False}
    shift, direction = ANALYTIC.replace(route="shift"), RankOne(noise_samples=DRAWS)
    places = (None, min(positions), precode_at)
    rows = [
        _row(p, r, attack, **chapter)
        for attack in (shift, direction)
        for r in _both(training_rounds)
        for p in (places if not r else (None, precode_at))
    ]
    plain = [_row(p, 0, direction, norm=False, **chapter) for p in places]
    return list({row.cell: row for row in [*rows, *plain]}.values())


def cells(**parameters: Any) -> list[Cell]:
    """Return every cell of the chapter.

    Raises:
        ParameterError: a size or a position that the MLP cannot have.
    """
    for position in (*parameters["positions"], parameters["precode_at"]):  # on one that costs nothing
        spec = PRECODE(position, k=parameters["size"])
        models.build("mlp", input_shape=(1, 1, 1), width=min(parameters["width"], 2), bottlenecks=(spec,))
    rows = [
        *inversions(**parameters),
        *(row for rows in perturbations(**parameters).values() for row in rows),
        *batched(**parameters),
        *removals(**parameters),
    ]
    trained = [cell for seeds in trainings(**parameters).values() for cell in seeds]
    return [*trained, *dict.fromkeys(row.cell for row in rows)]


def inversion_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row an attack on gradients with biases."""
    frame = _table(inversions(**parameters), results, parameters)
    frame["unexplained"] = [f"{value:.0e}" for value in frame["loss"]]
    return frame


def noise_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a noise level, weights and choice of rows, with the level in column `std`."""
    return _perturbed("gaussian", "std", parameters, results)


def noise_summary(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a noise level: the ASR of every way to use the rows, on fresh and on trained weights."""
    frame = noise_table(parameters, results)
    wide = frame.pivot(index="std", columns="line", values="asr")[list(dict.fromkeys(frame["line"]))]
    wide.insert(0, "noise", [f"{level:g}" for level in wide.index])
    return wide.reset_index(drop=True).rename_axis(None, axis="columns")


def compression_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a pruned share, weights and choice of rows, with the share in column `p`."""
    return _perturbed("compression", "p", parameters, results)


def batch_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a batch size and mode."""
    rows = batched(**parameters)
    frame = _table(rows, results, parameters)
    frame.insert(0, "batch", [row.cell.batch_size for row in rows])
    frame.insert(1, "mode", [row.cell.mode for row in rows])
    return frame


def removal_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row an attack on gradients without biases, scored in both scalings (`asr`, `asr_minmax`)."""
    rows = removals(**parameters)
    frame = _table(rows, results, {**parameters, "scaling": "none"})
    scaled = _table(rows, results, {**parameters, "scaling": "minmax"})
    for name in ("ssim", "ssim_std", "asr"):
        frame[f"minmax_{name}"] = scaled[name]
    frame.insert(0, "norm", ["no" if _option(row, "norm") is False else "yes" for row in rows])
    return frame


def accuracy_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return 001 Table VII: ours, with the paper's accuracy where the model and the images are its own."""
    named = {_variant(*variant): found for variant, found in trainings(**parameters).items()}
    ours = tables.training_table(frame({name: [results[c] for c in found] for name, found in named.items()}))
    ours["final"] = [
        100 * sum(results[c].figures["test_accuracy"][-1] for c in found) / len(found)
        for found in named.values()
    ]
    theirs = paper.table("cvb_table_vii").melt("model", var_name="bias", value_name="accuracy")
    pairs = zip(theirs["model"], theirs["bias"], strict=True)
    theirs["label"] = [_variant(model == "mlp+precode", bias == "bias") for model, bias in pairs]
    if parameters["dataset"] != "cifar10" or parameters["width"] != 1024:
        theirs = theirs.iloc[:0]
    return paper.beside(ours, theirs, values=["accuracy"])


def pictures(rows: Iterable[Row], results: Results) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals, and by label what rows on the same images made of them."""
    chosen = list(rows)
    found = {row.label: results[row.cell].images("reconstruction") for row in chosen}
    return results[chosen[0].cell].images("truth"), found


def batch_pictures(
    parameters: Mapping[str, Any], results: Results, size: int
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals of batches of `size`, and by mode what was found."""
    rows = [row for row in batched(**parameters) if row.cell.batch_size == size]
    found = {f"{row.cell.mode} mode": results[row.cell].images("reconstruction") for row in rows}
    return results[rows[0].cell].images("truth"), found


def noise_pictures(
    parameters: Mapping[str, Any], results: Results, rounds: int
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the stored originals, and what the least-squares fit made of them at every noise level."""
    rows = {
        f"std {value:g}": row
        for (name, value), rows in perturbations(**parameters).items()
        for row in rows
        if name == "gaussian" and row.rounds == rounds and row.cell.attack == ANALYTIC
    }
    originals = results[next(iter(rows.values())).cell].images("truth")
    return originals, {label: results[row.cell].images("reconstruction") for label, row in rows.items()}


def refusals() -> dict[str, str]:
    """Return what the package says where the quotient does not apply, by case; on one random image."""
    images, labels = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(1).long()
    options = {"input_shape": (3, 8, 8), "width": 16, "seed": 0}
    made = {bias: models.build("mlp", bias=bias, **options) for bias in (True, False)}
    said = {}
    for case, model, mode in (
        ("no bias, eval mode", made[False], False),
        ("one image, train mode", made[True], True),
    ):
        try:
            invert(observe(model.train(mode), images, labels), ANALYTIC)
        except GleakError as error:
            said[case] = str(error)
    return said


def caption(parameters: Mapping[str, Any], what: str) -> str:
    """Return what belongs above a table: profile, victims, weights, scaling; `what` names a table."""
    start = f"Profile {parameters['profile']}: "
    rounds = parameters["training_rounds"]
    if what == "accuracy":
        seeds = parameters["seeds"]
        return (
            f"{start}{parameters['dataset']}, at most {rounds} federated rounds, "
            f"{seeds} seed{'s' if seeds > 1 else ''}. "
            + (
                ""
                if parameters["profile"] == "paper"
                else "Not the paper's protocol (up to 300 rounds, 3 seeds)."
            )
        ).strip()
    scaled = {
        "none": "images scored as they are",
        "minmax": "each image min–max scaled before scoring",
    }
    images = f"{parameters['victims']} victims from {parameters['dataset']}"
    weights = f"fresh weights and weights after {rounds} federated rounds" if rounds else "fresh weights"
    if what == "batches":
        images = f"{parameters['batches']} batches from {parameters['dataset']}"
        weights = "fresh weights"
    mode = "" if what == "batches" else "clients in eval mode, "
    ending = "scored as they are and min–max scaled" if what == "removal" else scaled[parameters["scaling"]]
    return f"{start}{images}, {weights}, {mode}MLP of width {parameters['width']:,}, {ending}."


def _row(
    position: int | None,
    rounds: int,
    attack: Inversion,
    *,
    victims: int,
    victim_seed: int,
    seed: int,
    mode: str = "eval",
    batch_size: int = 1,
    defense: Defense = NO_DEFENSE,
    **chapter: Any,
) -> Row:
    cell = AttackCell(
        training(position, seed, **chapter),
        rounds=rounds,
        attack=attack,
        victims=victims,
        batch_size=batch_size,
        victim_seed=victim_seed,
        seed=seed,
        mode=mode,  # type: ignore[arg-type]
        defense=defense,
    )
    name = "MLP" if position is None else f"PRECODE P={position}"
    if not chapter.get("norm", True):
        name += ", no norm"
    weights = f"after {rounds} rounds" if rounds else "fresh"
    route = attack.route if isinstance(attack, LinearInversion) else "direction"
    return Row(f"{name}, {weights}: {ROUTES[route]}", rounds, position, route, cell)


def _table(rows: Sequence[Row], results: Results, parameters: Mapping[str, Any]) -> "DataFrame":
    """Return `tables.attack_table` of rows, with columns for weights, PRECODE and route."""
    numbered = {str(place): results[row.cell] for place, row in enumerate(rows)}  # labels need not differ
    table = tables.attack_table(frame(numbered, scaling=parameters["scaling"]))
    table["label"] = [row.label for row in rows]
    table.insert(1, "weights", [f"after {row.rounds} rounds" if row.rounds else "fresh" for row in rows])
    table.insert(2, "precode", ["–" if row.position is None else f"P={row.position}" for row in rows])
    table.insert(3, "route", [ROUTES[row.route] for row in rows])
    return table


def _perturbed(kind: str, column: str, parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    frames = []
    for (name, value), rows in perturbations(**parameters).items():
        if name != kind:
            continue
        frame = _table(rows, results, parameters)
        frame.insert(0, column, value)
        exact = [row.cell.attack == ANALYTIC for row in rows]
        frame.insert(1, "rows", ["least squares" if all_rows else "largest row" for all_rows in exact])
        frame["line"] = frame["rows"] + ", " + frame["weights"]
        frames.append(frame)
    return require("pandas", "metrics").concat(frames, ignore_index=True)


def _option(row: Row, name: str) -> Any:
    return dict(row.cell.training.options).get(name)


def _variant(precode: bool, bias: bool) -> str:
    return f"{'MLP + PRECODE' if precode else 'MLP'}, {'bias' if bias else 'no bias'}"


def _both(training_rounds: int) -> tuple[int, ...]:
    return (0, training_rounds) if training_rounds else (0,)
