"""What all benchmarks share: cases that are measured one after the other, the clock, and where rows go.

A benchmark is a function `cases(device, quick)` that yields what there is to measure. `main` measures what
is not yet stored for this code on this device, stores each row as soon as it is there, and stops when its
time is over; called again, it goes on. Rows go to `results/benchmarks/<device>/<benchmark>.json`, one a
line.
"""

import argparse
import functools
import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gleak_book.benchmark_rows import Row

from gleak_lib.experiments.context import choose_device, device_name

ROOT = Path(__file__).resolve().parents[1]
IDLE = ("experiments", "plots", "cli.py", "usage.py")  # parts of the package that decide no figure

MORE = {"parity": ("release", "sides")}  # scripts beside `common` that decide a benchmark's figures

Figures = Iterable[tuple[dict[str, Any], dict[str, Any]]]


class Case(NamedTuple):
    """Something to measure.

    Attributes:
        settings: what tells it from other cases of its benchmark.
        measure: gives pairs of further settings, such as the method, and figures.
    """

    settings: dict[str, Any]
    measure: Callable[[], Figures]


Cases = Callable[[str, bool], Iterator[Case]]
"""(device, quick) -> what there is to measure, what matters most first."""


def main(name: str, doc: str, cases: Cases, arguments: list[str] | None = None) -> None:
    """Measure a benchmark's cases, print the rows and store them."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes
    kind = choose_device(options.device)
    machine = describe(kind, name, options.commit)
    path = options.out / slug(machine["device"]) / f"{name}.json"
    rows = stored(path)
    left = 0
    for case in cases(kind, options.quick):
        text = f"{name}: " + ", ".join(f"{k} {v}" for k, v in case.settings.items())
        if options.only not in text or (not options.again and _has(rows, case.settings, machine)):
            continue
        if time.monotonic() > end:
            left += 1
            continue
        for further, figures in attempt(case):
            machine["date"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            rows = put(rows, Row(name, case.settings | further, figures, dict(machine)))
            write(path, rows)
            print(f"{text}{''.join(f', {v}' for v in further.values())}: {_short(figures)}", flush=True)
        if kind == "cuda":
            torch.cuda.empty_cache()
    if left:
        print(f"{name}: the time is over and {left} cases are left; the same command goes on.", flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark understands."""
    parser.add_argument("--minutes", type=float, default=30.0, help="begin no case after this time")
    parser.add_argument("--again", action="store_true", help="measure what is stored, too")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--only", default="", help="only cases whose printed line has this text")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--commit", help="what the rows call the code where there is no checkout")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "results" / "benchmarks", help="folder of the rows"
    )


def attempt(case: Case) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Measure a case; one that does not fit into memory or cannot run here gives a row that says so."""
    try:
        yield from case.measure()
    except (RuntimeError, MemoryError, Unavailable) as error:  # CUDA's errors derive from RuntimeError
        yield {}, {"failed": (str(error).strip() or type(error).__name__).splitlines()[0][:200]}


class Unavailable(Exception):
    """A method that this machine does not have."""


def describe(kind: str, name: str, commit: str | None = None) -> dict[str, Any]:
    """Return what is written down about the machine and the code."""
    return {
        "kind": kind,
        "device": device_name(kind),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "code": digest(name),
        "commit": _commit() or commit,
    }


@functools.cache
def digest(name: str) -> str:
    """Return a digest of the code that decides a benchmark's figures."""
    package = ROOT / "gleak_lib"
    files = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in IDLE]
    files += [ROOT / "benchmarks" / f"{stem}.py" for stem in (name, "common", *MORE.get(name, ("steps",)))]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def slug(device: str) -> str:
    """Return a device's name as a folder."""
    return "-".join("".join(c if c.isalnum() else " " for c in device.lower()).split())


def seconds_per_call(step: Callable[[], Any], kind: str, seconds: float, *, warm: int = 1) -> float:
    """Return the median time of a call over five rounds that take about `seconds` together.

    Args:
        step: the call.
        kind: of device; CUDA works on its own, so the clock waits for it.
        seconds: about how long; a call that takes longer than a fifth of it is made five times.
        warm: calls before the clock starts.
    """

    def timed(calls: int) -> float:
        wait(kind)
        began = time.perf_counter()
        for _ in range(calls):
            step()
        wait(kind)
        return (time.perf_counter() - began) / calls

    for _ in range(warm):
        step()
    calls = max(1, int(seconds / 5 / max(timed(1), 1e-6)))
    return sorted(timed(calls) for _ in range(5))[2]


def wait(kind: str) -> None:
    """Wait until a GPU has done what it was given."""
    if kind == "cuda":
        torch.cuda.synchronize()


def _commit() -> str | None:
    """The last commit that changed the code, with `-dirty` where it has changed since."""
    git, code = ["git", "-C", str(ROOT)], ["--", "gleak_lib", "benchmarks"]
    try:
        last, changed = (
            subprocess.run([*git, *command, *code], capture_output=True, text=True, check=True).stdout.strip()
            for command in (("log", "-1", "--format=%h", "--abbrev=12"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return last + ("-dirty" if changed else "") if last else None


def _has(rows: list[Row], settings: dict[str, Any], machine: dict[str, Any]) -> bool:
    same = ("device", "threads", "code")
    return any(
        settings.items() <= row.settings.items() and all(row.machine.get(n) == machine[n] for n in same)
        for row in rows
    )


def put(rows: list[Row], row: Row) -> list[Row]:
    """Add a row; one of the same thing by the same code on the same machine goes."""
    code = row.machine["code"]
    return [r for r in rows if r.key != row.key or r.machine.get("code") != code] + [row]


def stored(path: Path) -> list[Row]:
    """The rows of a file; a damaged one is an error, so that it is not overwritten."""
    if not path.exists():
        return []
    return [Row(path.stem, **row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def write(path: Path, rows: list[Row]) -> None:
    lines = [
        json.dumps({"settings": r.settings, "figures": r.figures, "machine": r.machine}, allow_nan=False)
        for r in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text('{"rows": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
    temporary.replace(path)


def _short(figures: dict[str, Any]) -> str:
    shown = {k: v for k, v in figures.items() if not isinstance(v, list)}
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())


if __name__ == "__main__":
    sys.exit("This is what the benchmarks share: run benchmarks/run.py.")
