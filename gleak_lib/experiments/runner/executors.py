"""Who computes: this process, processes beside it, or the workers of a dask cluster."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gleak_lib.errors import ParameterError, StoreError
from gleak_lib.experiments.context import Context, version
from gleak_lib.experiments.runner import cost, worker
from gleak_lib.experiments.runner.processes import Pool, share
from gleak_lib.experiments.specs.base import Experiment
from gleak_lib.extras import require

PROTOCOLS = ("tcp", "tls", "ws", "wss", "ucx", "ucxx")
PATIENCE = 20  # seconds to wait for a scheduler or an idle worker to answer


class Inline(Executor):
    """Computes in this process, at once, when it is handed something; Ctrl-C goes through."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function and return a future that has ended."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Workers:
    """An executor, and what is known of it.

    Attributes:
        executor: takes the experiments.
        client: of dask, whose workers may be elsewhere, with devices, images and a cache of their own.
    """

    executor: Executor
    client: Any = None

    @property
    def alone(self) -> bool:
        """Whether this process computes, one experiment after the other."""
        return isinstance(self.executor, Inline)

    def slots(self) -> int:
        """Return how many experiments can run at once now; workers of a cluster come and go."""
        if self.client is not None:
            try:
                return max(1, sum(self.client.ncores().values()))
            except Exception:  # the scheduler is gone; then so are the experiments that it held
                return 1
        if self.alone:
            return 1
        known = getattr(self.executor, "workers", None) or getattr(self.executor, "_max_workers", None)
        return int(known or os.cpu_count() or 1)

    def submit(self, experiments: Sequence[Experiment], context: Context) -> "Future[list[worker.Computed]]":
        """Hand out what is computed at once."""
        if self.client is not None:
            return self.executor.submit(worker.compute_away, experiments, context, version())
        return self.executor.submit(worker.compute, experiments, context)

    def machine(self, device: str, compile: bool) -> cost.Machine | None:
        """Return what computes, for estimates; None where no worker is there, or none has time to say."""
        if self.client is None:
            found = cost.here(device, compile)
            return found._replace(threads=self.executor.threads) if isinstance(self.executor, Pool) else found
        try:
            if self.client.ncores():
                return self.executor.submit(cost.here, device, compile).result(PATIENCE)
        except (Late, OSError, RuntimeError, ValueError):
            pass
        return None


@contextlib.contextmanager
def workers(
    executor: Executor | None = None, count: int | None = None, scheduler: str | None = None
) -> Iterator[Workers]:
    """Give who computes until the block ends: an executor, `count` processes, a cluster, or this process.

    Raises:
        ParameterError: If more than one of them is named, or one that cannot be.
        StoreError: If no scheduler answers.
        MissingDependencyError: If dask.distributed is not installed.
    """
    if sum(given is not None for given in (executor, count, scheduler)) > 1:
        raise ParameterError("A run takes one of executor, workers and scheduler.")
    if executor is not None:
        remote = type(executor).__module__.startswith("distributed.")
        yield Workers(executor, executor._client if remote else None)  # type: ignore[attr-defined]
    elif count is not None:
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ParameterError(f"workers must be a whole number of processes, got {count!r}.")
        with Pool(count, share(count)) as pool:
            yield Workers(pool)
    elif scheduler is not None:
        with _client(scheduler) as client:
            yield Workers(client.get_executor(), client)
    else:
        yield Workers(Inline())


def beforehand(count: int | None, scheduler: str | None, compile: bool) -> tuple[cost.Machine | None, int]:
    """Return the machine and the number of the workers that a run would have; no process is started.

    Raises:
        StoreError: If no scheduler answers.
        MissingDependencyError: If dask.distributed is not installed.
    """
    with workers(None, count, scheduler) as who:
        return who.machine("auto", compile), who.slots()


def check_address(address: str) -> None:
    """Refuse what is no address of a scheduler, for which dask would be waited for in vain.

    Raises:
        ParameterError: If it is not of the form `tcp://host:port`, or of a protocol that dask does not speak.
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
