"""All benchmarks on this machine: what is not yet stored for this code and device is measured and stored.

    python benchmarks/run.py [--minutes 10] [--again] [--quick] [--device cpu] [--only cnn]

Each benchmark is a process of its own with a share of the time, and what one leaves goes to the next.
Whatever was measured is stored, so the same command goes on where the last one stopped: a GPU that is lent
for some minutes at a time will do. Rows go to `results/benchmarks/<device>/`, those of `--quick` to
`_build/benchmarks`. The benchmark `peer` needs a package that is not ours and is left out without it (see
benchmarks/peer.py).
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time

from common import ROOT, add_options

# share of the time: about the minutes that each takes on two cores
BENCHMARKS = {
    "throughput": 3.2,
    "peer": 0.9,
    "federated": 1.3,
    "defended_rounds": 1.2,
    "memory": 0.9,
    "attacks": 1.4,
    "together": 0.8,
}
GRACE = 3.0  # minutes after its share in which a benchmark ends its last case, or is stopped


def run(options: argparse.Namespace) -> int:
    """Run them; return how many failed."""
    end = time.monotonic() + 60 * options.minutes
    waiting = {name: share for name, share in BENCHMARKS.items() if name in options.benchmarks}
    failed = 0
    for name in list(waiting):
        share = waiting[name] / sum(waiting.values())
        del waiting[name]
        minutes = max(0.0, share * (end - time.monotonic()) / 60)
        if name == "peer" and importlib.util.find_spec("breaching") is None:
            print("peer: left out, breaching is not installed (see benchmarks/peer.py).", flush=True)
            continue
        command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), f"--minutes={minutes}"]
        command += [f"--out={options.out}", f"--device={options.device}", f"--only={options.only}"]
        command += [f"--commit={options.commit}"] if options.commit else []
        command += [f"--{flag}" for flag in ("again", "quick") if getattr(options, flag)]
        for variables in environments(name):
            try:
                done = subprocess.run(command, check=False, timeout=60 * (minutes + GRACE), env=variables)
                failed += done.returncode != 0
            except subprocess.TimeoutExpired:
                print(f"{name}: stopped, its last case took too long.", flush=True)
                failed += 1
    return failed


def environments(benchmark: str) -> list[dict[str, str]]:
    """This process's variables, but threads may spin: an idle machine is taken for granted.

    Federated rounds are measured with threads that sleep as well, as in `gleak run`: there it decides.
    """
    spinning = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    sleeping = spinning | {"OMP_WAIT_POLICY": "PASSIVE"}
    return [spinning, sleeping] if benchmark == "federated" else [spinning]


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--benchmarks", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    options = parser.parse_args()
    if options.quick and options.out == parser.get_default("out"):
        options.out = ROOT / "_build" / "benchmarks"  # nobody is to quote them
    sys.exit(run(options))


if __name__ == "__main__":
    main()
