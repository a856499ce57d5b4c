"""Measures of a classifier that a large class cannot hide behind, as MedMNIST reports them."""

import warnings

import numpy as np
from torch import Tensor

from gleak_lib.errors import ShapeError
from gleak_lib.extras import require
from gleak_lib.typed import typed


@typed
def balanced_accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of the share of their images that are found, in [0, 1].

    Args:
        scores: N x K, logits or probabilities; the largest one is the prediction.
        labels: N class indices. A class without an image does not count.

    Raises:
        ShapeError: scores and labels that do not fit.
        MissingDependencyError: scikit-learn is not installed.
    """
    found, truth = _arrays(scores, labels)
    with warnings.catch_warnings():  # a predicted class without an image is no news here
        warnings.simplefilter("ignore", UserWarning)
        score = require("sklearn.metrics", "data").balanced_accuracy_score(truth, found.argmax(1))
    return float(score)


@typed
def auc(scores: Tensor, labels: Tensor) -> float:
    """Return the area under the ROC curve: of class 1 for two classes, else the mean of one against the rest.

    As MedMNIST's evaluator does it (Yang et al. 2023). Logits are made probabilities first, since curves of
    one class against the rest compare images with each other.

    Args:
        scores: N x K logits.
        labels: N class indices. Classes that no image or every image has do not count; NaN if none is left,
            or if a score is not finite.

    Raises:
        ShapeError: scores and labels that do not fit.
        MissingDependencyError: scikit-learn is not installed.
    """
    found, truth = _arrays(scores.double().softmax(1) if scores.ndim == 2 else scores, labels)
    if not np.isfinite(found).all():
        return float("nan")
    area = require("sklearn.metrics", "data").roc_auc_score
    classes = [1] if found.shape[1] == 2 else range(found.shape[1])
    areas = [area(truth == k, found[:, k]) for k in classes if 0 < np.count_nonzero(truth == k) < len(truth)]
    return float(np.mean(areas)) if areas else float("nan")


def _arrays(scores: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    if scores.ndim != 2 or scores.shape[1] < 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise ShapeError(
            f"Expected scores N x K with K at least 2 and N labels, got {tuple(scores.shape)} and "
            f"{tuple(labels.shape)}."
        )
    return scores.detach().cpu().numpy(), labels.detach().cpu().numpy()
