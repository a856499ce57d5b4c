"""What an attack optimizes: a small dict of tensors, one row per victim, and how rows are taken and put."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

Unknowns = dict[str, Tensor]
"""Of `Pixels`, `image`: V x B x C x H x W, normalized; where they are optimized, too, `label`: V x B x K,
logits of soft labels, and `noise0` ..., one per bottleneck."""


def flatten(unknowns: Unknowns) -> Tensor:
    """Return V x D: each victim's unknowns in one row."""
    return torch.cat([u.flatten(1) for u in unknowns.values()], 1)


def unflatten(flat: Tensor, like: Unknowns) -> Unknowns:
    """Undo `flatten`, also of more or fewer rows than `like` has."""
    parts = flat.split([u[0].numel() for u in like.values()], 1)
    return {
        name: part.reshape(len(flat), *u.shape[1:])
        for (name, u), part in zip(like.items(), parts, strict=True)
    }


def select(mask: Tensor, chosen: Unknowns, others: Unknowns) -> Unknowns:
    """Return the rows of `chosen` where `mask` (V bools) holds, and of `others` elsewhere."""
    return {
        name: torch.where(mask.view(-1, *[1] * (u.dim() - 1)), u, others[name]) for name, u in chosen.items()
    }


def take(tree: Any, rows: Tensor | slice) -> Any:
    """Keep some victims of every tensor in nested tuples and dicts: `rows` are indices, V bools, a slice."""
    return tree_map(lambda tensor: None if tensor is None else tensor[rows], tree)


def repeated(tree: Any, times: int) -> Any:
    """Give each victim several equal rows, side by side, in every tensor of nested tuples and dicts."""
    return tree_map(lambda tensor: tensor.repeat_interleave(times, 0), tree)


def join(trees: Sequence[Any]) -> Any:
    """Undo `take`: put the victims of trees of one form one behind the other."""
    if len(trees) == 1:
        return trees[0]
    flat = [tree_flatten(tree)[0] for tree in trees]
    return tree_unflatten([torch.cat(parts) for parts in zip(*flat, strict=True)], tree_flatten(trees[0])[1])


def draw_of(noise: tuple[Tensor, ...], number: int, draws: int, victims: int) -> tuple[Tensor, ...]:
    """Return one of several draws (number 0 is the first) of noise whose rows stand victim by victim."""
    if draws == 1:
        return noise
    by_draw = (n.reshape(victims, draws, -1, *n.shape[1:]) for n in noise)
    return tuple(n[:, number].flatten(0, 1) for n in by_draw)


def take_noise(noise: tuple[Tensor, ...], rows: Tensor | slice, victims: int) -> tuple[Tensor, ...]:
    """Keep some victims of noise whose N rows stand victim by victim."""
    return tuple(n.reshape(victims, -1, *n.shape[1:])[rows].flatten(0, 1) for n in noise)
