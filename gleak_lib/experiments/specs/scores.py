"""Figures of finished runs as plain numbers, small enough to be stored and compared line by line."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gleak_lib import metrics, models
from gleak_lib.attacks import Inversion
from gleak_lib.attacks.evaluate import of_victims, refuse_failed
from gleak_lib.errors import MissingDependencyError, ParameterError
from gleak_lib.federated import History
from gleak_lib.types import Observation, Reconstruction

SCALINGS = ("minmax", "none")
SCORES = ("mse", "psnr", "ssim")
LPIPS = "lpips"
MSE_R = "mse_r"
OF_VICTIMS = ("loss", "steps", "loss_at_truth", "noise_correlation", "gradient_distance")
TRACE_POINTS = 40
EXAMPLES = 8
QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


def training(history: History, model: nn.Module) -> dict[str, Any]:
    """Return a training's curves (one value a round, round 0 first), best round and accuracies (shares).

    A curve without any value, as those of a training without validation images, is left out, and so is a
    learning rate that never changed, which is the protocol's.

    Balanced accuracy and AUC (see `metrics.classification`) are those of the best round's model, as the
    accuracy is; they are left out where scikit-learn is not installed. Where the clients' gradients were
    differentially private there are `epsilon`, one value a client, and `delta`.
    """
    curves = history.to_dict()
    kept = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_accuracy", "lr", "client_sizes"]
    kept = [name for name in kept if any(value is not None for value in curves[name])]
    if len(set(history.lr)) == 1:
        kept.remove("lr")
    kept += ["epsilon", "delta"] if history.epsilon is not None else []
    return {
        "parameters": models.count_parameters(model),
        "rounds": history.rounds,
        "best_round": history.best_round,
        "stopped_early": history.stopped_early,
        "accuracy": curves["accuracy"],
        **{name: curves[name] for name in kept},
        **_balanced(history),
    }


def _balanced(history: History) -> dict[str, float]:
    if history.test_logits is None or history.test_labels is None:
        return {}
    given = (history.test_logits, history.test_labels)
    try:
        return {"balanced_accuracy": metrics.balanced_accuracy(*given), "auc": metrics.auc(*given)}
    except MissingDependencyError:  # hours of training are not thrown away for it
        return {}


def untrained(model: nn.Module) -> dict[str, Any]:
    """Return the figures of fresh weights for which there is no image to measure them on."""
    return {"parameters": models.count_parameters(model), "rounds": 0, "best_round": 0, "accuracy": None}


def attack(
    observation: Observation,
    attack: Inversion,
    found: Reconstruction,
    images: Tensor,
    labels: Tensor,
    noise: Sequence[Tensor] = (),
    received: Observation | None = None,
) -> dict[str, Any]:
    """Return per-victim columns, their summary, and the quartiles of the loss over the steps.

    LPIPS is among the columns where its weights are at hand, see `metrics.lpips_at_hand`.

    Args:
        observation: what was attacked.
        attack: how.
        found: what `invert` returned.
        images, labels, noise: the truth; the noise update after update.
        received: what was cleaned before it was attacked, if it was.

    Raises:
        AttackError: If the attack failed for a victim.
    """
    refuse_failed(found, repr(attack.name))
    values = of_victims(found, images, observation, attack, labels, noise, received)
    sizes = {name: value[0].numel() for name, value in observation.gradients.items()}
    result: dict[str, Any] = {
        "parameters": models.count_parameters(observation.model),
        "entries_matched": sum(sizes[n] for n in attack.matched(observation)),
        "entries_total": sum(sizes.values()),
        "labels": labels.flatten().tolist(),
        **{name: value.tolist() for name, value in values.items()},
        "trace": trace(found),
        "scores": {},
        "summary": {},
    }
    if "label_accuracy" in values:
        result["label_accuracy"] = float(values["label_accuracy"].mean())
    distance = metrics.lpips_at_hand()
    names = SCORES if distance is None else (*SCORES, LPIPS)
    representation = _features(observation, found, images)
    for scaling in SCALINGS:
        frame = metrics.score(found, images, scaling=scaling, perceptual=distance)
        table = metrics.summary(frame)
        result["scores"][scaling] = {name: frame[name].tolist() for name in names} | representation
        result["summary"][scaling] = {"asr": metrics.attack_success_rate(frame)}
        for name in names:
            row = table.loc[name]
            result["summary"][scaling][name] = {"mean": row["mean"].item(), "std": row["std"].item()}
    return result


def _features(observation: Observation, found: Reconstruction, truth: Tensor) -> dict[str, list[float]]:
    """Return the errors in the attacked network's representation, MSE-R, of images as they are, one each."""
    pred, target = found.images.detach().cpu(), truth.detach().cpu()
    pred = metrics.assign(pred, target) if pred.dim() == 5 else pred
    features = metrics.penultimate(observation.model, mean=observation.mean, std=observation.std)
    try:
        return {MSE_R: metrics.mse_features(pred, target, features=features).flatten().tolist()}
    except ParameterError:  # a model without a linear layer has no such representation
        return {}


def trace(found: Reconstruction) -> dict[str, list[float]]:
    """Return five numbers of the loss over the victims, at no more than 40 steps.

    A victim that has stopped keeps its last loss, as in `plots.traces`.
    """
    losses = found.trace.detach().double().cpu().numpy().copy()
    for row in range(1, len(losses)):
        np.copyto(losses[row], losses[row - 1], where=np.isnan(losses[row]))
    picked = np.unique(np.linspace(0, len(losses) - 1, min(TRACE_POINTS, len(losses))).round().astype(int))
    steps = found.trace_steps.cpu().numpy()[picked]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a step at which no victim has a loss is NaN
        values = np.nanquantile(losses[picked], list(QUANTILES.values()), axis=1)
    return {"step": steps.tolist()} | dict(zip(QUANTILES, values.tolist(), strict=True))


def examples(found: Reconstruction, truth: Tensor, most: int = EXAMPLES) -> dict[str, np.ndarray]:
    """Return the first images and what was found, uint8, at most `most` x C x H x W each."""
    pred, target = found.images.detach().cpu(), truth.detach().cpu()
    if pred.ndim == 5:  # the order within a batch is unknown to the attack
        few = -(-most // pred.shape[1])
        pred, target = metrics.assign(pred[:few], target[:few]), target[:few]
    return {"truth": _bytes(target, most), "reconstruction": _bytes(pred, most)}


def _bytes(images: Tensor, most: int) -> np.ndarray:
    images = images.reshape(-1, *images.shape[-3:])[:most]
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
