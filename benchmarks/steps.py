"""One step of an attack in several ways: plain torch for one victim, and the engine for all of them.

The loop is what one would write for one victim with nothing but torch: forward pass, gradient with graph,
distance, prior, second backward pass, torch's own optimizer, scheduler, clipping, keep-best.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from unittest import mock

import torch
from common import Unavailable
from torch import nn
from torch.nn import functional as F

from gleak_lib import attacks, gradients, models
from gleak_lib.attacks.noise import drawing
from gleak_lib.attacks.objective import Problem
from gleak_lib.attacks.precision import arithmetic
from gleak_lib.attacks.priors import label_distance
from gleak_lib.attacks.step import Step
from gleak_lib.bottlenecks import CVB, PRECODE, sample_noise
from gleak_lib.gradients import forward
from gleak_lib.pixels import normalize
from gleak_lib.types import Observation

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def perceptron() -> nn.Module:
    """The flattened image, two hidden layers, the logits."""
    layers = [nn.Flatten(), nn.Linear(3072, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: models.build("cnn", seed=0),
    "cnn + PRECODE(1, 8)": lambda: models.build("cnn", bottlenecks=PRECODE(1, 8), seed=0),
    "cnn + CVB(1, 5)": lambda: models.build("cnn", bottlenecks=CVB(1, 5), seed=0),
    "resnet18": lambda: models.build("resnet18", seed=0),
    "vit": lambda: models.build("vit", seed=0),
    "mlp": perceptron,
}

# method -> arguments of the engine's step; all but the first two as `invert` can run it
METHODS: dict[str, dict] = {
    "vmap": {"replay": False},  # torch.func's per-victim gradients
    "written out": {"replay": False},  # our rules, each victim's gradients written out
    "fast": {"replay": False},  # our rules, gradients in factors
    "static": {"replay": True},  # the same on static buffers, with plain calls
    "compiled": {"replay": False, "compile": True},
    "graph": {"replay": True},  # CUDA: on static buffers, as one graph; the default there
    "graph, compiled": {"replay": True, "compile": True},
    "graph, tf32": {"replay": True, "precision": "tf32"},
    "graph, bf16": {"replay": True, "precision": "bf16"},
}
GRADIENTS = {"vmap": "vmap", "written out": "fast"}  # methods that do without factors


@functools.lru_cache(maxsize=1)  # the gradients of many victims take much memory
def observation(model: str, victims: int, kind: str) -> Observation:
    """What a server holds of random smooth images: the time does not depend on what they show."""
    g = torch.Generator().manual_seed(0)
    images = F.avg_pool2d(torch.rand(victims, 3, 40, 40, generator=g), 9, 1).to(kind)
    labels = torch.randint(0, 10, (victims,), generator=g).to(kind)
    return attacks.observe(MODELS[model]().to(kind), images, labels, generator=g, mean=MEAN, std=STD)


def loop(seen: Observation, attack: attacks.Attack) -> Callable[[], None]:
    """One step of the first victim in plain torch."""
    model, label = seen.model, seen.labels[0]
    parameters = dict(model.named_parameters())
    names = attack.matched(seen)
    target = torch.cat([seen.gradients[n][0].flatten() for n in names])
    low, high = (normalize(torch.full((1, 3, 1, 1), v), seen.mean, seen.std).to(target) for v in (0.0, 1.0))
    unknowns = [torch.randn(1, *seen.input_shape, device=target.device, requires_grad=True)]
    if attack.labels == attacks.Optimized():
        unknowns.append(torch.randn(1, 10, device=target.device, requires_grad=True))
    has = attack.settings
    if attack.kind == "lbfgs":
        optimizer = torch.optim.LBFGS(
            unknowns, lr=has["lr"], max_iter=has["inner_steps"], history_size=has["memory"]
        )
    else:
        optimizer = torch.optim.Adam(unknowns, lr=has["lr"])
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=has["drop_after"], factor=0.1)
    best, noise = [float("inf"), unknowns[0].detach().clone()], None

    def closure() -> torch.Tensor:
        x = unknowns[0]
        run = forward(model, x, noise)
        y = unknowns[1].softmax(1) if len(unknowns) > 1 else label
        loss = F.cross_entropy(run.logits, y) + run.kl.mean()
        grads = torch.autograd.grad(loss, [parameters[n] for n in names], create_graph=True)
        dummy = torch.cat([g.flatten() for g in grads])
        if has["distance"] == "cosine":
            value = 1 - F.cosine_similarity(dummy, target, dim=0)
        else:
            value = (dummy - target).square().sum()
        if has["tv"]:
            value = value + has["tv"] * attacks.total_variation(x[None])[0]
        if has["label_weight"]:
            value = value + has["label_weight"] * label_distance(run.logits, label)[0]
        for u, g in zip(unknowns, torch.autograd.grad(value, unknowns), strict=True):
            u.grad = g.sign() if has.get("signed") else g
        return value.detach()

    def step() -> None:
        nonlocal noise  # one draw a step, as in the engine: with one an evaluation L-BFGS gives up early
        noise = sample_noise(model, 1, unknowns[0], None) or None
        before = unknowns[0].detach().clone()
        loss = optimizer.step(closure).item()
        if loss < best[0]:
            best[:] = loss, before
        if has["drop_after"]:
            scheduler.step(loss)
        if has["clip"]:
            with torch.no_grad():
                unknowns[0].copy_(torch.maximum(torch.minimum(unknowns[0], high), low))

    return step


@contextlib.contextmanager
def engine(seen: Observation, attack: attacks.Attack, method: str) -> Iterator[Callable[[], None]]:
    """Give one step of all victims in the package's engine.

    Raises:
        Unavailable: the machine cannot compile, or cannot record a graph.
    """
    arguments = METHODS[method]
    device = next(iter(seen.gradients.values())).device
    g = torch.Generator(device).manual_seed(0)
    names, count = attack.matched(seen), 0
    with contextlib.ExitStack() as stack:
        if method in GRADIENTS:
            written = functools.partial(gradients.per_victim_gradients, method=GRADIENTS[method])
            stack.enter_context(mock.patch.object(gradients, "factored_gradients", written))
        stack.enter_context(arithmetic(arguments.get("precision", "float32")))
        step = Step(seen, attack, names, **arguments)
        state = step.start(attack.variables.start(seen, g) | attack.labels.start(seen, g))
        problem = Problem.of(seen, seen.labels, names)
        draw = drawing(seen, 1, g)

        def run() -> None:
            nonlocal state, count
            count += 1
            state, _ = step(state, problem, draw(), count)

        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("error", message="The attack step runs")  # without what was asked for
        try:
            yield run
        except UserWarning as warning:
            raise Unavailable(str(warning)) from warning
