"""Milliseconds of a victim's step of Inverting Gradients, by model, number of victims and method.

    python benchmarks/throughput.py [--minutes 5] [--only "cnn, victims 128"] [--device cpu]

`loop` attacks one victim at a time with nothing but torch; the other methods are the package's engine (see
`steps.METHODS`). All do the same arithmetic on the same gradients. On the CPU the larger models are
measured for few victims, on a GPU all of them for many. Goals: for 128 victims of the cnn, at most 0.2 ms a
victim's step on two cores, at least 13 times the loop; at most 0.5 ms a step of all 128 on an H200.
"""

from collections.abc import Iterator
from functools import partial

import steps
import torch
from common import Case, Figures, main, seconds_per_call

from gleak_lib.attacks import ATTACKS

SECONDS = {"cpu": 1.5, "cuda": 1.0}
MANY = (1, 16, 128, 1024, 4096)
CNN = ("cnn", "cnn + PRECODE(1, 8)", "cnn + CVB(1, 5)")

# (models, methods, numbers of victims), what matters most first
PLANS: dict[str, list[tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]]] = {
    "cpu": [
        (CNN, ("loop",), (1,)),
        (CNN, ("fast",), (1, 16, 128, 1024)),
        (CNN, ("compiled",), (128,)),
        (("cnn",), ("compiled",), (16, 1024)),
        (("cnn",), ("vmap", "written out", "static"), (128,)),
        (CNN[1:], ("vmap",), (128,)),
        (("resnet18", "vit"), ("loop",), (1,)),
        (("resnet18", "vit"), ("fast",), (1, 8)),
        (("cnn",), ("vmap",), (1, 16)),
        (("cnn",), ("fast",), (4096,)),
    ],
    "cuda": [
        (CNN, ("loop",), (1,)),
        (CNN, ("graph",), MANY),
        (("cnn",), ("fast",), MANY),
        (("cnn",), ("vmap", "written out"), (128,)),
        (("cnn",), ("graph, tf32", "graph, bf16"), (128, 1024, 4096)),
        (("resnet18", "vit"), ("loop",), (1,)),
        (("resnet18", "vit"), ("graph",), MANY[:3]),
        (("vit",), ("graph",), (1024,)),
        (("resnet18", "vit"), ("graph, tf32", "graph, bf16"), (128,)),
        (("cnn",), ("graph, compiled",), (1, 128, 1024, 4096)),
        (CNN[1:], ("graph, compiled", "graph, tf32", "graph, bf16", "fast", "vmap"), (128,)),
        (("resnet18", "vit"), ("fast",), (1, 128)),
    ],
}
QUICK = [
    (("cnn",), ("loop",), (1,)),
    (("cnn + CVB(1, 5)",), ("vmap", "written out", "fast", "static"), (2,)),
]


def cases(kind: str, quick: bool) -> Iterator[Case]:
    """Every model, number of victims and method once."""
    for chosen, methods, numbers in QUICK if quick else PLANS[kind]:
        for model in chosen:
            for victims in numbers:
                for method in methods:
                    settings = {"model": model, "attack": "ig", "optimizer": "adam"}
                    settings |= {"victims": victims, "method": method}
                    seconds = 0.01 if quick else SECONDS[kind]
                    yield Case(settings, partial(measure, model, victims, method, kind, seconds))


def measure(model: str, victims: int, method: str, kind: str, seconds: float) -> Figures:
    """Time one method; on a GPU the most memory that it held is noted, too."""
    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seen, attack = steps.observation(model, victims, kind), ATTACKS["ig"]
    if method == "loop":
        each = seconds_per_call(steps.loop(seen, attack), kind, seconds)
    else:
        with steps.engine(seen, attack, method) as step:
            each = seconds_per_call(step, kind, seconds, warm=2) / victims
    figures = {"ms": 1e3 * each}
    if kind == "cuda":
        figures["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return [({}, figures)]


if __name__ == "__main__":
    main("throughput", __doc__, cases)
