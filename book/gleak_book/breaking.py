"""Cells of the chapter "Breaking the bottleneck": attacks that search for a bottleneck's noise."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gleak_lib.attacks import ATTACKS, Attack, Resample
from gleak_lib.client_setup import ClientSetup, parse
from gleak_lib.defenses import NO_DEFENSE, Clip, Compression, Defense, Gaussian, Quantize
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityCell

from gleak_book import medical, paper_rows
from gleak_book.replicates import Replicates

IG, IG_LAYERWISE, IGNORE, EXPECTATION = "IG", "IG, layer by layer", "Ignore", "expectation"
JOINT, LAYERWISE, KNOWN = "joint", "joint, layer by layer", "noise known"
KNOWN_LAYERWISE, SILENT = "noise known, layer by layer", "no noise at all"
_LAYERWISE = ATTACKS["layerwise"]
_KNOWN_LAYERWISE = ATTACKS["oracle"].replace(distance="layerwise", priors=_LAYERWISE.priors)
PRESETS: dict[str, Attack] = {
    IG: ATTACKS["ig"],
    IG_LAYERWISE: _LAYERWISE.replace(noise=Resample()),
    IGNORE: ATTACKS["ignore"],
    EXPECTATION: ATTACKS["expectation"],
    JOINT: ATTACKS["joint"],
    LAYERWISE: _LAYERWISE,
    KNOWN: ATTACKS["oracle"],
    KNOWN_LAYERWISE: _KNOWN_LAYERWISE,
}
_JOINT = ATTACKS["joint"]
VARIANTS: dict[str, Attack] = {
    "as above": _JOINT,
    "prior ½‖ε‖²": _JOINT.replace(noise_prior="map"),
    "z = μ + σε is the unknown": _JOINT.replace(noise_form="z"),
    "layers weighted by their variance over ε": _JOINT.replace(weighting="variance"),
    "layer by layer": _LAYERWISE,
    "Ignore's layers only": _JOINT.replace(layers="before-decoder"),
}
# Of ResNet-18 few steps can be afforded, so they are large; its prior is the best of those that the chapter
# "Other architectures" tried without a bottleneck
TUNED: dict[str, dict[str, dict[str, float]]] = {
    "resnet18": {
        IG: {"tv": 0.1},
        IGNORE: {"tv": 0.1},
        JOINT: {"tv": 0.1, "lr": 1.0, "noise_lr": 0.2},
    }
}
REPEATED = {"two updates of the same image": 2, "four updates of the same image": 4}
SHARED: dict[str, Defense] = {
    "as they are": NO_DEFENSE,
    "Gaussian noise 1e-4": Gaussian(std=1e-4),
    "Gaussian noise 1e-3": Gaussian(std=1e-3),
    "quantised to 8 bits": Quantize(bits=8),
    "compressed, p=0.9": Compression(p=0.9),
    "clipped to length 1": Clip(bound=1.0),
}
NEEDED = ("networks", "grid", "trained", "patch_networks", "patch_rounds")


class Line(NamedTuple):
    """A row of a table: what is attacked, and the attacks, one cell a model."""

    label: str
    protection: ClientSetup
    attacks: dict[str, list[AttackCell]]


def attack(name: str, steps: int, plateau: int) -> Attack:
    """Return an attack of `PRESETS` with a number of steps, and 001's two with a plateau.

    Raises:
        UnknownNameError: no such attack.
    """
    if name not in PRESETS:
        raise unknown("attack of this chapter", name, PRESETS)
    preset = PRESETS[name].replace(max_steps=steps)
    return preset.replace(drop_after=plateau) if name in (IG, IGNORE) else preset


def first(chapter: Mapping[str, Any]) -> list[Line]:
    """Return the networks of the first table under every attack, fresh weights."""
    replicates, lines = Replicates.of(chapter), []
    for text in chapter["networks"]:
        protection = parse(text)
        names = [IG, IGNORE, EXPECTATION, JOINT, LAYERWISE, KNOWN] if protection.bottlenecks else [IG, JOINT]
        found = {}
        for name in names:
            if name == EXPECTATION:  # four draws take four times as long
                found |= _line(chapter, protection, [name]).attacks
            else:
                found[name] = replicates.attack(
                    protection, attack(name, chapter["steps"], chapter["plateau"])
                )
        lines.append(Line(protection.label, protection, found))
    return lines


def grid(chapter: Mapping[str, Any]) -> list[Line]:
    """Return positions, sizes and KL terms under Ignore, `joint`, and with the noise known; fresh weights."""
    return [_line(chapter, parse(text), (IGNORE, JOINT, KNOWN)) for text in chapter["grid"]]


def trained(chapter: Mapping[str, Any]) -> dict[int, list[Line]]:
    """Return the trained networks by the round whose weights are attacked; those of `compared` at the last.

    Raises:
        ParameterError: no round, or one after the last.
    """
    rounds, last = chapter["rounds"], chapter["training_rounds"]
    if not rounds or (wrong := [r for r in rounds if not 0 <= r <= last]):
        raise ParameterError(
            f"rounds must be 0 to training_rounds ({last}), got {wrong if rounds else rounds}."
        )
    scale = {**chapter, "grid_steps": chapter["trained_steps"]}
    names = (IG, IG_LAYERWISE, LAYERWISE, KNOWN_LAYERWISE)
    found = {}
    for r in rounds:
        texts = [*(chapter["compared"] if r == max(rounds) else ()), *chapter["trained"]]
        found[r] = [
            _line(scale, p, names if p.bottlenecks else names[:2], rounds=r) for p in map(parse, texts)
        ]
    return found


def sigmas(chapter: Mapping[str, Any]) -> dict[tuple[str, int], list[NoiseSensitivityCell]]:
    """Return by (network, round) what measures sigma and mu, one cell a model; fresh weights are round 0."""
    replicates, rounds = _grid(chapter), chapter["rounds"]
    looked_at = {text: [0, max(rounds)] for text in chapter["compared"]}
    looked_at |= {text: [0, *rounds] for text in chapter["trained"]}
    return {
        (parse(text).label, r): replicates.spread(parse(text), r)
        for text, some in looked_at.items()
        if parse(text).bottlenecks
        for r in dict.fromkeys(some)
    }


def silent(chapter: Mapping[str, Any]) -> list[Line]:
    """Return attacks on the last trained weights of clients without noise, which the server knows."""
    last, lines = max(chapter["rounds"]), []
    for text in [*chapter["compared"], *chapter["trained"]]:
        protection = parse(text)
        if protection.bottlenecks:
            one = attack(KNOWN_LAYERWISE, chapter["trained_steps"], chapter["plateau"])
            cells = _grid(chapter).attack(protection, one, rounds=last, noise_scale=0.0)
            lines.append(Line(protection.label, protection, {SILENT: cells}))
    return lines


def variants(chapter: Mapping[str, Any]) -> dict[str, list[AttackCell]]:
    """Return variants of `joint` on the first table's last network, and several updates, by name."""
    replicates, protection = _grid(chapter), parse(chapter["networks"][-1])
    steps = chapter["grid_steps"]
    found = {n: replicates.attack(protection, a.replace(max_steps=steps)) for n, a in VARIANTS.items()}
    several = {
        name: replicates.attack(protection, _JOINT.replace(max_steps=steps), updates=count)
        for name, count in REPEATED.items()
    }
    return found | several


