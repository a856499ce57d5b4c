"""A peer's published loop beside ours: Inverting Gradients as its own authors' package runs it.

    python benchmarks/peer.py [--minutes 2] [--device cpu]

The package is `breaching` 0.1.2 (Geiping et al.), which is optional and old: install it without its needs
into a folder of its own, and name that when you run this:

    pip install --target _build/peer --no-deps breaching==0.1.2 \\
        hydra-core omegaconf "antlr4-python3-runtime==4.9.*"
    PYTHONPATH=_build/peer python benchmarks/peer.py

With `--cvb` it runs the CVB paper's released code instead, and with `--precode` PRECODE's, beside ours (see
benchmarks/parity.py, sides.py and release.py). These are checkouts of the user's own, outside this
repository; what they need is old, too, and goes into a folder of its own:

    git clone https://github.com/dAI-SY-Group/ConvolutionalVariationalBottleneck ~/cvb
    git clone https://github.com/dAI-SY-Group/PRECODE ~/precode
    pip install --target _build/released --no-deps munch einops torchmetrics==0.11.4 "setuptools<81"
    PYTHONPATH=_build/released python benchmarks/peer.py --cvb ~/cvb --precode ~/precode [--minutes 60]

Beside `breaching`: same victims (embedded images), same gradients, same labels, same number of steps and
its own settings for all: cosine distance, sign of the gradient, Adam with step 0.1 that falls at 3/8, 5/8
and 7/8, clipping, best iterate. Its total variation is the mean of what ours adds up, so its weight is
twice ours; it pads the border, ours does not. Milliseconds are those of the whole attack by victims and
steps, SSIM is the mean over the victims.
"""

import contextlib
import io
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import parity
import steps
import torch
from common import Case, Figures, Unavailable, main, seconds_per_call, wait
from torch import Tensor, nn

from gleak_lib import attacks, datasets, metrics, models
from gleak_lib.pixels import denormalize
from gleak_lib.types import Observation

VICTIMS, STEPS = 32, 300
LR, TV = 0.1, 0.1


def cases(kind: str, quick: bool) -> Iterator[Case]:
    """One attack, three ways."""
    victims, count = (2, 5) if quick else (VICTIMS, STEPS)
    settings = {"model": "cnn", "attack": "ig", "victims": victims, "steps": count}
    yield Case(settings, partial(measure, victims, count, kind))


def measure(victims: int, count: int, kind: str) -> Figures:
    """Attack the same gradients with the peer's loop, our plain loop (its time only) and the engine."""
    peer = prepared()
    data = datasets.load("digits")
    images, labels = (t.to(kind) for t in datasets.victims(data, victims, 0))
    model = models.build("cnn", seed=0).to(kind)
    g = torch.Generator().manual_seed(0)
    seen = attacks.observe(model, images, labels, generator=g, mean=data.mean, std=data.std)
    attack = attacks.ATTACKS["gia"].replace(tv=TV, lr=LR, max_steps=count, stop_below=0.0)

    def scored(run: Callable[[], Tensor]) -> dict[str, float]:
        run_seconds, found = timed(run, kind)
        ssim = float(metrics.ssim(found, images).mean())
        return {"ms": 1e3 * run_seconds / victims / count, "ssim": ssim}

    peer(seen, 2)  # warm-up
    yield {"method": "breaching 0.1.2"}, scored(lambda: peer(seen, count))
    plain = seconds_per_call(steps.loop(seen, attack), kind, count / 1_000)
    yield {"method": "loop"}, {"ms": 1e3 * plain}
    attacks.invert(seen, attack.replace(max_steps=2), generator=g)
    yield {"method": "engine"}, scored(lambda: attacks.invert(seen, attack, generator=g).images)


def timed(run: Callable[[], Tensor], kind: str) -> tuple[float, Tensor]:
    """Seconds of a whole attack, and what it gave."""
    wait(kind)
    began = time.perf_counter()
    found = run()
    wait(kind)
    return time.perf_counter() - began, found


def prepared() -> Callable[[Observation, int], Tensor]:
    """Return the peer's attack as a function of an observation and a number of steps.

    Raises:
        Unavailable: the package is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it was written for an older torch
            import breaching
    except ImportError as error:
        raise Unavailable(f"breaching is not installed ({error}): see benchmarks/peer.py.") from error

    def run(seen: Observation, count: int) -> Tensor:
        torch.manual_seed(0)  # its dummies come from the global generator
        device = next(iter(seen.gradients.values())).device
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            overrides = [f"optim.max_iterations={count}", f"optim.step_size={LR}"]
            overrides += [f"regularization.total_variation.scale={2 * TV}", f"optim.callback={count}"]
            settings = breaching.get_attack_config("invertinggradients", overrides)
            attacker = breaching.attacks.prepare_attack(
                seen.model, nn.CrossEntropyLoss(), settings, {"device": device, "dtype": torch.float}
            )
            found = [one_victim(attacker, seen, v) for v in range(seen.victims)]
        return denormalize(torch.cat(found), seen.mean, seen.std).clamp(0, 1)

    return run


def one_victim(attacker: Any, seen: Observation, victim: int) -> Tensor:
    """Hand the peer's attacker one victim's gradients in the form that it expects."""
    about = Metadata(shape=seen.input_shape, mean=seen.mean, std=seen.std, modality="vision")
    server = {"parameters": list(seen.model.parameters()), "buffers": None, "metadata": about}
    known = {"labels": seen.labels[victim], "num_data_points": 1, "local_hyperparams": None}
    gradients = [g[victim] for g in seen.gradients.values()]
    shared = {"gradients": gradients, "buffers": None, "metadata": known}
    return attacker.reconstruct([server], [shared], {})[0]["data"]


class Metadata(SimpleNamespace):
    """Read by name and by key, as the peer's configuration objects are."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


if __name__ == "__main__":
    try:
        if any(argument.partition("=")[0] in ("--cvb", "--precode") for argument in sys.argv[1:]):
            parity.main()
        else:
            prepared()
            main("peer", __doc__, cases)
    except Unavailable as problem:
        sys.exit(str(problem))
