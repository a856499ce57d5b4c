"""Batch statistics that BatchNorm in training mode takes.

A client's gradients flow through those of its own batch. So do the dummies' (`Match(statistics="own")`): with
the clients' numbers in place of their own, not even the truth would match.
"""

import copy
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from gleak_lib.gradients import forward
from gleak_lib.gradients.norm_layers import VictimBatchNorm

Statistics = dict[str, Tensor]
"""By layer: V x 2 x C, mean and (biased) variance of what each victim's batch sends into it."""


def batch_statistics(model: nn.Module, x: Tensor, noise: Sequence[Tensor] = ()) -> Statistics:
    """Return the statistics that every BatchNorm in training mode takes of the victims' batches.

    Args:
        model: made by `gradients.prepare`.
        x: N x C x H x W, normalized.
        noise: the bottlenecks', N x map each.
    """
    found: Statistics = {}

    def record(name: str):
        def hook(module, inputs) -> None:
            features = inputs[0]
            rows = features.reshape(-1, module.batch_size, features.shape[1], features[0, 0].numel())
            mean, variance = rows.mean((1, 3)), rows.var((1, 3), correction=0)
            found[name] = torch.stack([mean, variance], 1)

        return hook

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, VictimBatchNorm):
                hooks.callback(module.register_forward_pre_hook(record(name)).remove)
        forward(model, x, noise or None)
    return found


def statistics_distance(own: Statistics, clients: Statistics) -> Tensor:
    """Sum over layers of the distances of means and of variances, V values (Yin et al. 2021, Eq. 5)."""
    parts = [torch.linalg.vector_norm(own[name] - clients[name] + 1e-12, dim=2).sum(1) for name in clients]
    return torch.stack(parts).sum(0)


def use_running(model: nn.Module) -> nn.Module:
    """Return a copy whose BatchNorm layers are in evaluation mode, the rest as it was."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model
