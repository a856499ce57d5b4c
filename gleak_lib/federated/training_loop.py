"""The loop over a training's rounds: what is measured after each, and when it ends."""

import math
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from gleak_lib.errors import ShapeError
from gleak_lib.extras import require
from gleak_lib.federated.data import Images
from gleak_lib.federated.history import History
from gleak_lib.federated.local import Means, measure
from gleak_lib.federated.method import Engine
from gleak_lib.federated.privacy import spent
from gleak_lib.federated.randomness import contained
from gleak_lib.federated.server import Federation, Round, snapshot

Training = Generator[Round, tuple[Means, float], History]
"""A training that leaves its rounds to others: it yields each and is sent its means and seconds."""


def side_by_side(trainings: Sequence[Training], run: Engine) -> list[History]:
    """Run the trainings round by round, each until its own end."""
    histories: dict[int, History] = {}
    sent: dict[int, Any] = dict.fromkeys(range(len(trainings)))  # None starts a training
    while sent:
        rounds: dict[int, Round] = {}
        for number, trained in sent.items():
            try:
                rounds[number] = trainings[number].send(trained)
            except StopIteration as end:
                histories[number] = end.value
        began = time.perf_counter()
        means = run(list(rounds.values())) if rounds else []
        seconds = (time.perf_counter() - began) / max(1, len(rounds))
        sent = {number: (one, seconds) for number, one in zip(rounds, means, strict=True)}
    return [histories[number] for number in range(len(trainings))]


def begin(federation: Federation, tests: Images | None, keep: Collection[int], progress: bool) -> Training:
    """Train by rounds that others run; return the history."""
    model, images, protocol = federation.model, federation.images, federation.protocol
    history = History(protocol, images.mean, images.std, tuple(federation.clients), model)
    lr = protocol.lr
    other = contained(federation.streams["other"], images.labels.device)
    with other, _bar(protocol.rounds, progress) as bar:
        check_fit(model, images, tests)
        for number in range(protocol.rounds + 1):
            none = (math.nan, math.nan), 0.0
            (loss, accuracy), seconds = (yield federation.round(number, lr)) if number else none
            history.train_loss.append(loss)
            history.train_accuracy.append(accuracy)
            history.train_seconds.append(seconds)
            history.lr.append(lr)
            began = time.perf_counter()
            evaluated = number % protocol.evaluate_every == 0 or number == protocol.rounds
            _evaluate(history, federation, tests, number, evaluated)
            history.eval_seconds.append(time.perf_counter() - began)
            if number in keep:
                history.snapshots[number] = snapshot(model)
            if bar is not None:
                if evaluated:
                    bar.set_postfix(_summary(history), refresh=False)
                bar.update(min(number, 1))
            stale = number - history.best_round if evaluated else 0
            if protocol.patience is not None and stale >= protocol.patience:
                history.stopped_early = number < protocol.rounds
                break
            if protocol.halve_lr_after and stale and stale % protocol.halve_lr_after == 0:
                lr /= 2
    if (private := getattr(federation.defense, "privacy", None)) is not None:
        history.epsilon = spent(private, history.clients, federation.participations, protocol)
        history.delta = private.delta
    history.last_state = snapshot(model)
    model.load_state_dict(history.best_state)
    model.eval()
    return history


def _evaluate(
    history: History, federation: Federation, tests: Images | None, number: int, evaluated: bool
) -> None:
    """Measure the global model, or note that it was not measured."""
    loss, accuracy = federation.validate(number) if evaluated else (math.nan, math.nan)
    best = evaluated and (number == 0 or not loss >= history.val_loss[history.best_round])  # NaN: the last
    if best:
        history.best_round, history.best_state = number, snapshot(federation.model)
    history.val_loss.append(loss)
    history.val_accuracy.append(accuracy)
    if tests is not None and evaluated:
        _, hits, logits = measure(federation.model, tests, None, federation.streams["test"])
        accuracy = float(hits.mean())
        if best:
            history.test_logits, history.test_labels = logits.cpu(), tests.labels.cpu()
    if tests is not None:
        history.test_accuracy.append(accuracy)


@torch.no_grad()
def check_fit(model: nn.Module, *sets: Images | None) -> None:
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
    return require("tqdm.auto", "book").tqdm(total=rounds, desc="federated rounds", unit="round")


def _summary(history: History) -> dict[str, str]:
    shown = {"val loss": f"{history.val_loss[-1]:.4f}", "best": str(history.best_round)}
    if history.test_accuracy:
        shown["test acc"] = f"{history.test_accuracy[-1]:.3f}"
    return shown
