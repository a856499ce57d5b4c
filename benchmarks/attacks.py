"""Steps a second of every attack: one victim at a time with torch's own optimisers, and the engine.

    python benchmarks/attacks.py [--victims 16] [--models cnn ...] [--compiled] [--out FILE.json]

The loop is what one would write for one victim with nothing but torch: forward pass, gradient with graph,
distance, prior, second backward pass, `torch.optim.Adam` or `torch.optim.LBFGS`. A step of L-BFGS has up to
20 evaluations, made here in full, with the same history of 100. It stops by itself.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from gleak_lib import attacks, models
from gleak_lib.attacks.engine import _noise_source
from gleak_lib.attacks.labels import classifier
from gleak_lib.attacks.objective import Problem
from gleak_lib.attacks.observe import sample_noise
from gleak_lib.attacks.priors import label_distance
from gleak_lib.attacks.step import Step
from gleak_lib.attacks.unknowns import start
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.gradients import forward
from gleak_lib.models import parameter_groups
from gleak_lib.types import Observation

SHAPE = (3, 32, 32)


def perceptron() -> nn.Module:
    """The flattened image, two hidden layers, the logits."""
    layers = [nn.Flatten(), nn.Linear(3072, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: models.build("cnn", seed=0),
    "cnn + PRECODE(1, 8)": lambda: models.build("cnn", bottlenecks=PRECODE(1, 8), seed=0),
    "cnn + CVB(1, 5)": lambda: models.build("cnn", bottlenecks=CVB(1, 5), seed=0),
    "mlp": perceptron,
}


def names_of(observation: Observation, attack: attacks.Attack) -> tuple[str, ...]:
    return attacks.select(attack.layers, attack.exclude, parameter_groups(observation.model))


def loop(observation: Observation, attack: attacks.Attack) -> Callable[[], None]:
    """One step of one victim in plain torch."""
    model = observation.model
    parameters = dict(model.named_parameters())
    names = names_of(observation, attack)
    target = torch.cat([observation.gradients[n][0].flatten() for n in names])
    label = observation.labels[0]
    x0 = torch.randn(1, *SHAPE, requires_grad=True)
    unknowns, noise = [x0], None
    if attack.labels == "optimize":
        unknowns.append(torch.randn(1, 10, requires_grad=True))
    if attack.optimizer == "lbfgs":
        optimizer = torch.optim.LBFGS(
            unknowns, lr=attack.lr, max_iter=attack.inner_steps, history_size=attack.history
        )
    else:
        optimizer = torch.optim.Adam(unknowns, lr=attack.lr)

    def closure() -> torch.Tensor:
        x = unknowns[0]
        run = forward(model, x, noise)
        y = unknowns[1].softmax(1) if len(unknowns) > 1 else label
        loss = F.cross_entropy(run.logits, y) + run.kl.mean()
        grads = torch.autograd.grad(loss, [parameters[n] for n in names], create_graph=True)
        dummy = torch.cat([g.flatten() for g in grads])
        if attack.distance == "cosine":
            value = 1 - F.cosine_similarity(dummy, target, dim=0)
        else:
            value = (dummy - target).square().sum()
        if attack.tv:
            value = value + attack.tv * attacks.total_variation(x[None])[0]
        if attack.label_weight:
            value = value + attack.label_weight * label_distance(run.logits, label)[0]
        for u, g in zip(unknowns, torch.autograd.grad(value, unknowns), strict=True):
            u.grad = g.sign() if attack.sign else g
        return value.detach()

    def step() -> None:
        nonlocal noise  # one draw a step, as in the engine: with one an evaluation L-BFGS gives up early
        noise = sample_noise(model, 1, x0, None) or None
        optimizer.step(closure)
        if attack.box:
            with torch.no_grad():
                unknowns[0].clamp_(-2, 2)

    return step


def engine(observation: Observation, attack: attacks.Attack, compile: bool) -> Callable[[], None]:
    """One step of all victims in the package's engine."""
    g = torch.Generator().manual_seed(0)
    classes = classifier(observation)[1] if attack.labels == "optimize" else None
    step = Step(observation, attack, names_of(observation, attack), compile=compile)
    unknowns = start(observation, attack.init, classes, g)
    state = step.start(unknowns)
    problem = Problem.of(observation, observation.labels, names_of(observation, attack))
    noise = _noise_source(observation, attack, observation.victims, unknowns["image"], g)
    count = 0

    def run() -> None:
        nonlocal state, count
        count += 1
        state, _ = step(state, problem, noise(), count)

    return run


def seconds_per_call(step: Callable[[], None], seconds: float, warm: int) -> float:
    """Median time of a call, after `warm` of them (L-BFGS is slower once its history is full)."""
    for _ in range(warm):
        step()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]


def never_converging(attack: attacks.Attack) -> attacks.Attack:
    """The same with small steps, so that every step of L-BFGS makes all its iterations."""
    return attack.replace(lr=1e-3) if attack.optimizer == "lbfgs" else attack


def measure(
    chosen: list[str], names: list[str], victims: int, seconds: float, compiled: bool
) -> list[dict[str, object]]:
    """Measure every model, attack and method."""
    rows = []
    for model in chosen:
        network = MODELS[model]()
        g = torch.Generator().manual_seed(0)
        images = F.avg_pool2d(torch.rand(victims, 3, 40, 40, generator=g), 9, 1)
        labels = torch.randint(0, 10, (victims,), generator=g)
        observation = attacks.observe(network, images, labels, generator=g, mean=0.5, std=0.25)
        for name in names:
            attack = never_converging(attacks.ATTACKS[name])
            if attack.optimizer == "closed-form":
                continue
            warm = 6 if attack.optimizer == "lbfgs" else 2
            plain = seconds_per_call(loop(observation, attack), seconds, warm)
            for method in ("engine", *(["compiled"] if compiled else [])):
                each = (
                    seconds_per_call(engine(observation, attack, method == "compiled"), seconds, warm)
                    / victims
                )
                rows.append(
                    {
                        "model": model,
                        "attack": name,
                        "optimizer": attack.optimizer,
                        "victims": victims,
                        "method": method,
                        "loop_steps_per_s": 1 / plain,
                        "engine_steps_per_s": 1 / each,
                        "times_loop": plain / each,
                    }
                )
                print(
                    f"{model:20s} {name:8s} {attack.optimizer:6s} loop {1 / plain:8.1f} steps/s   "
                    f"{method:8s} {1 / each:8.1f} steps/s of one of {victims} victims   "
                    f"{plain / each:5.1f} x",
                    flush=True,
                )
    return rows


def main() -> None:
    """Measure, print, and store if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--victims", type=int, default=16)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument(
        "--attacks",
        nargs="+",
        choices=list(attacks.ATTACKS),
        default=["dlg", "idlg", "cpl", "ig", "ignore", "muted"],
        help="dga and gia cost what dlg and ig do",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long each figure is measured")
    parser.add_argument("--compiled", action="store_true", help="the compiled engine, too (slow to start)")
    parser.add_argument("--out", type=Path, help="store the figures as JSON")
    options = parser.parse_args()
    machine = {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(machine)
    rows = measure(options.models, options.attacks, options.victims, options.seconds, options.compiled)
    if options.out:
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
