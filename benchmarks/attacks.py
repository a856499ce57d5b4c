"""Milliseconds of a victim's step of every attack: a plain loop with torch's optimisers, and the engine.

    python benchmarks/attacks.py [--minutes 3] [--only lbfgs] [--device cpu]

A step of L-BFGS has up to 20 evaluations, made here in full, with the same history of 100. DGA and GIA cost
what DLG and IG do.
"""

from collections.abc import Iterator
from functools import partial

import steps
from common import Case, Figures, main, seconds_per_call

from gleak_lib.attacks import ATTACKS

NAMES = ("ig", "ignore", "muted", "dlg", "idlg", "cpl")
MODELS = ("cnn", "cnn + CVB(1, 5)", "cnn + PRECODE(1, 8)", "mlp")
VICTIMS = {"cpu": 32, "cuda": 128}
SECONDS = 0.5


def cases(kind: str, quick: bool) -> Iterator[Case]:
    """Every model and attack once."""
    victims = 2 if quick else VICTIMS[kind]
    for model in ("cnn",) if quick else MODELS:
        for name in ("ig", "dlg") if quick else NAMES:
            settings = {"model": model, "attack": name, "optimizer": ATTACKS[name].kind}
            settings |= {"victims": victims}
            yield Case(settings, partial(measure, model, name, victims, kind, 0.01 if quick else SECONDS))


def measure(model: str, name: str, victims: int, kind: str, seconds: float) -> Figures:
    """Time the loop and the engine as `invert` runs it here, one after the other."""
    attack, warm = ATTACKS[name], 2
    if attack.kind == "lbfgs":  # small steps make all their iterations; slow once the history is full
        attack, warm = attack.replace(lr=1e-3), 6
    seen = steps.observation(model, victims, kind)
    plain = seconds_per_call(steps.loop(seen, attack), kind, seconds, warm=warm)
    yield {"method": "loop"}, {"ms": 1e3 * plain}
    with steps.engine(seen, attack, "graph" if kind == "cuda" else "fast") as step:
        each = seconds_per_call(step, kind, seconds, warm=warm) / victims
    yield {"method": "engine"}, {"ms": 1e3 * each}


if __name__ == "__main__":
    main("attacks", __doc__, cases)
