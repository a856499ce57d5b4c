"""Who computes: this process, processes beside it, or the workers of a dask cluster.

`gleak run` tells the kernel of a chapter through variables of the environment; `run` reads them here.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gleak_lib.errors import ParameterError, StoreError
from gleak_lib.experiments.context import Context, version
from gleak_lib.experiments.runner import cost
from gleak_lib.experiments.runner.processes import Pool, share
from gleak_lib.experiments.runner.worker import Finished, compute, compute_away
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.extras import require

SCHEDULER, WORKERS, COMPILE = "GLEAK_SCHEDULER", "GLEAK_WORKERS", "GLEAK_COMPILE"
PROTOCOLS = ("tcp", "tls", "ws", "wss", "ucx", "ucxx")
PATIENCE = 20  # seconds to wait for a scheduler or an idle worker to answer


@dataclass(frozen=True)
class Crew:
    """An executor, and what is known of it.

    Attributes:
        executor: takes the cells; None means that this process computes.
        client: of dask, where the workers may be on other machines.
    """

    executor: Executor | None = None
    client: Any = None

    def slots(self) -> int:
        """Return how many cells can run at once now; workers of a cluster come and go."""
        if self.client is not None:
            try:
                return max(1, sum(self.client.ncores().values()))
            except Exception:  # the scheduler is gone; then so are the cells that it held
                return 1
        if self.executor is None:
            return 1
        known = getattr(self.executor, "workers", None) or getattr(self.executor, "_max_workers", None)
        return int(known or os.cpu_count() or 1)

    def submit(self, cells: Sequence[Cell], context: Context) -> Future[list[Finished]]:
        """Hand out what is computed at once."""
        assert self.executor is not None
        if self.client is not None:
            return self.executor.submit(compute_away, cells, context, version())
        return self.executor.submit(compute, cells, context)

    def machine(self, device: str, compile: bool) -> cost.Machine | None:
        """Return what computes, for estimates; None where no worker is there, or none has time to say."""
        if self.client is None:
            found = cost.here(device, compile)
            return found._replace(threads=self.executor.threads) if isinstance(self.executor, Pool) else found
        try:
            if self.client.ncores():
                return self.executor.submit(cost.here, device, compile).result(PATIENCE)  # type: ignore[union-attr]
        except (Late, OSError, RuntimeError, ValueError):
            pass
        return None


@contextlib.contextmanager
def crew(executor: Executor | None = None) -> Iterator[Crew]:
    """Give the crew of an executor, or, without one, of what the environment names, until the block ends.

    Raises:
        StoreError: no scheduler answers.
        ParameterError: a number of workers, or an address, that is none.
        MissingDependencyError: dask.distributed is not installed.
    """
    address, workers = os.environ.get(SCHEDULER), os.environ.get(WORKERS)
    if executor is not None:
        remote = type(executor).__module__.startswith("distributed.")
        yield Crew(executor, executor._client if remote else None)  # type: ignore[attr-defined]
    elif address:
        with _client(address) as client:
            yield Crew(client.get_executor(), client)
    elif workers:
        with Pool(_count(workers)) as pool:
            yield Crew(pool)
    else:
        yield Crew()


def beforehand(scheduler: str | None, workers: int | None, compile: bool) -> tuple[cost.Machine | None, int]:
    """Return the machine and the number of the workers that a run would have; no process is started.

    Raises:
        StoreError: no scheduler answers.
        MissingDependencyError: dask.distributed is not installed.
    """
    if scheduler is not None:
        with _client(scheduler) as client:
            who = Crew(client.get_executor(), client)
            return who.machine("auto", compile), who.slots()
    machine = cost.here("auto", compile)
    return (machine, 1) if workers is None else (machine._replace(threads=share(workers)), workers)


def compiles(given: bool | None) -> bool:
    """Return whether attacks are compiled: as given, else as `GLEAK_COMPILE` says, else not."""
    return os.environ.get(COMPILE) == "1" if given is None else given


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise ParameterError(f"{WORKERS} must be a whole number of processes, got {text!r}.")
    return int(text)


def check_address(address: str) -> None:
    """Refuse what is no address of a scheduler, for which dask would be waited for in vain.

    Raises:
        ParameterError: it is not of the form `tcp://host:port`, or begins with another protocol than dask's.
    """
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        whole = bool(parts.hostname and parts.port) and not parts.path and not re.search(r"\s|@", address)
    except ValueError:  # a port that is none
        parts, whole = None, False
    if parts is None or not whole or parts.scheme not in PROTOCOLS:
        raise ParameterError(
            f"{address!r} is no address of a dask scheduler: 'dask scheduler' prints its own, for instance "
            "tcp://head:8786 or tls://head:8786."
        )


def _client(address: str) -> Any:
    check_address(address)
    distributed = require("distributed", "sweeps")
    try:
        security = distributed.Security()  # by dask's own configuration
        if address.startswith(("tls:", "wss:")) and not security.get_connection_args("client")["ssl_context"]:
            raise ParameterError(
                f"{address} needs certificates, and dask's configuration names none: set the variables "
                "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__CLIENT__KEY."
            )
        return distributed.Client(address, timeout=PATIENCE, set_as_default=False, security=security)
    except ParameterError:
        raise
    except (OSError, ValueError) as error:
        raise StoreError(
            f"No dask scheduler answers at {address} ({error}): start one with 'dask scheduler', or correct "
            "the address."
        ) from error
