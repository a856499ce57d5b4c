"""Federated averaging with early stopping (McMahan et al. 2017; the protocol of 001 §V-A)."""

import copy
import math
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from gleak_lib.datasets.base import Split
from gleak_lib.errors import MissingDependencyError, ParameterError, ShapeError
from gleak_lib.federated.data import Images
from gleak_lib.federated.history import History
from gleak_lib.federated.local import Defense, measure, objective
from gleak_lib.federated.method import Engine, Method, engine
from gleak_lib.federated.partition import Client, by_class, hold_out, iid
from gleak_lib.federated.protocol import Protocol
from gleak_lib.federated.randomness import contained, streams
from gleak_lib.federated.server import Federation, Round, snapshot

STREAMS = ("partition", "participants", "shuffle", "noise", "val", "test", "other")
ON_DEVICE = ("noise", "val", "test")


def train(
    model: nn.Module,
    split: Split | tuple[Tensor, Tensor],
    protocol: Protocol,
    *,
    generator: torch.Generator,
    test: Split | tuple[Tensor, Tensor] | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    defense: Defense | None = None,
    keep: Collection[int] = (),
    progress: bool = False,
    method: Method = "auto",
) -> History:
    """Train a copy of `model` by federated averaging and return what happened (001 §V-A).

    In each round every participant starts from the global weights, minimises cross-entropy + KL (001
    Eq. 3) on its own images with a fresh optimiser, and the server averages weights and buffers (running
    statistics of normalisation layers too). The global model is then measured on all clients' validation
    images, with the same loss, and on the test split. Bottlenecks sample in evaluation too.

    Args:
        model: any classifier N x C x H x W -> N x K, on the device to train on; it is not changed.
        split: the training images, uint8 or floats in [0, 1]; validation is taken from each client's
            share of them, as in the paper.
        protocol: see `Protocol`.
        generator: the only source of randomness; the global one is left as it was. Partition, batches and
            noise have streams of their own: with one seed, models with and without bottlenecks see the same
            batches, and a test split changes nothing else.
        test: images on which the global model is measured after every round; nothing depends on it.
        mean: pixel statistics, one value a channel; the model sees (pixel - mean) / std. None takes those
            of `split`; what was used is in the history.
        std: as `mean`.
        defense: a transformation of every local step's gradients, see `Defense`.
        keep: rounds after which the weights go to `History.snapshots`; 0 is the fresh model.
        progress: whether to show a bar over the rounds (needs tqdm).
        method: how a round is computed. `loop` trains one client after the other, `threads` one a core,
            `stacked` all in one batched step (made for GPUs). The weights are the same up to rounding; only
            where a defence draws at random, `stacked` draws in another order. `auto` takes `stacked` on
            CUDA and `threads` on the CPU, where they can be had and there is more than one participant
            (and core), else `loop`. What was taken is in the history.

    Raises:
        UnknownNameError: there is no such method.
        ParameterError: too few samples for the clients, statistics that do not fit, or a method that
            cannot train this model.
        ShapeError: images or labels that do not fit the model, or pixels outside [0, 1].
        GradientError: a loss that is not finite (the message names client and round), or a defence that
            returns other names or shapes than it was given.
    """
    options = {"test": test, "mean": mean, "std": std, "defense": defense}
    (history,) = _train([model], split, protocol, [generator], keep, progress, method, **options)
    return history


def train_many(
    models: Sequence[nn.Module],
    split: Split | tuple[Tensor, Tensor],
    protocol: Protocol,
    *,
    generators: Sequence[torch.Generator],
    test: Split | tuple[Tensor, Tensor] | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    defense: Defense | None = None,
    keep: Collection[int] = (),
    progress: bool = False,
    method: Method = "auto",
) -> list[History]:
    """Train several models of one architecture side by side, such as those of several seeds.

    Every training goes as `train` would run it alone, with its own partition, batches, noise and early
    stop; with `stacked`, one step trains the participants of all of them.

    Args:
        models: on one device; they may differ in weights and, unless stacked, in anything else.
        split: the images of all trainings.
        protocol: as `train`, for all.
        generators: one a model.
        test: as `train`.
        mean: as `train`.
        std: as `train`.
        defense: as `train`.
        keep: as `train`.
        progress: whether to show a bar over the first model's rounds.
        method: as `train`.

    Returns:
        One history a model. The seconds of a round are those of all trainings that were still running.

    Raises:
        ParameterError: not one generator a model, no model, or models on several devices; and as `train`.
        UnknownNameError, ShapeError, GradientError: as `train`.
    """
    options = {"test": test, "mean": mean, "std": std, "defense": defense}
    return _train(models, split, protocol, generators, keep, progress, method, **options)


