"""A cell that costs nothing and writes down each time it runs; worker processes import it from here."""

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from gleak_lib.experiments import Experiment, Output, storable


@storable
@dataclass(frozen=True)
class Toy(Experiment):
    kind: ClassVar[str] = "toy"
    unbounded: ClassVar[tuple[str, ...]] = ("odd", "a")

    value: float
    fails: bool = False
    log: str = field(default="", compare=False)
    block: str = field(default="", compare=False)  # runs until this file is gone
    interrupt: bool = field(default=False, compare=False)
    dies: bool = field(default=False, compare=False)  # and takes its process along
    pid: str = field(default="", compare=False)  # file that says which process computes it

    def describe(self):
        return f"toy {self.value}"

    def run(self, context):
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{self.value}\n")
        if self.pid:
            Path(self.pid).write_text(f"{os.getpid()}\n")
        while self.block and Path(self.block).exists():
            time.sleep(0.02)
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.interrupt:
            raise KeyboardInterrupt
        if self.fails:
            raise ValueError(f"{self.value} cannot be")
        figures = {
            "square": self.value**2,
            "process": os.getpid(),
            "odd": [float("nan"), float("inf"), 1 / 3],
        }
        return Output(figures, {"truth": np.full((1, 3, 2, 2), int(self.value) % 256, np.uint8)})


def process_of(path, timeout=120):
    """The process that computes a cell, once it does."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        text = Path(path).read_text() if Path(path).exists() else ""
        if text.endswith("\n"):
            return int(text)
        time.sleep(0.02)
    raise TimeoutError(f"nobody wrote {path}")


def four(log, folder):
    """Four cells, the first of which runs until `kill_first` has killed its process."""
    (folder / "block").touch()
    first = Toy(0.0, log=log, block=str(folder / "block"), pid=str(folder / "pid"))
    return [first, *(Toy(float(n), log=log) for n in (1, 2, 3))]


def kill_first(folder):
    """Start a thread that kills the process which computes the first of `four`, and lets the next one end."""

    def kill():
        os.kill(process_of(folder / "pid"), signal.SIGKILL)
        (folder / "block").unlink()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def runs(log):
    """How often each value was computed."""
    lines = Path(log).read_text().split() if Path(log).exists() else []
    return {float(line): lines.count(line) for line in lines}
