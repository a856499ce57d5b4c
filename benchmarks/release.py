"""Drives the code that the CVB paper's authors released, from a checkout that the user names.

It runs their own attack on their own model, with our weights, victims, first dummies and, where asked,
noise. None of it lies in this repository, and none of its files is changed; what a processor or double
precision needs is put in from here: `cuda()` that does nothing, pixel statistics in double precision.

The CVB release has no PRECODE. Its module comes from PRECODE's own release and takes the CVB's place in the
same network.
"""

import contextlib
import importlib.util
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from checkouts import CONFIGS, URLS, checked, commit, imported, quiet
from common import Unavailable
from torch import Tensor, nn

from gleak_lib.bottlenecks import CVB
from gleak_lib.models.base import StagedModel

SETS = {
    "cifar10": "CIFAR10",
    "mnist": "MNIST",
    "bloodmnist": "MedMNISTBlood",
    "dermamnist": "MedMNISTDerma",
    "retinamnist": "MedMNISTRetina",
    "pneumoniamnist": "MedMNISTPneumonia",
}
METRIC = "ScaledSSIM"  # theirs, of a reconstruction as their model sees it


class Attacked(NamedTuple):
    """What their attack found of one victim."""

    image: Tensor  # 1 x C x H x W, normalized
    loss: float  # the lowest
    steps: int
    ssim: float  # by their own metric, NaN where it was not asked for
    seconds: float
    losses: list[float]  # of each step, where asked for


