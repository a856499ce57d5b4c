"""Rows of 001 Tables VIII to XII as experiments of any scale, and what a figure says about the paper's."""

import math
from dataclasses import dataclass
from typing import Literal

from gleak_lib.attacks import Attack, Inversion
from gleak_lib.experiments import AttackExperiment, TrainingExperiment
from gleak_lib.federated import Protocol

from gleak_book import source_form
from gleak_book.paper_rows import Row

TOLERANCES = {"ssim": 0.05, "asr": 10.0, "accuracy": 1.5}
LEAST_VICTIMS, LEAST_STEPS = 16, 2_000  # from here on attacks on fresh weights are set beside the paper's
FULL_VICTIMS = 128  # 001 §V-B
FULL_BUDGET = {"adam": {"max_steps": 20_000, "drop_after": 400}, "lbfgs": {"max_steps": 2_000}}  # 001 §V-B
FULL_ROUNDS, FULL_SEEDS = 300, 3  # 001 §V-A
REPRODUCED, DIFFERS = "reproduced", "differs"
AGREES_SO_FAR, DIFFERS_SO_FAR = "agrees*", "differs*"  # * at a reduced scale
TOO_SMALL, NOT_RUN, NO_FIGURE = "too small to compare", "not run", ""
MARKS = (REPRODUCED, DIFFERS, AGREES_SO_FAR, DIFFERS_SO_FAR, TOO_SMALL, NOT_RUN)
Extent = Literal["full", "reduced", "less"]


@dataclass(frozen=True)
class Scale:
    """How much of the paper's protocol is run. The defaults are the protocol in full.

    Attributes:
        victims: attacked images.
        steps, plateau: of attacks with Adam.
        lbfgs_steps: of attacks with L-BFGS, which keep their own plateau.
        training_rounds: federated rounds at most.
        seeds: trainings; the first is attacked.
        seed: of the first training, of dummies and noise.
        victim_seed: which images are attacked.
        rounds: the attacked weights; 0, fresh ones, is what the paper's public code attacks.
        tv: weight of the prior; None takes that of the model, see `Row.attacker`.
        as_source: whether the paper's image sets are prepared as its public code does (see `source_form`),
            else as all others.
    """

    victims: int = 128
    steps: int = 20_000
    plateau: int = 400
    lbfgs_steps: int = 2_000
    training_rounds: int = FULL_ROUNDS
    seeds: int = FULL_SEEDS
    seed: int = 0
    victim_seed: int = 0
    rounds: int = 0
    tv: float | None = None
    as_source: bool = True


def training(row: Row, scale: Scale, seed: int) -> TrainingExperiment:
    """Return the federated training of a row with one seed."""
    protocol, form = Protocol(rounds=scale.training_rounds), {}
    if scale.as_source:
        protocol = protocol.replace(validation=source_form.validation(row.dataset))
        form["statistics"] = source_form.statistics(row.dataset)
    return TrainingExperiment(
        row.dataset,
        row.model,
        bottlenecks=row.bottlenecks(),
        protocol=protocol,
        seed=seed,
        keep=(scale.rounds,) if scale.rounds else (),
        defense=row.transformation(),
        **form,
    )


def trainings(row: Row, scale: Scale) -> list[TrainingExperiment]:
    """Return the trainings behind a row's accuracy, one a seed."""
    return [training(row, scale, seed) for seed in range(scale.seed, scale.seed + scale.seeds)]


def attack(row: Row, scale: Scale) -> AttackExperiment:
    """Return the attack on the first seed's weights; each client applies the row's defense."""
    description = row.attacker(scale.tv)
    if description.kind == "lbfgs":
        description = description.replace(max_steps=scale.lbfgs_steps)
    else:
        description = description.replace(max_steps=scale.steps, drop_after=scale.plateau)
    return AttackExperiment(
        training(row, scale, scale.seed),
        rounds=scale.rounds,
        attack=description,
        victims=scale.victims,
        victim_seed=scale.victim_seed,
        seed=scale.seed,
        defense=row.transformation(),
        client=source_form.client(row.dataset) if scale.as_source else None,
    )


def mark(name: str, ours: float, theirs: float, extent: Extent) -> str:
    """Return what a figure of ours says about the paper's.

    Args:
        name: `ssim`, `asr` or `accuracy`; the tolerances are 0.05, 10 points and 1.5 points.
        ours, theirs: the figures, NaN where there is none.
        extent: at how much of the paper's scale ours was computed, see `attack_extent`.

    Returns:
        One of `MARKS`, or nothing where the paper has no figure. Only a figure of the full protocol is
        called reproduced, and only one that is missing is called not run.
    """
    if math.isnan(theirs):
        return NO_FIGURE
    if math.isnan(ours):
        return NOT_RUN
    if extent == "less":
        return TOO_SMALL
    agree = abs(ours - theirs) <= TOLERANCES[name] + 1e-9
    if extent == "full":
        return REPRODUCED if agree else DIFFERS
    return AGREES_SO_FAR if agree else DIFFERS_SO_FAR


def attack_extent(experiment: AttackExperiment) -> Extent:
    """Return `full` for the protocol of 001 §V-B, `reduced` for what can still be set beside its figures.

    The full protocol is 128 victims and the whole budget with its stop rule, whatever is known of the row's
    accuracy. Reduced are at least 16 victims and 2,000 steps, by which most attacks have converged. Both need
    fresh weights, which the paper's public code attacks.
    """
    if experiment.rounds or experiment.victims < LEAST_VICTIMS or steps(experiment.attack) < LEAST_STEPS:
        return "less"
    whole = experiment.victims >= FULL_VICTIMS and experiment.attack == full_budget(experiment.attack)
    return "full" if whole else "reduced"


def steps(attack: Inversion) -> float:
    """Return the most steps that an attack takes; a closed form, which takes none, is never cut short."""
    return attack.schedule.max_steps if isinstance(attack, Attack) else math.inf


def full_budget(attack: Inversion) -> Inversion:
    """Return the attack with the paper's step limit and stop rule (001 §V-B); a closed form has none."""
    return attack.replace(**FULL_BUDGET.get(attack.kind, {}))


def training_extent(rounds: int, seeds: int) -> Extent:
    """Return `full` for the protocol of 001 §V-A: an accuracy after fewer rounds is another figure."""
    return "full" if rounds >= FULL_ROUNDS and seeds >= FULL_SEEDS else "less"
