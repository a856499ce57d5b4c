"""LPIPS, the perceptual distance of Zhang et al. 2018 (001 appendix), through the `lpips` package.

The package brings its linear layers; its backbone's ImageNet weights are torchvision's and come from a
download. They lie where torchvision puts them, `checkpoints` in torch's cache: `TORCH_HOME/hub`, by default
`~/.cache/torch/hub`. Where they are not at hand the distances are NaN and the reason is said once.
"""

import functools
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gleak_lib.errors import MissingDependencyError, ShapeError, unknown
from gleak_lib.extras import require
from gleak_lib.typed import typed

BACKBONES = {
    "vgg": "vgg16-397923af.pth",
    "alex": "alexnet-owt-7be5be79.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
"""The files of torchvision's weights; written out, since importing it takes longer than many an attack."""
ADDRESS = "https://download.pytorch.org/models/"
CHUNK = 64  # images that go through the backbone at once
_SAID: set[str] = set()


class Perceptual:
    """(pred, target), both N x C x H x W in [0, 1] -> N distances; for `score(perceptual=...)`.

    Attributes:
        missing: why the distances are NaN, or None.
    """

    def __init__(self, metric: nn.Module | None, *, unit: bool, missing: str | None = None) -> None:
        self.metric, self.unit, self.missing = metric, unit, missing

    def __call__(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return N distances; 0 for identical images, NaN where the weights are missing.

        Raises:
            ShapeError: shapes that differ, or images of other than one or three channels.
        """
        if pred.shape != target.shape or pred.dim() != 4 or pred.shape[1] not in (1, 3):
            raise ShapeError(
                "LPIPS needs two batches N x C x H x W of one shape with one or three channels, got "
                f"{tuple(pred.shape)} and {tuple(target.shape)}."
            )
        if self.metric is None:
            return torch.full((len(pred),), torch.nan)
        like = next(self.metric.parameters())
        pairs = zip(pred.to(like).split(CHUNK), target.to(like).split(CHUNK), strict=True)
        with torch.no_grad():
            parts = [self.metric(_colour(a), _colour(b), normalize=not self.unit).flatten() for a, b in pairs]
        return torch.cat(parts).to(pred.device)


@typed
def lpips(
    net: str = "vgg",
    *,
    inputs: Literal["symmetric", "unit"] = "symmetric",
    download: bool = False,
    device: torch.device | str = "cpu",
) -> Perceptual:
    """Return the distance with torchvision's weights from its cache, or one that gives NaN and says why.

    Args:
        net: backbone: `vgg` (001, 003), `alex` or `squeeze`. They need images of about 32 pixels or more.
        inputs: `symmetric` maps pixels to [-1, 1], which the metric expects; `unit` leaves them in [0, 1],
            as the CVB paper's code does: for its tables only.
        download: fetch the weights where they are missing.
        device: where the backbone runs.

    Raises:
        UnknownNameError: another backbone, or another way to give it images.
        MissingDependencyError: lpips is not installed.
    """
    if net not in BACKBONES:
        raise unknown("backbone", net, BACKBONES)
    if inputs not in ("symmetric", "unit"):
        raise unknown("value of inputs", inputs, ("symmetric", "unit"))
    package = require("lpips", "metrics")
    weights, reason = _weights(net, download)
    if weights is None:
        if reason not in _SAID:
            _SAID.add(reason)
            warnings.warn(reason, stacklevel=2)
        return Perceptual(None, unit=inputs == "unit", missing=reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's way to call torchvision is out of date
        metric = package.LPIPS(net=net, pnet_rand=True, verbose=False)  # the linear layers come with it
    _load(metric.net, weights)
    return Perceptual(metric.to(device).requires_grad_(False), unit=inputs == "unit")


def lpips_missing(net: str = "vgg") -> str:
    """Return why a backbone's weights are not at hand and how to get them; nothing where the file is there.

    Raises:
        UnknownNameError: another backbone.
    """
    if net not in BACKBONES:
        raise unknown("backbone", net, BACKBONES)
    path, url = lpips_file(net)
    if path.exists():
        return ""
    return (
        f"LPIPS is NaN: its backbone's weights {path.name} are not in torch's cache. "
        f"metrics.lpips({net!r}, download=True) fetches them, or put the file from {url} there."
    )


def lpips_file(net: str = "vgg") -> tuple[Path, str]:
    """Return where a backbone's weights are looked for, and the address that they come from."""
    return Path(torch.hub.get_dir(), "checkpoints", BACKBONES[net]), ADDRESS + BACKBONES[net]


def lpips_at_hand() -> Perceptual | None:
    """Return LPIPS as the CVB paper has it, None where its package or its weights are not at hand.

    That is VGG, on images in [0, 1], which its code passes although the metric expects [-1, 1]:
    with images mapped to [-1, 1] (`lpips(inputs="symmetric")`) the figures would not be the paper's.
    """
    path, _ = lpips_file("vgg")
    return _loaded(path, path.stat().st_mtime_ns) if path.exists() else None


@functools.lru_cache(maxsize=1)  # the weights take 60 MB, and are read once a process
def _loaded(path: Path, changed: int) -> Perceptual | None:
    try:
        found = lpips("vgg", inputs="unit")
    except MissingDependencyError:  # of the package `lpips`
        return None
    return None if found.missing else found


def _weights(net: str, download: bool) -> tuple[dict[str, Tensor] | None, str]:
    """Return the backbone's weights, or None and a sentence."""
    path, url = lpips_file(net)
    try:
        if download and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=False)
        if not path.exists():
            return None, lpips_missing(net)
        return torch.load(path, map_location="cpu", weights_only=True), ""
    except Exception as error:  # of the network, the disk or a damaged file: each says itself
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        return None, f"LPIPS is NaN: its backbone's weights {path.name} could not be had ({problem})."


def _load(backbone: Any, weights: dict[str, Tensor]) -> None:
    """Put torchvision's `features.I.weight` into the package's slices, which keep the layer's index I."""
    state = {}
    for name in backbone.state_dict():
        _, index, part = name.split(".", 2)
        state[name] = weights[f"features.{index}.{part}"]
    backbone.load_state_dict(state)


def _colour(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)
