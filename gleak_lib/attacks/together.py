"""Attacks on models that differ in their weights, side by side."""

from collections.abc import Sequence

import torch

from gleak_lib.attacks import engine
from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.check import alike, check, finished
from gleak_lib.attacks.precision import PRECISIONS, Precision
from gleak_lib.attacks.priors import BatchStatistics
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.typed import typed
from gleak_lib.types import Observation, Reconstruction


@typed
def invert_together(
    observations: Sequence[Observation],
    attack: Attack,
    *,
    generators: Sequence[torch.Generator | None] | None = None,
    progress: bool = False,
    compile: bool = False,
    precision: Precision = "float32",
) -> list[Reconstruction]:
    """Do what `invert` does for each of several observations, in one loop over steps.

    Their models may differ in weights, and in nothing else. The results are those of single runs up to
    rounding. It saves time where a single run leaves a processor waiting: with one or two small images and a
    small network.

    Args:
        observations: of the same numbers of victims and images each.
        attack: as for `invert`.
        generators: one per observation, as for `invert`; None uses torch's global one.
        progress, compile, precision: as for `invert`.

    Raises:
        ParameterError: If there is no observation; if models have bottlenecks or layers without a fast
            rule, or differ in their structure; if observations differ in their sizes or losses, or hold
            several updates; if the attack matches batch statistics.
        GradientError, ShapeError, AttackError, UnknownNameError: As `invert`.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if not observations:
        raise ParameterError("There is nothing to attack: pass at least one observation.")
    generators = [None] * len(observations) if generators is None else generators
    if len(generators) != len(observations):
        raise ParameterError(
            f"There must be a generator for each of {len(observations)} observations, got {len(generators)}."
        )
    for one in observations:
        check(one)
    if len(observations) > 1:
        _check(observations, attack)
    options = {"progress": progress, "compile": compile, "precision": precision}
    with torch.enable_grad():
        found = engine.run(observations, attack, generators=generators, **options)
    return [finished(one, attack.name) for one in _parts(found, len(observations))]


def _check(observations: Sequence[Observation], attack: Attack) -> None:
    """Refuse what cannot stand side by side; layers are looked at by `gradients.stack`."""
    what = "Observations can be attacked together"
    alike(observations, what)
    first = observations[0]
    for one in observations:
        if getattr(one.model, "noise_shapes", ()):
            raise ParameterError(f"{what} only without bottlenecks, whose noise is drawn for one model.")
        if one.later or one.loss is not first.loss:
            raise ParameterError(f"{what} only if each is one update, and all are of one loss.")
    if any(isinstance(prior, BatchStatistics) for prior in attack.priors):
        raise ParameterError(f"{what} only by attacks that do not match batch statistics.")
    if attack.optimizer.gradient_free:
        raise ParameterError(f"{what} only by optimizers that take gradients, one candidate per victim.")


def _parts(found: Reconstruction, count: int) -> list[Reconstruction]:
    """Return what was found run by run, each trace as long as the run's own."""
    rows = len(found.loss) // count
    parts = []
    for start in range(0, len(found.loss), rows):
        own = slice(start, start + rows)
        steps = found.steps[own]
        ran = -(-int(steps.max()) // engine.CHECK_EVERY) * engine.CHECK_EVERY
        parts.append(
            Reconstruction(
                images=found.images[own],
                labels=found.labels[own],
                loss=found.loss[own],
                steps=steps,
                trace=found.trace[:ran, own],
                trace_steps=found.trace_steps[:ran],
            )
        )
    return parts
