"""Cells, curves and tables of the chapter "Gradient analysis" (001 §III-A and B, Figs. 5 and 6)."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gleak_lib import models
from gleak_lib.attacks import ATTACKS
from gleak_lib.client_setup import parse
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.gradient_tracks import GradientTracksCell
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityCell
from gleak_lib.experiments.specs.training import TrainingCell
from gleak_lib.experiments.store.result import Result
from gleak_lib.extras import require
from gleak_lib.federated import Protocol

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

Results = Mapping[Cell, Result]
COLUMNS = {
    "setting": "attack",
    "layer": "layer",
    "similarity": "similarity",
    "fluctuation": "fluctuation",
    "change": "change",
    "truth": "true image, other noise",
    "length": "length",
}
OUTCOME = {
    "weights": "weights",
    "setting": "attack",
    "ssim": "SSIM",
    "signal_truth": "signal of the true image",
    "signal_dummy": "signal of the dummy",
}
DIGITS = {"fluctuation": 3, "change": 3, "truth": 2, "length": 1}
STORED = 3  # images with curves in the store; the parameter `images` says how many are drawn


def trainings(
    *,
    dataset: str,
    model: str,
    network: str,
    seed: int,
    **_others: Any,
) -> tuple[TrainingCell, TrainingCell]:
    """Return the model without and with the bottleneck; `rounds` of a cell says how long it was trained.

    Raises:
        ParameterError: If `network` has no bottleneck.
    """
    found = parse(network).bottlenecks
    if not found:
        raise ParameterError(f"network must have a bottleneck, for instance precode(3), got {network!r}.")
    plain = TrainingCell(dataset, model, protocol=Protocol(), seed=seed)
    return plain, dataclasses.replace(plain, bottlenecks=found)


def watched(
    *,
    rounds: Sequence[int],
    victims: int,
    steps: int,
    tail: int,
    tv: float,
    plateau: int,
    seed: int,
    victim_seed: int,
    images: int,
    **chapter: Any,
) -> dict[int, dict[str, GradientTracksCell]]:
    """Return the three attacks of 001 Fig. 6 by round and name."""
    plain, protected = trainings(seed=seed, **chapter)
    name = parse(chapter["network"]).label.split()[0]
    settings = {
        "no bottleneck, IG": (plain, "ig"),
        f"{name}, IG": (protected, "ig"),
        f"{name}, Ignore": (protected, "ignore"),
    }
    budget = {"max_steps": steps, "tv": tv, "drop_after": plateau, "stop_after": 0, "stop_below": 0.0}
    return {
        r: {
            label: GradientTracksCell(
                AttackCell(
                    training,
                    rounds=r,
                    attack=ATTACKS[attack].replace(**budget),
                    victims=victims,
                    victim_seed=victim_seed,
                    seed=seed,
                ),
                tail=tail,
                shown=max(images, min(STORED, victims)),
            )
            for label, (training, attack) in settings.items()
        }
        for r in rounds
    }


def spreads(
    *, rounds: Sequence[int], victims: int, seed: int, victim_seed: int, **chapter: Any
) -> dict[int, NoiseSensitivityCell]:
    """Return by round how alike two gradients of the *true* image are that differ in the noise alone."""
    _, protected = trainings(seed=seed, **chapter)
    return {
        r: NoiseSensitivityCell(protected, r, victims=victims, victim_seed=victim_seed, seed=seed)
        for r in rounds
    }


def cells(**parameters: Any) -> list[Cell]:
    """Return every cell of the chapter."""
    attacks = [cell for settings in watched(**parameters).values() for cell in settings.values()]
    return [*spreads(**parameters).values(), *attacks]


def names(parameters: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the names of the three settings: IG without bottleneck, IG, Ignore."""
    plain, ig, ignore = next(iter(watched(**parameters).values()))
    return plain, ig, ignore


def entry_tracks(parameters: Mapping[str, Any], results: Results, rounds: int, setting: str) -> "DataFrame":
    """Return two entries of the dummy's gradient, step by step, for `figures.tracks` (001 Fig. 5).

    The layers are those of the paper: without a bottleneck the last feature stage and the classifier, with
    one its encoder, its decoder and the classifier.

    Raises:
        UnknownNameError: no such setting.
    """
    settings = watched(**parameters)[rounds]
    if setting not in settings:
        raise unknown("setting", setting, settings)
    figures = results[settings[setting]].figures["tracks"]
    groups = figures["groups"]
    inside = [g for g in groups if g.startswith("bottleneck")]
    chosen = [*(inside or groups[-2:-1]), groups[-1]]
    rows = []
    for group in chosen:
        entries = figures["entries"][groups.index(group)]
        both = list(zip(entries["client"], entries["dummy"], strict=True))
        for image, (client, dummy) in enumerate(both[: parameters["images"]]):
            for step, first, second in zip(figures["steps"], *dummy, strict=True):
                rows.append(
                    {
                        "image": f"image {image + 1}",
                        "layer": layer(group, parameters["model"]),
                        "step": step,
                        "first": first,
                        "second": second,
                        "client_first": client[0],
                        "client_second": client[1],
                    }
                )
    return require("pandas", "metrics").DataFrame(rows)


