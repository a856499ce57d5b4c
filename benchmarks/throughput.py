"""Victims x steps a second of one attack step: plain loop, vmap, fast path, compiled fast path, in one run.

    python benchmarks/throughput.py [--victims 1 16 128] [--seconds 5] [--out FILE.json]

The plain loop attacks one victim at a time with nothing but torch: forward pass, gradient with graph, cosine
distance, total variation, second backward pass, torch's Adam on the sign, scheduler, clipping, keep-best.
The others are the package's engine. Every method does the same arithmetic on the same gradients; the
number of threads and the hardware are printed with the figures. It stops by itself.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch.nn import functional as F

from gleak_lib import attacks, gradients, models
from gleak_lib.attacks.objective import Problem
from gleak_lib.attacks.step import Step
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.pixels import normalize
from gleak_lib.types import Observation

CASES = {"cnn": (), "cnn + PRECODE(1, 8)": PRECODE(1, 8), "cnn + CVB(1, 5)": CVB(1, 5)}
METHODS = ("loop", "vmap", "fast", "compiled")
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def plain_loop(observation: Observation, attack: attacks.Attack) -> Callable[[], None]:
    """One step of one victim in plain torch."""
    model, target = observation.model, torch.cat([g[0].flatten() for g in observation.gradients.values()])
    bounds = [normalize(torch.full((1, 3, 1, 1), v), MEAN, STD) for v in (0.0, 1.0)]
    x = torch.randn(1, *observation.input_shape, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=attack.lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=attack.plateau, factor=0.1)
    best = [float("inf"), x.detach().clone()]

    def step() -> None:
        optimizer.zero_grad()
        run = model.run(x)
        loss = F.cross_entropy(run.logits, observation.labels[0]) + run.kl.mean()
        dummy = torch.cat(
            [g.flatten() for g in torch.autograd.grad(loss, model.parameters(), create_graph=True)]
        )
        objective = 1 - F.cosine_similarity(dummy, target, dim=0)
        objective = objective + attack.tv * attacks.total_variation(x[None])[0]
        (x.grad,) = torch.autograd.grad(objective, x)
        x.grad.sign_()
        if objective.item() < best[0]:
            best[:] = objective.item(), x.detach().clone()
        optimizer.step()
        scheduler.step(objective.item())
        with torch.no_grad():
            x.copy_(torch.maximum(torch.minimum(x, bounds[1]), bounds[0]))

    return step


def engine(observation: Observation, attack: attacks.Attack, method: str) -> Callable[[], None]:
    """One step of all victims in the package's engine."""
    victims, names = observation.victims, tuple(observation.gradients)
    step = Step(observation, attack, names, compile=method == "compiled")
    x = torch.randn(victims, 1, *observation.input_shape)
    state = step.start({"image": x})
    problem = Problem.of(observation, observation.labels)
    shapes = observation.model.noise_shapes
    chosen = gradients.per_victim_gradients
    count = 0

    def run() -> None:
        nonlocal state, count
        count += 1
        noise = tuple(torch.randn(victims, *shape) for shape in shapes)
        if method == "vmap":
            with mock.patch.object(
                gradients, "per_victim_gradients", lambda *a, **k: chosen(*a, **k, method="vmap")
            ):
                state, _ = step(state, problem, noise, count)
        else:
            state, _ = step(state, problem, noise, count)

    return run


def seconds_per_call(step: Callable[[], None], seconds: float) -> float:
    """Median time of a call over several rounds that take about `seconds` together, after a warm-up."""
    step()
    start = time.perf_counter()
    step()
    calls = max(1, int(seconds / 5 / max(time.perf_counter() - start, 1e-6)))
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(calls):
            step()
        rounds.append((time.perf_counter() - start) / calls)
    return sorted(rounds)[2]


def measure(victims: list[int], seconds: float, methods: list[str]) -> list[dict]:
    """Measure every case, method and number of victims."""
    attack, rows = attacks.ATTACKS["ig"], []
    for case, bottlenecks in CASES.items():
        model = models.build("cnn", bottlenecks=bottlenecks, seed=0)
        loop = None
        for count in victims:
            g = torch.Generator().manual_seed(0)
            images = torch.rand(count, 3, 32, 32, generator=g)
            labels = torch.randint(0, 10, (count,), generator=g)
            observation = attacks.observe(model, images, labels, generator=g, mean=MEAN, std=STD)
            for method in methods:
                if method == "loop":  # its cost a victim does not depend on their number
                    loop = loop or seconds_per_call(plain_loop(observation, attack), seconds)
                    each = loop
                else:
                    each = seconds_per_call(engine(observation, attack, method), seconds) / count
                ratio = loop / each if loop else float("nan")
                rows.append(
                    {"case": case, "victims": count, "method": method, "ms": each * 1e3, "times_loop": ratio}
                )
                print(
                    f"{case:22s} {count:4d} victims  {method:9s} {each * 1e3:7.3f} ms a victim and step  "
                    f"{ratio:5.1f} x the loop",
                    flush=True,
                )
    return rows


def main() -> None:
    """Measure, print, and store if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--victims", type=int, nargs="+", default=[1, 16, 128])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long each figure is measured")
    parser.add_argument("--out", type=Path, help="store the figures as JSON")
    options = parser.parse_args()
    machine = {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(machine)
    rows = measure(options.victims, options.seconds, options.methods)
    if options.out:
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
