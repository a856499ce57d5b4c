"""Federated averaging with early stopping (McMahan et al. 2017; the protocol of 001 §V-A)."""

import copy
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from gleak_lib.datasets.base import Split
from gleak_lib.errors import ParameterError
from gleak_lib.extras import require
from gleak_lib.federated.data import Images
from gleak_lib.federated.history import History
from gleak_lib.federated.local import Defense, by_place, measure
from gleak_lib.federated.method import Method, engine
from gleak_lib.federated.partition import Client, deal
from gleak_lib.federated.protocol import Protocol
from gleak_lib.federated.randomness import contained, streams
from gleak_lib.federated.server import Federation
from gleak_lib.federated.training_loop import begin, check_fit, side_by_side
from gleak_lib.federated.weights import trained
from gleak_lib.global_generator import isolated
from gleak_lib.typed import typed

STREAMS = ("partition", "participants", "shuffle", "noise", "val", "test", "other", "update")
ON_DEVICE = ("noise", "val", "test", "update")


@typed
def train(
    model: nn.Module,
    split: Split | tuple[Tensor, Tensor],
    protocol: Protocol,
    *,
    generator: torch.Generator,
    val: Split | tuple[Tensor, Tensor] | None = None,
    test: Split | tuple[Tensor, Tensor] | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    defense: Defense | None = None,
    keep: Collection[int] = (),
    progress: bool = False,
    method: Method = "auto",
) -> History:
    """Train a copy of `model` by federated averaging and return what happened (001 §V-A).

    In each round every participant starts from the global weights, minimizes cross-entropy + KL (001
    Eq. 3) on its own images with a fresh optimizer, and shares its update, theta_before - theta_after. The
    server subtracts the aggregate (`Protocol.aggregation`) and averages buffers, such as running statistics.
    The global model is then measured on all clients' validation images, with the same loss, and on the test
    split. Bottlenecks sample in evaluation, too.

    Args:
        model: any classifier N x C x H x W -> N x K, on the device to train on; it is not changed.
        split: the training images, uint8 or floats in [0, 1]; validation is taken from each client's
            share of them, as in the paper, unless the protocol says `validation='split'`.
        protocol: see `Protocol`.
        generator: the only source of randomness; the global one is left as it was. Partition, batches and
            noise have streams of their own: with one seed, models with and without bottlenecks see the same
            batches, and a test split changes nothing else.
        val: validation images, such as `dataset.val`, where the protocol says `validation='split'`.
        test: images on which the global model is measured, too; nothing depends on it.
        mean, std: pixel statistics, one value per channel; the model sees (pixel - mean) / std. None takes
            those of `split`; what was used is in the history.
        defense: what clients do to each local step's gradients, or to the update that they share, see
            `Defense`; what a differentially private one costs in privacy is in the history (needs Opacus).
        keep: rounds after which the weights go to `History.snapshots`; 0 is the fresh model.
        progress: whether to show a bar over the rounds (needs tqdm).
        method: how a round is computed. `loop` trains one client after the other, `threads` one per core,
            `stacked` all in one batched step (made for GPUs). The weights are the same up to rounding; only
            where a defense draws at random, `stacked` draws in another order. `auto` takes the fastest that
            can be had, `threads` only with OMP_WAIT_POLICY=PASSIVE. What was taken is in the history.

    Raises:
        UnknownNameError: If there is no such method.
        ParameterError: If there are too few samples for the clients, statistics do not fit, the method cannot
            train this model, or `val` and `protocol.validation` contradict each other.
        DataError: If a split has no images.
        ShapeError: If images or labels do not fit the model, or pixels are outside [0, 1].
        GradientError: If a loss is not finite (the message names client and round), or a defense returns
            other names or shapes than it was given.
    """
    options = {"val": val, "test": test, "mean": mean, "std": std, "defense": defense}
    options |= {"keep": keep, "progress": progress, "method": method}
    return train_many([model], split, protocol, generators=[generator], **options)[0]