def curves(parameters: Mapping[str, Any], results: Results, rounds: int) -> "DataFrame":
    """Return median and quartiles over the victims, for `figures.similarities` (001 Fig. 6)."""

    def of(figures: dict[str, Any], place: int) -> Iterable[tuple[str, Sequence[Sequence[float]]]]:
        yield "", [figures["similarity"][name][place] for name in ("median", "q25", "q75")]

    return _curves(parameters, results, rounds, of)


def image_curves(parameters: Mapping[str, Any], results: Results, rounds: int) -> "DataFrame":
    """Return the same for the first images, each by itself."""

    def of(figures: dict[str, Any], place: int) -> Iterable[tuple[str, Sequence[Sequence[float]]]]:
        for image, layers in enumerate(figures["examples"][: parameters["images"]]):
            yield f"image {image + 1}", [layers[place]]

    return _curves(parameters, results, rounds, of)


def table(parameters: Mapping[str, Any], results: Results, rounds: int) -> "DataFrame":
    """Return a row a setting and layer, over the last steps of the attack.

    Returns:
        Columns setting, layer; similarity (mean over victims and steps) and similarity_std (over victims);
        fluctuation (each victim's deviation over the steps, averaged over the victims); change (root mean
        square of the difference between neighboring steps, averaged); length (median over the victims of
        the dummy gradient's norm in units of the client's); truth (mean similarity of two gradients of the
        true image under different noise).
    """
    spread = results[spreads(**parameters)[rounds]].figures
    truth = {g: float(np.mean(v)) for g, v in zip(spread["groups"], spread["similarity"], strict=True)}
    plain = names(parameters)[0]
    rows = []
    for setting, cell in watched(**parameters)[rounds].items():
        figures = results[cell].figures["tracks"]
        tail = {name: np.array(v, float) for name, v in figures["tail"].items()}
        for place, group in enumerate(figures["groups"]):
            rows.append(
                {
                    "setting": setting,
                    "layer": layer(group, parameters["model"]),
                    "similarity": float(tail["mean"][place].mean()),
                    "similarity_std": float(tail["mean"][place].std()),
                    "fluctuation": float(tail["std"][place].mean()),
                    "change": float(tail["change"][place].mean()),
                    "length": float(np.median(tail["length"][place])),
                    "truth": 1.0 if setting == plain else truth[group],
                }
            )
    return require("pandas", "metrics").DataFrame(rows)