def sets(chapter: Mapping[str, Any]) -> dict[str, Line]:
    """Return the CVB that 001 chose for each image set, under Ignore and `joint`, fresh weights."""
    found = {}
    for dataset in chapter["sets"]:
        protection = chosen_for(dataset, chapter)
        found[dataset] = _line({**chapter, "dataset": dataset}, protection, (IGNORE, JOINT))
    return found


def chosen_for(dataset: str, chapter: Mapping[str, Any]) -> ClientSetup:
    """Return the CVB of 001 Tables X and XII for an image set, else the first table's last network."""
    name = dataset.removesuffix(medical.VICTIMS)
    rows = [row for row in paper_rows.read("X", "XII", dataset=name, model="cnn") if row.defense == "cvb"]
    if chapter["model"] != "cnn" or not rows:
        return parse(chapter["networks"][-1])
    return rows[0].setup()


def architectures(chapter: Mapping[str, Any]) -> list[tuple[str, Line]]:
    """Return (model, line) of the larger models with 001's CVB, fresh weights.

    Raises:
        ParameterError: not as many networks, victims and steps as models.
    """
    lists = [chapter[f"architecture{part}"] for part in ("s", "_networks", "_victims", "_steps")]
    if len(set(map(len, lists))) > 1:
        raise ParameterError(
            "architectures, architecture_networks, architecture_victims and architecture_steps need as many "
            f"entries each, got {', '.join(str(len(one)) for one in lists)}."
        )
    found = []
    for model, text, victims, steps in zip(*lists, strict=True):
        scale = {**chapter, "model": model, "grid_victims": victims, "grid_steps": steps}
        scale["plateau"] = max(1, steps // 10)
        found.append((model, _line(scale, parse("none"), (IG,))))
        found.append((model, _line(scale, parse(text), (IGNORE, JOINT))))
    return found


def patches(chapter: Mapping[str, Any]) -> dict[tuple[str, int, str], list[AttackCell]]:
    """Return the closed form on vision transformers by (network, round, what was done to the gradients).

    After training only the undisturbed gradients are inverted. Of batches the closed form takes none.
    """
    found = {}
    for text in chapter["patch_networks"]:
        protection = parse(text)
        for r in chapter["patch_rounds"]:
            dataset = chapter["patch_training_set"] if r else chapter["dataset"]
            replicates = Replicates.of(chapter, model="vit", dataset=dataset, training_rounds=r)
            for name, defense in SHARED.items() if not r else [("as they are", NO_DEFENSE)]:
                cells = replicates.attack(protection, ATTACKS["patches"], rounds=r, defense=defense)
                found[protection.label, r, name] = cells
    return found


def limits(chapter: Mapping[str, Any]) -> dict[str, list[AttackCell]]:
    """Return `joint` where it is harder: batches, labels that are not known, images of other sizes."""
    replicates, steps = _grid(chapter), chapter["grid_steps"]
    joint, protection = _JOINT.replace(max_steps=steps), parse(chapter["networks"][-1])
    found = {"one image of 32 × 32, label known": replicates.attack(protection, joint)}
    found["label read off the gradient"] = replicates.attack(protection, joint, share_labels=False)
    for batch in chapter["batch_sizes"]:
        for name, preset in ((JOINT, joint), (LAYERWISE, _LAYERWISE.replace(max_steps=steps))):
            label = f"batches of {batch}" + (", layer by layer" if name == LAYERWISE else "")
            found[label] = replicates.attack(dataclasses.replace(protection, batch_size=batch), preset)
    for size in chapter["image_sizes"]:
        other = replicates.replace(dataset=f"{replicates.dataset}@{size}")
        found[f"images of {size} × {size}"] = other.attack(protection, joint)
    return found


def cells(**chapter: Any) -> list[Cell]:
    """Return every cell of the chapter.

    Raises:
        ParameterError: a list that a table of its own is made from is empty.
    """
    if empty := [name for name in NEEDED if not chapter[name]]:
        raise ParameterError(f"Name at least one setting in: {', '.join(empty)}.")
    lines = [
        *first(chapter),
        *grid(chapter),
        *(line for lines in trained(chapter).values() for line in lines),
    ]
    lines += [*silent(chapter), *sets(chapter).values(), *(line for _, line in architectures(chapter))]
    found = [cell for line in lines for attacks in line.attacks.values() for cell in attacks]
    for groups in (variants(chapter), limits(chapter), patches(chapter), sigmas(chapter)):
        found += [cell for cells in groups.values() for cell in cells]
    return list(dict.fromkeys(found))


def _line(chapter: Mapping[str, Any], protection: ClientSetup, names: Sequence[str], rounds: int = 0) -> Line:
    replicates, attacks = _grid(chapter), {}
    for name in names:
        one = attack(name, chapter["grid_steps"], chapter["plateau"])
        one = one.replace(**TUNED.get(chapter["model"], {}).get(name, {}))
        attacks[name] = replicates.attack(protection, one, rounds=rounds)
    return Line(protection.label, protection, attacks)


def _grid(chapter: Mapping[str, Any]) -> Replicates:
    return Replicates.of(chapter, victims=chapter["grid_victims"])
