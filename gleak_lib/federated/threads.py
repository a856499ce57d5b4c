"""Clients in parallel threads, each on one core: the plain loop's steps, the plain loop's numbers.

A local step on small images is too small to be shared between cores. One client a core has nothing to
share, and stacking clients gains nothing there: a processor's convolutions want one set of weights.
"""

import copy
import itertools
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Barrier

import torch
from torch import nn

from gleak_lib.federated.local import Means, skip
from gleak_lib.federated.server import Federation, Round, State, snapshot

Job = tuple[Round, int, State]  # of a participant: the round, which client, the weights to start from
Result = tuple[Means, State]  # its mean loss and accuracy, and its weights


class Threads:
    """Engine of a round: `workers` clients at a time, averaged in the loop's order."""

    name = "threads"

    def __init__(self, federations: Sequence[Federation], workers: int) -> None:
        self.workers = workers
        self.pool = _pool(workers)
        self.models: dict[int, SimpleQueue[nn.Module]] = {}  # a copy for each worker
        for federation in federations:
            copies = self.models[id(federation)] = SimpleQueue()
            for _ in range(workers):
                copies.put(copy.deepcopy(federation.model))

    def __call__(self, rounds: Sequence[Round]) -> list[Means]:
        """Run these rounds, one per training; return their mean losses and accuracies.

        Raises:
            GradientError: If a participant's loss is not finite.
        """
        starts = [snapshot(r.federation.model) for r in rounds]
        both = list(zip(rounds, starts, strict=True))
        results = self._ahead((r, client, start) for r, start in both for client in r.clients)
        try:
            return [r.merge(start, itertools.islice(results, len(r.clients))) for r, start in both]
        finally:
            results.close()

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()

    def _ahead(self, jobs: Iterable[Job]) -> Generator[Result, None, None]:
        """Yield the jobs' results in order with few under way: 200 participants need no 200 states."""
        waiting: list[Future[Result]] = []
        try:
            for job in jobs:
                waiting.append(self._submit(*job))
                if len(waiting) > 2 * self.workers:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, r: Round, client: int, start: State) -> Future[Result]:
        federation = r.federation
        models, index = self.models[id(federation)], federation.clients[client].train
        streams = federation.streams["shuffle"], federation.streams["noise"]
        shuffle, noise = skip(federation.model, index, federation.protocol, *streams)

        def work() -> Result:
            model = models.get()
            try:
                model.load_state_dict(start)
                means = r.train_client(client, model, shuffle, noise)
                return means, snapshot(model)
            finally:
                models.put(model)

        return self.pool.submit(work)


def _pool(workers: int) -> ThreadPoolExecutor:
    """Start threads whose operations use one core each, and leave the setting of all others alone."""
    before, started = torch.get_num_threads(), Barrier(workers + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first operation takes over the common setting: be that one
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(workers, "gleak-client", begin)
    for _ in range(workers):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(before)  # what threads that are yet to start take over
    return pool
