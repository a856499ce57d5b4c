"""The authors' released attack beside ours, with the same weights, victims and first dummies.

A row is an image set, a network and an attack:

- *the start*: in double precision, with the same noise handed to both, the largest difference of their
  losses in the first 25 steps;
- *the end*: in single precision, each side with noise of its own, up to 20,000 steps with the released stop
  rule: the SSIM of each victim's reconstruction. Our metric scores both sides; theirs scores its own, too;
- *the time*: seconds of all steps, and how busy the machine was. `--time-only` measures it by itself.

Ours takes all victims at once. Theirs takes one after the other, and each is stored as soon as it is there,
so that the same command goes on where the last one stopped. A row that is complete is left alone, whatever
has become of our code since: it says which commit made it, and `--again` makes it anew. `--seed` takes other
weights, victims, dummies and noise; its rows stand beside those of seed 0.
"""

import argparse
import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from common import add_options, describe, put, slug, stored, write
from gleak_book.benchmark_rows import Row
from release import Release
from sides import SPECS, Case, Setting
from torch import Tensor

from gleak_lib import metrics
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.experiments.context import choose_device
from gleak_lib.pixels import denormalize

VICTIMS, STEPS = 16, 20_000
START = 25  # steps whose losses are compared
TIMED, ROUNDS = 100, 5  # steps of one timed round, and rounds
NEEDS_PRECODE = [name for name, spec in SPECS.items() if isinstance(spec, PRECODE)]

CASES = (
    Case("cifar10", "cnn", "ig"),
    Case("mnist", "cnn", "ig"),
    Case("cifar10", "cnn + CVB(1, 5)", "ignore"),
    Case("mnist", "cnn + CVB(1, 5)", "ignore"),
    Case("mnist", "cnn", "ig", 0.1),  # what the release's model file has in place of the text's 0.01
    Case("cifar10", "cnn + CVB(1, 5)", "ig"),
    Case("mnist", "cnn + CVB(1, 5)", "ig"),
    Case("cifar10", "cnn + PRECODE(1, 8)", "ignore"),
)


def start(case: Case, release: Release, victims: int, seed: int = 0) -> dict[str, Any]:
    """Return how far the losses of the first steps are apart, in double precision and with the same noise."""
    setting = Setting(case, release, victims, START, torch.float64, seed=seed, scored=False)
    dummies, noise = setting.dummies(START)
    ours = setting.run_ours().trace.cpu()  # steps x victims
    losses = [setting.run_theirs(v, dummies, noise, trace=True).losses for v in range(victims)]
    theirs = torch.tensor(losses, dtype=torch.float64).T
    if ours.shape != theirs.shape:
        raise RuntimeError(f"Ours took {len(ours)} first steps, theirs {len(theirs)}.")
    apart = (ours - theirs).abs()
    return {
        "apart": float(apart.max()),
        "apart_relative": float((apart / theirs.abs()).max()),
        "apart_by_step": [float(f"{value:.3g}") for value in apart.amax(1)],
    }


def finish(
    case: Case, release: Release, victims: int, steps: int, figures: dict[str, Any], seed: int = 0
) -> Iterator[None]:
    """Run both sides to their end; `figures` grows, and is worth storing at each yield."""
    setting = Setting(case, release, victims, steps, seed=seed)
    dummies, noise = setting.dummies()
    assert len(noise) == 1
    if "ssim_ours" not in figures:
        began, busy = time.perf_counter(), os.getloadavg()[0]
        found = setting.run_ours()
        figures["seconds_ours"] = round(time.perf_counter() - began, 3)
        figures["load_ours"] = [round(busy, 2), round(os.getloadavg()[0], 2)]
        figures["ssim_ours"] = scores(found.images, setting.images)
        figures["steps_ours"] = found.steps.tolist()
        figures["loss_ours"] = [round(x, 6) for x in found.loss.tolist()]
        yield
    lists = ("ssim_theirs", "ssim_theirs_own", "steps_theirs", "loss_theirs", "seconds_theirs", "load_theirs")
    for name in lists:
        figures.setdefault(name, [])
    for victim in range(len(figures["ssim_theirs"]), victims):
        one = setting.run_theirs(victim, dummies, [])
        pixels = denormalize(one.image.cpu(), setting.mean, setting.std).clamp(0, 1)
        (ssim,) = scores(pixels, setting.images[victim : victim + 1])
        new = (ssim, round(one.ssim, 6), one.steps, round(one.loss, 6), round(one.seconds, 3))
        for name, value in zip(lists, (*new, round(os.getloadavg()[0], 2)), strict=True):
            figures[name].append(value)
        yield


def scores(images: Tensor, truth: Tensor) -> list[float]:
    """Return the SSIM of each image, min-max scaled as in the paper's tables."""
    return [round(x, 6) for x in metrics.score(images, truth, scaling="minmax")["ssim"].tolist()]


