"""Federated averaging with early stopping (McMahan et al. 2017; the protocol of 001 §V-A)."""

import copy
import math
import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from gleak_lib.datasets.base import Split
from gleak_lib.defenses import Defense as Transformation
from gleak_lib.errors import MissingDependencyError, ParameterError, ShapeError
from gleak_lib.extras import require
from gleak_lib.federated.data import Images
from gleak_lib.federated.history import History
from gleak_lib.federated.local import Defense, measure, objective, predict
from gleak_lib.federated.partition import Client, by_class, hold_out, iid
from gleak_lib.federated.privacy import spent
from gleak_lib.federated.protocol import Protocol
from gleak_lib.federated.randomness import contained, streams
from gleak_lib.federated.server import Federation, snapshot

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
        defense: a transformation of every local step's gradients, see `Defense`; what a differentially
            private one costs in privacy is in the history (needs Opacus).
        keep: rounds after which the weights go to `History.snapshots`; 0 is the fresh model.
        progress: whether to show a bar over the rounds (needs tqdm).

    Raises:
        ParameterError: too few samples for the clients, or statistics that do not fit.
        ShapeError: images or labels that do not fit the model, or pixels outside [0, 1].
        GradientError: a loss that is not finite (the message names client and round), or a defence that
            returns other names or shapes than it was given.
    """
    model = copy.deepcopy(model)
    images = Images(split, mean=mean, std=std, like=_trainable(model))
    device = images.labels.device
    tests = None
    if test is not None:
        tests = Images(test, mean=images.mean, std=images.std, like=_trainable(model), what="test split")
    stream = streams(generator, STREAMS, device=device, on_device=ON_DEVICE)
    clients = _partition(images.labels, protocol, stream["partition"])
    private = defense.privacy if isinstance(defense, Transformation) else None
    if private is not None:
        require("opacus", "defenses")  # now, not after hours of training
    federation = Federation(model, objective(model), images, clients, protocol, stream, defense)
    history = History(protocol, images.mean, images.std, clients, model)
    lr = protocol.lr
    with contained(stream["other"], device), _bar(protocol.rounds, progress) as bar:
        _check_fit(model, images, tests)
        for number in range(protocol.rounds + 1):
            began = time.perf_counter()
            history.train_loss.append(federation.run_round(number, lr) if number else math.nan)
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
    if private is not None:
        history.epsilon, history.delta = spent(private, clients, federation.taken, protocol), private.delta
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
        logits = predict(federation.model, federation.loss_of, tests, noise)
        history.test_accuracy.append(float((logits.argmax(1) == tests.labels).double().mean()))
        if history.best_round == number:
            history.test_logits, history.test_labels = logits.cpu(), tests.labels.cpu()


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
