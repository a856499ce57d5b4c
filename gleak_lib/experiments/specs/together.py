"""Attacks that are computed at once: small runs that differ in fresh weights, victims and seeds alone."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from gleak_lib import attacks
from gleak_lib.attacks import Attack, Pixels
from gleak_lib.errors import GleakError
from gleak_lib.experiments.context import Context
from gleak_lib.experiments.specs.attack import AttackExperiment
from gleak_lib.experiments.specs.base import Output

FEW, MANY = {"cpu": 2, "cuda": 64}, 256  # images of a run, and of all that run side by side


def side_by_side(experiments: Sequence[AttackExperiment], device: str) -> list[tuple[AttackExperiment, ...]]:
    """Return groups of attacks that are computed at once: alike but for fresh weights, victims and seeds.

    On a CPU that pays for the smallest runs only (`benchmarks/together.py`). What is found is what a single
    run finds, up to rounding.
    """
    groups: dict[Any, list[AttackExperiment]] = {}
    for experiment in experiments:
        options = tuple(pair for pair in experiment.training.options if pair[0] != "init")
        training = dataclasses.replace(experiment.training, options=options, seed=0)
        alike = dataclasses.replace(experiment, training=training, victim_seed=0, seed=0)
        groups.setdefault(experiment if _alone(experiment, device) else alike, []).append(experiment)
    found = []
    for group in groups.values():
        most = max(1, MANY // (group[0].victims * group[0].batch_size))
        found += [tuple(group[i : i + most]) for i in range(0, len(group), most)]
    return found


def _alone(experiment: AttackExperiment, device: str) -> bool:
    """Whether an attack is not one that `attacks.invert_together` computes, or gains nothing there."""
    attack, training = experiment.attack, experiment.training
    return (
        not isinstance(attack, Attack)
        or not isinstance(attack.variables, Pixels)
        or attack.optimizer.gradient_free
        or bool(attack.settings.get("statistics_weight"))
        or bool(experiment.rounds or training.bottlenecks or experiment.cleaning)
        or ":" in training.model
        or experiment.updates > 1
        or experiment.victims * experiment.batch_size > FEW.get(device, 0)
    )


def attack_together(experiments: Sequence[AttackExperiment], context: Context) -> list[Output | GleakError]:
    """Return what each of several attacks gives, or its own error; one that fails takes no other with it.

    Args:
        experiments: a group of `side_by_side`.
        context: where and how.
    """
    attack = experiments[0].attack
    assert isinstance(attack, Attack)
    try:
        seen = [experiment.seen(context) for experiment in experiments]
        found = attacks.invert_together(
            [one.observation for one in seen],
            attack,
            generators=[one.generator for one in seen],
            progress=context.progress,
            compile=context.compile,
        )
    except GleakError:  # each alone says whether it is meant
        return [_or_error(experiment.run, context) for experiment in experiments]
    return [_or_error(one.scored, attack, theirs) for one, theirs in zip(seen, found, strict=True)]


def _or_error(compute: Callable[..., Output], *given: Any) -> Output | GleakError:
    try:
        return compute(*given)
    except GleakError as error:
        return error
