"""How a training's rounds are run: the choice of an engine, and why one cannot be had."""

import copy
import os
from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from gleak_lib.bottlenecks import sample_noise
from gleak_lib.defenses import Defense as Transformation
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.federated.local import Means, has_batchnorm
from gleak_lib.federated.losses import Losses, stacked_losses
from gleak_lib.federated.server import Federation, Round
from gleak_lib.federated.stacked import Stacked
from gleak_lib.federated.threads import Threads
from gleak_lib.federated.weights import tensors, trained
from gleak_lib.global_generator import states
from gleak_lib.gradients import forward

Method = Literal["auto", "loop", "threads", "stacked"]
METHODS = ("auto", "loop", "threads", "stacked")


class Engine(Protocol):
    """Runs one round of each of several trainings; the models are changed in place."""

    name: str

    def __call__(self, rounds: Sequence[Round]) -> list[Means]: ...

    def close(self) -> None: ...


class Loop:
    """Engine of a round: one client after the other, which the other engines are tested against."""

    name = "loop"

    def __call__(self, rounds: Sequence[Round]) -> list[Means]:
        """Run these rounds, one per training; return their mean losses and accuracies."""
        return [r.train() for r in rounds]

    def close(self) -> None:
        """Nothing to give back."""


def engine(method: Method, federations: Sequence[Federation]) -> Engine:
    """Return the engine that `method` names; `auto` takes the fastest that gives the loop's results.

    Raises:
        UnknownNameError: If there is no such method.
        ParameterError: If the method cannot train these models; the message says why.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    first = federations[0]
    device, workers = first.images.labels.device, torch.get_num_threads()
    participants = sum(f.protocol.clients_per_round or len(f.clients) for f in federations)
    if method == "auto":
        method = "stacked" if device.type == "cuda" else "threads"
        alone = participants == 1 or (method == "threads" and (workers == 1 or not _idle_threads_sleep()))
        if first.protocol.rounds == 0 or alone or _obstacle(method, federations) is not None:
            method = "loop"
    elif method != "loop" and (why := _obstacle(method, federations)) is not None:
        raise ParameterError(f"method={method!r} cannot run this training: {why}. Use method='auto'.")
    if method == "loop":
        return Loop()
    return Stacked(federations) if method == "stacked" else Threads(federations, min(workers, participants))


def _idle_threads_sleep() -> bool:
    """Whether OpenMP's idle threads leave the cores to others; spinning ones make `threads` slow."""
    return os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"


def _obstacle(method: str, federations: Sequence[Federation]) -> str | None:
    """Say why the clients of these trainings cannot be trained at once, or return None if they can."""
    for federation in federations:
        if (why := _defense(method, federation) or _model(method, federation)) is not None:
            return why
    return _strangers(federations) if method == "stacked" else None


def _defense(method: str, federation: Federation) -> str | None:
    defense = federation.defense
    if defense is None:
        return None
    if not isinstance(defense, Transformation):
        return "a plain function as defense sees one client after the other"
    if defense.needs_batch:
        return "the defense needs more than the gradients of a batch"
    if method == "threads":
        source = torch.Generator(federation.streams["noise"].device).manual_seed(0)
        before = source.get_state()
        defense({n: torch.ones_like(p)[None] for n, p in trained(federation.model).items()}, generator=source)
        if not torch.equal(before, source.get_state()):
            return "the defense draws random numbers between a client's steps"
    return None


def _model(method: str, federation: Federation) -> str | None:
    """Try the model in training mode on two images."""
    model, images = copy.deepcopy(federation.model).train(), federation.images
    x, labels = images[torch.arange(2, device=images.labels.device) % len(images)]
    if method == "threads" and x.device.type != "cpu":
        return "threads are for models on the CPU"
    if method == "stacked":
        if has_batchnorm(model):
            return "BatchNorm takes statistics over a client's batch"
        if len({p.dtype for p in trained(model).values()} | {x.dtype}) > 1:
            return "its parameters differ in dtype"
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    generator = torch.Generator(x.device).manual_seed(0)
    ahead, state = generator.get_state(), states(x.device)
    with torch.no_grad():
        run = forward(model, x, generator=generator)
        if not all(map(torch.equal, state, states(x.device))):
            return "it draws from torch's global generator, as dropout does"
        own = generator.get_state()
        generator.set_state(ahead)
        noise = sample_noise(model, 2, x, generator)
        same = len(noise) == len(run.noise) and all(map(torch.equal, noise, run.noise))
        if not same or not torch.equal(own, generator.get_state()):
            return "it draws its noise in another order than that of its noise_shapes"
        if method == "threads":
            return None
        if any(not torch.equal(before[name], buffer) for name, buffer in model.named_buffers()):
            return "a forward pass changes its buffers"
        return _unstackable(model, x, labels, noise)


def _unstackable(model: nn.Module, x: Tensor, labels: Tensor, noise: tuple[Tensor, ...]) -> str | None:
    """Compare two rows of one image each with one batch of two."""
    losses = Losses(model)
    expected, _ = losses(x, labels, noise)
    state = {n: torch.stack([v.detach()] * 2) for n, v in tensors(model).items()}
    try:
        rows = (x[:, None], labels[:, None], tuple(n[:, None] for n in noise))
        found = stacked_losses(losses, state, *rows)[0][:, 0]
    except (RuntimeError, ValueError) as error:
        return f"torch.func.vmap refuses it ({str(error).splitlines()[0]})"
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3, equal_nan=True):
        return "an image's loss depends on the other images of its batch"
    return None


def _strangers(federations: Sequence[Federation]) -> str | None:
    """Give the models one state and compare what they make of it."""
    first, found = federations[0], []
    x, labels = first.images[torch.zeros(1, dtype=torch.long, device=first.images.labels.device)]
    state = tensors(first.model)
    for federation in federations:
        model = copy.deepcopy(federation.model).train()
        own = tensors(model)
        kinds = [[(n, v.shape, v.dtype, v.requires_grad) for n, v in t.items()] for t in (own, state)]
        if kinds[0] != kinds[1]:
            return "the models' weights differ in names, shapes or in which are trained"
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name])
        generator = torch.Generator(x.device).manual_seed(0)
        with torch.no_grad():
            found.append(Losses(model)(x, labels, sample_noise(model, 1, x, generator))[0])
    if any(not torch.equal(found[0], loss) for loss in found):
        return "the models differ in more than their weights"
    return None