def outcome_table(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return a row a round and setting: what was found, and how loud its code is.

    Returns:
        Columns weights, setting; ssim and ssim_std (over the victims); signal_truth and signal_dummy, the
        median over the victims of |mu| / |sigma| in the bottleneck, for the truth and for the last dummy.
    """
    rows = []
    for r, settings in watched(**parameters).items():
        for setting, cell in settings.items():
            figures = results[cell].figures
            ssim = np.array(figures["scores"][parameters["scaling"]]["ssim"], float)
            signal = figures["tracks"]["signal"]
            row = {"weights": weights(r), "setting": setting, "ssim": ssim.mean(), "ssim_std": ssim.std()}
            for name, values in signal.items():
                row[f"signal_{name}"] = np.nan if values is None else float(np.median(values))
            rows.append(row)
    return require("pandas", "metrics").DataFrame(rows)


def claims(parameters: Mapping[str, Any], results: Results) -> "DataFrame":
    """Return what 001 reads off its figures, one row a statement, and for how many victims it holds here.

    Returns:
        Columns setting, statement, and one for each round, with the number of victims and what was measured.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for r, settings in watched(**parameters).items():
        (plain, ig, ignore) = settings
        tails = {label: _tail(results[cell]) for label, cell in settings.items()}
        for setting, statement, holds, measured in _claims(tails[plain], tails[ig], tails[ignore]):
            label = {"plain": plain, "ig": ig, "ignore": ignore}[setting]
            row = found.setdefault((label, statement), {})
            row[weights(r)] = f"{int(holds.sum())} of {len(holds)} ({measured})"
    rows = [{"setting": s, "statement": text, **row} for (s, text), row in found.items()]
    return require("pandas", "metrics").DataFrame(rows)


def claim_columns(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the headings of `claims` for people."""
    fixed = {"setting": "attack", "statement": "the paper's reading"}
    return fixed | {weights(r): f"{weights(r)}: holds for" for r in parameters["rounds"]}


def pictures(
    parameters: Mapping[str, Any], results: Results, rounds: int
) -> "tuple[Tensor, dict[str, Tensor]]":
    """Return the first originals, and what the three attacks made of them."""
    settings = watched(**parameters)[rounds]
    originals = results[next(iter(settings.values()))].images("truth")
    return originals, {label: results[cell].images("reconstruction") for label, cell in settings.items()}


def weights(rounds: int) -> str:
    """Return the name of the attacked weights."""
    return f"after {rounds} rounds" if rounds else "fresh weights"


def caption(parameters: Mapping[str, Any], rounds: int | None = None) -> str:
    """Return what belongs above a table: profile, images, weights, steps."""
    which = "" if rounds is None else f"{'weights ' if rounds else ''}{weights(rounds)}, "
    return (
        f"Profile {parameters['profile']}: {parameters['victims']} victims from {parameters['dataset']}, "
        f"{which}{parameters['steps']:,} steps, of which the last {parameters['tail']} are measured."
    )


def note(parameters: Mapping[str, Any], results: Results) -> str:
    """Return the line at the chapter's head: images, victims, weights, steps, device, date."""
    facts = [
        f"profile {parameters['profile']}",
        str(parameters["dataset"]),
        f"{parameters['victims']} victims",
        "attacked weights: " + ", ".join(map(weights, parameters["rounds"])),
        f"{parameters['steps']:,} steps",
    ]
    found = [results[cell].provenance for cell in cells(**parameters)]
    for name, digits in (("device", None), ("date", 10)):
        facts.append(", ".join(dict.fromkeys(str(p.get(name, ""))[:digits] for p in found)))
    return " · ".join(facts)


def layer(group: str, model: str = "cnn") -> str:
    """Return a parameter group's name for people."""
    kind = group.rpartition(".")[2]
    if kind in ("encoder", "decoder"):
        return kind
    if group.startswith("stage"):
        return f"{'conv' if model == 'cnn' else 'stage'} {group[5:]}"
    return "classifier" if group == "head" else group


def _curves(
    parameters: Mapping[str, Any],
    results: Results,
    rounds: int,
    of: Callable[[dict[str, Any], int], Iterable[tuple[str, Sequence[Sequence[float]]]]],
) -> "DataFrame":
    pandas = require("pandas", "metrics")
    frames = []
    for setting, cell in watched(**parameters)[rounds].items():
        figures = results[cell].figures["tracks"]
        for place, group in enumerate(figures["groups"]):
            for row, columns in of(figures, place):
                values = dict(zip(("similarity", "low", "high"), columns, strict=False))
                name = layer(group, parameters["model"])
                frames.append(
                    pandas.DataFrame(
                        {"row": row, "setting": setting, "layer": name, "step": figures["steps"], **values}
                    )
                )
    return pandas.concat(frames, ignore_index=True)


Tail = tuple[list[str], np.ndarray, np.ndarray]


def _tail(result: Result) -> Tail:
    """Groups, mean similarity and fluctuation (G x V each) in the last steps."""
    figures = result.figures["tracks"]
    return figures["groups"], np.array(figures["tail"]["mean"]), np.array(figures["tail"]["std"])


def _claims(plain: Tail, ig: Tail, ignore: Tail) -> Iterable[tuple[str, str, Any, str]]:
    """Yield (setting, statement, whether it holds for each victim, what was measured)."""
    groups, mean, std = ig
    early = len(models.before_decoder(groups))
    _, other, _ = ignore
    m = plain[1]
    yield "plain", "every layer ends close to 1 (0.9 or more)", m.min(0) >= 0.9, _range(m)
    rising = (np.diff(m, axis=0) > 0).all(0)
    yield "plain", "the later the layer, the larger the similarity", rising, _each(m)
    yield (
        "ig",
        "decoder and what follows fluctuate more than every layer before",
        std[early:].min(0) > std[:early].max(0),
        f"{std[early:].mean():.2f} against {std[:early].mean():.2f}",
    )
    yield (
        "ig",
        "layers before the decoder stay below it and below what follows",
        mean[:early].max(0) < mean[early:].min(0),
        f"at most {mean[:early].mean(1).max():.2f} against at least {mean[early:].mean(1).min():.2f}",
    )
    yield "ig", "the first layer stays near 0 (below 0.1)", np.abs(mean[0]) < 0.1, f"{mean[0].mean():.2f}"
    yield (
        "ignore",
        "every layer before the decoder ends higher than under IG",
        (other[:early] > mean[:early]).all(0),
        f"{other[:early].mean():.2f} against {mean[:early].mean():.2f}",
    )
    average = other[:early].mean(0)
    yield (
        "ignore",
        "these layers reach 0.7 to 0.8 on average",
        (average.round(2) >= 0.7) & (average.round(2) <= 0.8),
        _range(other[:early]),
    )
    yield (
        "ignore",
        "decoder and what follows stay as low as under IG (within 0.1)",
        (np.abs(other[early:] - mean[early:]) <= 0.1).all(0),
        f"{_each(other[early:])} against {_each(mean[early:])}",
    )


def _range(values: np.ndarray) -> str:
    """Lowest and highest layer, as means over the victims."""
    means = values.mean(1)
    return f"layers {means.min():.2f} to {means.max():.2f}"


def _each(values: np.ndarray) -> str:
    return ", ".join(f"{value:.2f}" for value in values.mean(1))