@typed
def train_many(
    models: Sequence[nn.Module],
    split: Split | tuple[Tensor, Tensor],
    protocol: Protocol,
    *,
    generators: Sequence[torch.Generator],
    val: Split | tuple[Tensor, Tensor] | None = None,
    test: Split | tuple[Tensor, Tensor] | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    defense: Defense | Sequence[Defense] | None = None,
    keep: Collection[int] = (),
    progress: bool = False,
    method: Method = "auto",
) -> list[History]:
    """Train several models of one architecture side by side, such as those of several seeds.

    Every training goes as `train` would run it alone, with its own partition, batches, noise and early
    stop; with `stacked`, one step trains the participants of all of them.

    Args:
        models: on one device; they may differ in weights and, unless stacked, in anything else.
        split, protocol, val, test, mean, std, keep, method: of all trainings, as `train`.
        defense: as `train`; or one per model, alike but for what they were prepared with.
        generators: one per model.
        progress: whether to show a bar over the first model's rounds.

    Returns:
        One history per model.

    Raises:
        ParameterError: If there is no model, not one generator (and defense) per model, or the models differ
            in device or dtype, or the defenses in more than what they were prepared with; and as `train`.
        UnknownNameError, DataError, ShapeError, GradientError: As `train`.
    """
    if not models or len(models) != len(generators):
        raise ParameterError(
            f"Give at least one model and one generator per model, got {len(models)} models and "
            f"{len(generators)} generators."
        )
    likes = [_trainable(model) for model in models]
    if len({(like.device, like.dtype) for like in likes}) > 1:
        raise ParameterError("The models differ in device or dtype: move them all to the same.")
    images = Images(split, mean=mean, std=std, like=likes[0])
    pixels = {"mean": images.mean, "std": images.std, "like": likes[0]}
    if (protocol.validation == "split") != (val is not None):
        raise ParameterError(
            "Protocol(validation='split') needs val=..., such as dataset.val, and nothing else takes it; got "
            f"validation={protocol.validation!r} {'without' if val is None else 'with'} val."
        )
    held = None if val is None else Images(val, what="validation split", **pixels)
    tests = None if test is None else Images(test, what="test split", **pixels)
    defenses = list(defense) if isinstance(defense, Sequence) else [defense] * len(models)
    if len(defenses) != len(models) or any(one != defenses[0] for one in defenses):
        raise ParameterError("Give one defense for all models, or one per model that differ in no setting.")
    places = [by_place(one) for one in defenses]
    if getattr(places[0][0], "privacy", None) is not None:
        require("opacus", "defenses")  # now, not after hours of training
    federations = []
    for model, generator, (on_step, on_update) in zip(models, generators, places, strict=True):
        stream = streams(generator, STREAMS, device=images.labels.device, on_device=ON_DEVICE)
        clients = deal(images.labels, protocol, stream["partition"])
        own = copy.deepcopy(model)
        federations.append(Federation(own, images, clients, protocol, stream, on_step, on_update, held))
    trainings = [
        begin(federation, tests, keep, progress and number == 0)
        for number, federation in enumerate(federations)
    ]
    with isolated(images.labels.device):
        for federation in federations:
            check_fit(federation.model, images, held, tests)
        run = engine(method, federations)
        # what draws from the global generator goes by the loop, and there one training ends before the next
        together = [trainings] if run.name != "loop" else [[training] for training in trainings]
        try:
            histories = [history for some in together for history in side_by_side(some, run)]
        finally:
            run.close()
            for training in trainings:
                training.close()
    for history in histories:
        history.method = run.name
    return histories


@typed
def clients_of(labels: Tensor, protocol: Protocol, *, generator: torch.Generator) -> tuple[Client, ...]:
    """Return who holds which training images when `train` is given this protocol and this generator.

    Nothing is trained. `labels` are the N training images' class indices, the generator is in the state
    in which `train` gets it.

    Raises:
        ParameterError: If there are too few samples for the clients.
    """
    stream = streams(generator, STREAMS, device=torch.device("cpu"))
    return deal(labels, protocol, stream["partition"])


@typed
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
        ParameterError, ShapeError: As `train`.
    """
    images = Images(split, mean=mean, std=std, like=next(model.parameters()), what="split")
    device = images.labels.device
    stream = streams(generator, ("test", "other"), device=device, on_device=("test",))
    modes = {module: module.training for module in model.modules()}
    try:
        with contained(stream["other"], device):
            check_fit(model, images, None)
            losses, hits, _ = measure(model, images, None, stream["test"])
    finally:
        for module, training in modes.items():
            module.training = training
    return float(losses.double().mean()), float(hits.mean())


def _trainable(model: nn.Module) -> nn.Parameter:
    for parameter in trained(model).values():
        return parameter
    raise ParameterError("The model has no parameter to train: set requires_grad on those to be trained.")
