"""Federated trainings as cells run them: one, or several that differ in their seeds side by side."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from gleak_lib import federated
from gleak_lib.experiments import figures, weights
from gleak_lib.experiments.base import Output
from gleak_lib.experiments.context import Context

if TYPE_CHECKING:
    from gleak_lib.experiments.cells import TrainingCell

# Fresh weights, and dropout in training, come from torch's global generator: one thread at a time.
GLOBAL_GENERATOR = threading.RLock()


def train(cells: "Sequence[TrainingCell]", context: Context) -> list[Output]:
    """Train, keep the weights, and return each cell's curves.

    Args:
        cells: alike but for their seeds and the rounds to keep.
        context: where and how.
    """
    first, *_ = cells
    dataset = context.dataset(first.dataset, first.statistics)
    models = [cell.build(dataset).to(context.device) for cell in cells]
    if dataset.victims_only and not first.protocol.rounds:
        return [Output(figures.untrained(model)) for model in models]
    dataset.require_training()
    with GLOBAL_GENERATOR:
        histories = federated.train_many(
            models,
            dataset.train,
            first.protocol,
            generators=[torch.Generator().manual_seed(cell.seed) for cell in cells],
            val=dataset.val if first.protocol.validation == "split" else None,
            test=dataset.test,
            mean=dataset.mean,
            std=dataset.std,
            defense=first.transformation(),
            keep=sorted({rounds for cell in cells for rounds in cell.keep}),
            progress=context.progress,
        )
    for cell, history in zip(cells, histories, strict=True):
        kept = {r: s for r, s in history.snapshots.items() if r in cell.keep}
        for rounds, state in {**kept, history.rounds: history.last_state}.items():
            if rounds:
                weights.save(cell.at(rounds), state, context)
    return [Output(figures.training(h, model)) for h, model in zip(histories, models, strict=True)]