class Release:
    """Checkouts of the authors' code, ready to run.

    Args:
        cvb: checkout of the CVB paper's release.
        precode: checkout of PRECODE's, for models that have one.
        kind: of device.

    Raises:
        Unavailable: a path that is no such checkout, or a package that their code needs and is not there.
    """

    def __init__(self, cvb: Path, precode: Path | None = None, kind: str = "cpu") -> None:
        self.folder, self.kind = checked(cvb, "cvb"), kind
        self.commits = {"cvb": commit(cvb)}
        names = {"attacks": "src.attacks", "utils": "src.utils", "zoo": "src.models.modelzoo"}
        names["modules"] = "src.models.modules"
        self.code = imported(self.folder, names)
        self.has_precode = precode is not None
        if precode is not None:
            self.commits["precode"] = commit(precode)
            path = checked(precode, "precode") / "src" / "VariationalBottleneck.py"
            spec = importlib.util.spec_from_file_location("precode_release", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            self.code.modules.VariationalBottleneck = module.VariationalBottleneck  # where theirs look it up

    def config(self, name: str, attack: str, spec: Any, *, tv: float, steps: int, scored: bool = True) -> Any:
        """Return their settings: their own files, and what the arguments say.

        Args:
            name: of the image set.
            attack: `ig` or `ignore`, for which their model's file names the layers to leave out.
            spec: of the bottleneck behind the first stage, or None.
            tv: weight of the total variation.
            steps: at most.
            scored: whether they score the result.
        """
        files = [*CONFIGS, f"data/{SETS[name]}", "models/CNN" if spec is None else "models/CNNCVB"]
        config = self.code.utils.build_config(str(self.folder / "configs" / f"{files[0]}.yaml"))
        for file in files[1:]:
            path = str(self.folder / "configs" / f"{file}.yaml")
            config = self.code.utils.update_config(config, self.code.utils.build_config(path))
        config.device, config.checkpoint_path = torch.device(self.kind), None
        config.attack.regularization, config.attack.max_iterations = tv, steps
        config.attack.victim_batchsize = 1
        config.attack.metrics = [METRIC] if scored else []
        if attack == "ig":
            config.attack.ignore_gradient_layers = []
        if spec is not None:
            config.model.VB.positions, config.model.VB.beta = [spec.position - 1], spec.beta
            if isinstance(spec, CVB):
                config.model.VB.kernel_size = spec.kernel_size
            else:
                config.model.VB._class, config.model.VB.K = "VariationalBottleneck", spec.k
        return config

    def model(self, config: Any, spec: Any, ours: StagedModel) -> nn.Module:
        """Return their network with our weights, in our precision."""
        if spec is not None and not isinstance(spec, CVB) and not self.has_precode:
            raise Unavailable(
                f"PRECODE's module is not in the CVB release: name a checkout of {URLS['precode']}"
            )
        with quiet(self.kind):
            theirs = self.code.zoo.get_model(config.model.name, config)
        if spec is not None and not isinstance(spec, CVB):
            theirs.loss = lambda: sum(vb.loss() for vb in theirs.get_vb_layers())  # theirs counts CVBs only
        theirs = theirs.to(next(ours.parameters()))
        copy_weights(ours, theirs)
        return theirs

    def attack(
        self,
        config: Any,
        model: nn.Module,
        image: Tensor,
        label: Tensor,
        dummy: Tensor,
        noise: Sequence[Tensor] = (),
        *,
        statistics: tuple[Sequence[float], Sequence[float]] | None = None,
        trace: bool = False,
    ) -> Attacked:
        """Run their attack on one victim.

        Args:
            config: from `config`.
            model: from `model`.
            image: 1 x C x H x W, normalized.
            label: one class index.
            dummy: 1 x C x H x W, where the attack starts.
            noise: the bottleneck's draws, first the client's, then one a step; when they are used up it draws
                its own, from torch's global generator.
            statistics: the pixels' mean and standard deviation for the dummy's precision; None leaves theirs.
            trace: whether to note the loss of each step.
        """
        losses: list[Tensor] = []
        with quiet(self.kind), handed(model, noise):
            name = config.data.dataset
            attacker = self.code.attacks.get_attack("IG", name, model, [image], [label], config)
            attacker.init_dummies = lambda: (dummy.detach().clone().requires_grad_(), None)
            if statistics is not None:
                mean, std = (torch.as_tensor(s, dtype=dummy.dtype)[:, None, None] for s in statistics)
                attacker.data_mean, attacker.data_std = mean.to(dummy), std.to(dummy)
            if trace:
                attacker.attack_specific_regularization = noting(
                    attacker.attack_specific_regularization, losses
                )
            began = time.perf_counter()
            found, results = attacker.attack()
            seconds = time.perf_counter() - began
        score = results[0].get("SSIM")
        return Attacked(
            found[0]["Reconstructions"],
            float(results[0]["ReconstructionLoss"]),
            int(results[0]["NeededIterations"]) + 1,
            float("nan") if score is None else float(score),
            seconds,
            [float(value) for value in losses],
        )


def noting(term: Any, losses: list[Tensor]) -> Any:
    """Return their last summand of the loss as a function that also notes the sum."""

    def noted(*args: Any, **kwargs: Any) -> Tensor:
        total = term(*args, **kwargs)
        losses.append(total.detach().reshape(()))
        return total

    return noted


def copy_weights(ours: StagedModel, theirs: nn.Module) -> None:
    """Give their network our weights, every one of them exactly once.

    Raises:
        ValueError: a parameter without a counterpart, or one of another shape.
    """
    left = dict(ours.named_parameters())
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            own, half = counterpart(name)
            if own not in left:
                raise ValueError(f"Their parameter {name} has no counterpart {own!r} in our network.")
            value = left[own] if half is None else left[own].chunk(2)[half]
            if half != 0:  # the first half leaves the second to be taken
                del left[own]
            if value.shape != parameter.shape:
                shapes = f"{tuple(parameter.shape)}, ours ({own}) {tuple(value.shape)}"
                raise ValueError(f"Their parameter {name} has shape {shapes}.")
            parameter.copy_(value)
    if left:
        raise ValueError(f"Their network has no counterpart of our {', '.join(left)}.")


def counterpart(name: str) -> tuple[str, int | None]:
    """Return our name of a parameter of theirs, and which half of it that is (None: the whole)."""
    parts = name.split(".")
    if parts[0] == "conv_layers":
        return f"stage{int(parts[1]) + 1}.0.{parts[-1]}", None
    if parts[0] == "VB_list":
        half = {"mu_encoder": 0, "std_encoder": 1}.get(parts[-2])
        return f"bottleneck{int(parts[1]) + 1}.{parts[2]}.{parts[-1]}", half
    return f"head.1.{parts[-1]}", None


@contextlib.contextmanager
def handed(model: nn.Module, noise: Sequence[Tensor]) -> Iterator[None]:
    """Have the model's one bottleneck use these draws one after the other, and then its own."""
    if not noise:
        yield
        return
    (bottleneck,) = model.get_vb_layers()  # type: ignore[operator]
    place = bottleneck.encoder if hasattr(bottleneck.encoder, "reparameterize") else bottleneck
    own, waiting = place.reparameterize, iter(noise)

    def reparameterize(mu: Tensor, std: Tensor) -> Tensor:
        draw = next(waiting, None)
        return own(mu, std) if draw is None else mu + draw * std

    with mock.patch.object(place, "reparameterize", reparameterize):
        yield