Course = Generator[Round, float, History]
"""A training that leaves its rounds to others: it yields each and is sent the round's mean loss."""


def _train(models, split, protocol, generators, keep, progress, method, *, test, mean, std, defense):
    if not models or len(models) != len(generators):
        raise ParameterError(
            f"Give at least one model and one generator a model, got {len(models)} models and "
            f"{len(generators)} generators."
        )
    likes = [_trainable(model) for model in models]
    if len({(like.device, like.dtype) for like in likes}) > 1:
        raise ParameterError("The models differ in device or dtype: move them all to the same.")
    images, tests = Images(split, mean=mean, std=std, like=likes[0]), None
    if test is not None:
        tests = Images(test, mean=images.mean, std=images.std, like=likes[0], what="test split")
    federations = [
        _federation(copy.deepcopy(model), images, protocol, generator, defense)
        for model, generator in zip(models, generators, strict=True)
    ]
    courses = [
        _course(federation, tests, keep, progress and number == 0)
        for number, federation in enumerate(federations)
    ]
    with torch.random.fork_rng(devices=[images.labels.device] if images.labels.is_cuda else []):
        for federation in federations:
            _check_fit(federation.model, images, tests)
        run = engine(method, federations)
        # what draws from the global generator goes by the loop, and there one training ends before the next
        together = [courses] if run.name != "loop" else [[course] for course in courses]
        try:
            histories = [history for some in together for history in _side_by_side(some, run)]
        finally:
            run.close()
            for course in courses:
                course.close()
    for history in histories:
        history.method = run.name
    return histories


def _side_by_side(courses: Sequence[Course], run: Engine) -> list[History]:
    """Run the trainings round by round, each until its own end."""
    histories: dict[int, History] = {}
    sent: dict[int, Any] = dict.fromkeys(range(len(courses)))  # None starts a course
    while sent:
        rounds: dict[int, Round] = {}
        for number, loss in sent.items():
            try:
                rounds[number] = courses[number].send(loss)
            except StopIteration as end:
                histories[number] = end.value
        sent = dict(zip(rounds, run(list(rounds.values())), strict=True)) if rounds else {}
    return [histories[number] for number in range(len(courses))]


def _federation(
    model: nn.Module,
    images: Images,
    protocol: Protocol,
    generator: torch.Generator,
    defense: Defense | None,
) -> Federation:
    stream = streams(generator, STREAMS, device=images.labels.device, on_device=ON_DEVICE)
    clients = _partition(images.labels, protocol, stream["partition"])
    return Federation(model, objective(model), images, clients, protocol, stream, defense)


def _course(federation: Federation, tests: Images | None, keep: Collection[int], progress: bool) -> Course:
    model, images, protocol = federation.model, federation.images, federation.protocol
    history = History(protocol, images.mean, images.std, tuple(federation.clients), model)
    lr = protocol.lr
    other = contained(federation.streams["other"], images.labels.device)
    with other, _bar(protocol.rounds, progress) as bar:
        _check_fit(model, images, tests)
        for number in range(protocol.rounds + 1):
            began = time.perf_counter()
            history.train_loss.append((yield Round(federation, number, lr)) if number else math.nan)
            _measure_round(history, federation, tests, number)
            history.lr.append(lr)
            history.seconds.append(time.perf_counter() - began)
            if number in keep:
                history.snapshots[number] = snapshot(model)
            if bar is not None:
                bar.set_postfix(_summary(history), refresh=False)
                bar.update(min(number, 1))
            stale = number - history.best_round
            if protocol.patience is not None and stale >= protocol.patience:
                history.stopped_early = number < protocol.rounds
                break
            if protocol.halve_lr_after and stale and stale % protocol.halve_lr_after == 0:
                lr /= 2
    history.last_state = snapshot(model)
    model.load_state_dict(history.best_state)
    model.eval()
    return history