def timed(case: Case, release: Release, victims: int, seed: int = 0) -> dict[str, Any]:
    """Return milliseconds of a victim's step of both, in turns: the medians and all rounds."""
    setting = Setting(case, release, victims, TIMED, seed=seed, scored=False)
    dummies, _ = setting.dummies()
    busy = [os.getloadavg()[0]]
    ours, theirs = [], []
    for number in range(ROUNDS):
        began = time.perf_counter()
        steps = int(setting.run_ours().steps.sum())
        ours.append(1e3 * (time.perf_counter() - began) / steps)
        one = setting.run_theirs(number % victims, dummies, [])
        theirs.append(1e3 * one.seconds / one.steps)
    busy.append(os.getloadavg()[0])
    return {
        "ms_ours": sorted(ours)[ROUNDS // 2],
        "ms_theirs": sorted(theirs)[ROUNDS // 2],
        "rounds_ours": [round(x, 4) for x in ours],
        "rounds_theirs": [round(x, 4) for x in theirs],
        "load": [round(x, 2) for x in busy],
    }


def main(arguments: list[str] | None = None) -> None:
    """Read the options, and fill rows until the time is over."""
    options = parser().parse_args(arguments)
    kind = choose_device(options.device)
    release = Release(options.cvb, options.precode, kind)
    end = time.monotonic() + 60 * options.minutes
    machine = describe(kind, "parity", options.commit)
    machine["peers"] = release.commits
    path = options.out / slug(machine["device"]) / "parity.json"
    victims, steps = (2, START) if options.quick else (options.victims, STEPS)
    left = 0
    for case in CASES:
        name = f"parity: {case.images}, {case.model}, {case.attack}, tv {case.tv:g}"
        name += f", seed {options.seed}" if options.seed else ""
        if options.only not in name or (case.model in NEEDS_PRECODE and options.precode is None):
            continue
        what = "time" if options.time_only else "end"
        settings = {**case._asdict(), "what": what, "victims": victims, "steps": steps, "seed": options.seed}
        before = None if options.again else known(path, settings, machine)
        figures = {} if before is None else dict(before.figures)
        here = machine
        if before is not None:  # ours may have been run by other code than what goes on now
            here = machine | {"begun": before.machine.get("begun", before.machine["commit"])}
        if is_complete(figures, settings) or (options.start_only and "apart" in figures):
            continue
        if time.monotonic() > end:
            left += 1
            continue

        parts = part_by_part(case, release, settings, figures)
        for _ in parts:
            date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            write(path, put(stored(path), Row("parity", settings, figures, here | {"date": date})))
            print(f"{name}: {progress(figures)}", flush=True)
            if options.start_only:
                break
            if time.monotonic() > end and not is_complete(figures, settings):
                left += 1
                break
    if left:
        print(f"parity: the time is over and {left} rows are left; the same command goes on.", flush=True)


def known(path: Path, settings: dict[str, Any], machine: dict[str, Any]) -> Row | None:
    """Return the row that is stored of these settings on this machine, by whatever code."""
    for row in stored(path):
        same = all(row.machine.get(name) == machine[name] for name in ("device", "threads"))
        if row.settings == settings and same:
            return row
    return None


def is_complete(figures: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Return whether nothing of a row is left to do."""
    if settings["what"] == "time":
        return "load" in figures
    return len(figures.get("ssim_theirs", [])) == settings["victims"]


def part_by_part(
    case: Case, release: Release, settings: dict[str, Any], figures: dict[str, Any]
) -> Iterator[None]:
    """Fill a row's figures; they are worth storing at each yield."""
    victims, seed = settings["victims"], settings["seed"]
    if settings["what"] == "time":
        figures |= timed(case, release, victims, seed)
        yield
        return
    if "apart" not in figures:
        figures |= start(case, release, victims, seed)
        yield
    yield from finish(case, release, victims, settings["steps"], figures, seed)


def progress(figures: dict[str, Any]) -> str:
    """Return what there is of a row, in a line."""
    if "ms_ours" in figures:
        return f"ms a victim's step: ours {figures['ms_ours']:.3g}, theirs {figures['ms_theirs']:.3g}"
    text = f"the first {START} losses are at most {figures['apart']:.2g} apart"
    theirs, ours = figures.get("ssim_theirs", []), figures.get("ssim_ours", [])
    if ours:
        text += f"; SSIM ours {sum(ours) / len(ours):.3f}"
    if theirs:
        mean = sum(ours[: len(theirs)]) / len(theirs)
        text += f"; of {len(theirs)}, ours {mean:.3f}, theirs {sum(theirs) / len(theirs):.3f}"
    return text


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--cvb", type=Path, required=True, help="checkout of the CVB paper's release")
    found.add_argument("--precode", type=Path, help="checkout of PRECODE's release, for the rows with it")
    found.add_argument("--victims", type=int, default=VICTIMS, help="of each row, at least 16 to be shown")
    found.add_argument("--seed", type=int, default=0, help="of weights, victims, dummies and noise")
    found.add_argument("--start-only", action="store_true", help="the first losses of each row, in a minute")
    found.add_argument("--time-only", action="store_true", help="milliseconds a step, on a quiet machine")
    add_options(found)
    return found
