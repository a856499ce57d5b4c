"""What is noted of an attack's gradients while it runs, layer by layer and step by step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from gleak_lib import gradients, models
from gleak_lib.attacks.distances import cosine
from gleak_lib.attacks.unknowns import Unknowns
from gleak_lib.bottlenecks import encodings, sample_noise
from gleak_lib.gradients.factored import by_row
from gleak_lib.types import Grads, Observation
from torch import Tensor

QUARTILES = {"q25": 0.25, "median": 0.5, "q75": 0.75}


class Watch:
    """A callback of an attack: keeps what `GradientTracksExperiment` stores.

    Args:
        observation: what is attacked; labels are known.
        steps: those on the curves.
        tail: those at the end over which mean and fluctuation are taken.
        shown: the first so many victims keep curves and entries of their own.
        generator: chooses these entries.
    """

    def __init__(
        self,
        observation: Observation,
        steps: Sequence[int],
        tail: range,
        shown: int,
        generator: torch.Generator,
    ) -> None:
        assert observation.labels is not None
        self.observation, self.labels = observation, observation.labels
        self.model = gradients.prepare(observation.model, observation.batch_size)
        self.groups = models.parameter_groups(observation.model)
        self.steps, self.tail = steps, tail
        self.client = {group: self._flat(observation.gradients, group)[:shown] for group in self.groups}
        self.chosen = {group: _two_entries(values, generator) for group, values in self.client.items()}
        self.curves: list[Tensor] = []  # G x V each
        self.last: list[Tensor] = []  # 2 x G x V each: similarity, and length relative to the client's
        self.image = torch.empty(0)  # the last dummy
        self.entries: dict[str, list[Tensor]] = {group: [] for group in self.groups}

    def __call__(self, step: int, victims: Tensor, unknowns: Unknowns, noise: tuple[Tensor, ...]) -> None:
        on_curve, at_end = step in self.steps, step in self.tail
        if not (on_curve or at_end):
            return
        images, labels = unknowns["image"].flatten(0, 1), self.labels[victims].flatten()
        dummy, _ = gradients.per_victim_gradients(
            self.model, images, labels, victims=len(victims), noise=noise
        )
        similarity = self._by_group(lambda own, theirs: 1 - cosine(own, theirs), dummy)
        if on_curve:
            self.curves.append(similarity)
            for group, chosen in self.chosen.items():
                values = self._flat(dummy, group)[: len(chosen)]
                self.entries[group].append(values.gather(1, chosen.to(values.device)))
        if at_end:
            self.image = unknowns["image"]
            self.last.append(torch.stack([similarity, self._by_group(_length, dummy)]))

    def figures(self) -> dict[str, Any]:
        """Return plain numbers; lists by group stand in the order of `groups`."""
        curves = torch.stack(self.curves).double().cpu()  # T x G x V
        similarity, length = torch.stack(self.last, 1).double().cpu()
        shares = torch.tensor(list(QUARTILES.values()), dtype=curves.dtype)
        quartiles = dict(zip(QUARTILES, torch.quantile(curves, shares, dim=2), strict=True))
        change = (similarity[1:] - similarity[:-1]).square().mean(0).sqrt()
        few = next(iter(self.chosen.values())).shape[0]
        return {
            "groups": list(self.groups),
            "steps": list(self.steps),
            "similarity": {name: _short(value.T) for name, value in quartiles.items()},
            "examples": _short(curves[:, :, :few].permute(2, 1, 0)),
            "entries": [
                {
                    "client": _short(self.client[group].cpu().gather(1, chosen), 5),
                    "dummy": _short(torch.stack(self.entries[group], 2).cpu(), 5),
                }
                for group, chosen in self.chosen.items()
            ],
            "tail": {
                "steps": len(self.last),
                "mean": _short(similarity.mean(0)),
                "std": _short(similarity.std(0, correction=0), 5),
                "change": _short(change, 5),
                "length": _short(length.mean(0)),
            },
        }

    def signal(self, x: Tensor) -> list[float] | None:
        """Return |mu| / |sigma| in the first bottleneck for each of N images; None without a bottleneck.

        Args:
            x: ... x C x H x W, normalized.
        """
        x = x.reshape(-1, *x.shape[-3:])
        noise = sample_noise(self.model, len(x), x, torch.Generator(x.device))
        for found in encodings(self.model, x, noise):
            mu, sigma = (part.flatten(1).norm(dim=1) for part in found)
            return _short(mu / sigma)
        return None

    def _flat(self, grads: Grads, group: str) -> Tensor:
        return torch.cat([by_row(grads[name]) for name in self.groups[group]], 1)

    def _by_group(self, function: Callable[[Grads, Grads], Tensor], dummy: Grads) -> Tensor:
        observed = self.observation.gradients
        rows = [
            function({n: dummy[n] for n in names}, {n: observed[n] for n in names})
            for names in self.groups.values()
        ]
        return torch.stack(rows).detach()


def _two_entries(client: Tensor, generator: torch.Generator) -> Tensor:
    """Draw two entries a row, V x 2 indices, among the larger half of those that are not zero."""
    rows = []
    for row in client.abs().cpu():
        present = row.nonzero().squeeze(1)
        present = present if len(present) > 1 else torch.arange(len(row))
        larger = present[row[present] >= row[present].median()]
        larger = larger if len(larger) > 1 else present
        rows.append(larger[torch.randperm(len(larger), generator=generator)[:2]])
    return torch.stack(rows)


def _length(dummy: Grads, observed: Grads) -> Tensor:
    """Norm of the dummy's gradient in units of the client's, V values."""

    def norm(grads: Grads) -> Tensor:
        return torch.cat([by_row(g) for g in grads.values()], 1).norm(dim=1)

    return norm(dummy) / norm(observed).clamp_min(torch.finfo(torch.float32).tiny)


def _short(values: Tensor, digits: int = 4) -> Any:
    """Nested lists of numbers with few digits: these files are committed."""

    def cut(value: Any) -> Any:
        return [cut(v) for v in value] if isinstance(value, list) else float(f"{value:.{digits}g}")

    return cut(values.tolist())