def evaluate(
    model: nn.Module,
    split: Split | tuple[Tensor, Tensor],
    *,
    mean: Sequence[float] | float,
    std: Sequence[float] | float,
    generator: torch.Generator,
) -> tuple[float, float]:
    """Return mean loss (cross-entropy + KL) and accuracy in [0, 1] of `model` on a split, as `train` does.

    The model's mode (training or evaluation) and the global random generator are left as they were.

    Raises:
        ParameterError, ShapeError: as `train`.
    """
    images = Images(split, mean=mean, std=std, like=next(model.parameters()), what="split")
    device = images.labels.device
    stream = streams(generator, ("test", "other"), device=device, on_device=("test",))
    modes = {module: module.training for module in model.modules()}
    try:
        with contained(stream["other"], device):
            _check_fit(model, images, None)
            losses, hits = measure(model, objective(model), images, None, stream["test"])
    finally:
        for module, training in modes.items():
            module.training = training
    return float(losses.double().mean()), float(hits.mean())


def _measure_round(history: History, federation: Federation, tests: Images | None, number: int) -> None:
    loss, accuracy = federation.validate(number)
    if number == 0 or loss < history.val_loss[history.best_round]:
        history.best_round, history.best_state = number, snapshot(federation.model)
    history.val_loss.append(loss)
    history.val_accuracy.append(accuracy)
    if tests is not None:
        noise = federation.streams["test"]
        hits = measure(federation.model, federation.loss_of, tests, None, noise)[1]
        history.test_accuracy.append(float(hits.mean()))


def _partition(labels: Tensor, protocol: Protocol, generator: torch.Generator) -> tuple[Client, ...]:
    if protocol.partition == "iid":
        parts = iid(labels, protocol.clients, generator)
    else:
        held = {"classes": protocol.classes_per_client, "samples": protocol.samples_per_class}
        parts = by_class(labels, protocol.clients, generator, **held)
    return hold_out(parts, generator, fraction=protocol.val_fraction)


def _trainable(model: nn.Module) -> nn.Parameter:
    for parameter in model.parameters():
        if parameter.requires_grad:
            return parameter
    raise ParameterError("The model has no parameter to train: set requires_grad on those to be trained.")


@torch.no_grad()
def _check_fit(model: nn.Module, *sets: Images | None) -> None:
    """Refuse images that the model does not accept and labels that it has no logit for."""
    model.eval()
    for images in filter(None, sets):
        try:
            classes = model(images[:1][0]).shape[-1]
        except RuntimeError as error:
            shape = images.shape[1:]
            raise ShapeError(f"The model does not accept images C x H x W = {shape}: {error}") from error
        low, high = (int(v) for v in images.labels.aminmax())
        if low < 0 or high >= classes:
            raise ShapeError(
                f"Labels must be 0 to {classes - 1}, since the model has {classes} logits, got {low} to "
                f"{high}: build the model with num_classes={high + 1}, or number the classes from 0."
            )


def _bar(rounds: int, progress: bool) -> AbstractContextManager[Any]:
    if not progress:
        return nullcontext()
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        message = "progress=True needs tqdm: pip install 'gleak[book]', or pass progress=False."
        raise MissingDependencyError(message) from error
    return tqdm(total=rounds, desc="federated rounds", unit="round")


def _summary(history: History) -> dict[str, str]:
    shown = {"val loss": f"{history.val_loss[-1]:.4f}", "best": str(history.best_round)}
    if history.test_accuracy:
        shown["test acc"] = f"{history.test_accuracy[-1]:.3f}"
    return shown
