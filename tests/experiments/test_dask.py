"""Cells on a dask cluster of real processes, each with its own images and cache."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from toy_cells import Toy, four, kill_first, process_of, runs

from gleak_lib.attacks import ATTACKS
from gleak_lib.errors import StoreError, TimeLimitError
from gleak_lib.experiments import AttackExperiment, Store, TrainingExperiment, run
from gleak_lib.experiments.runner import executors
from gleak_lib.federated import Protocol

distributed = pytest.importorskip("distributed")

QUIET = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "DASK_DISTRIBUTED__WORKER__PRELOAD": "toy_cells",  # imported before the first cell comes
}
IG = ATTACKS["ig"].replace(max_steps=2)
TRAINING = TrainingExperiment("own", protocol=Protocol(rounds=1, clients=2))
ATTACKED = [AttackExperiment(TRAINING, rounds=1, attack=IG, victims=v) for v in (2, 1, 3)]


class Cluster:
    """A scheduler and workers, started like on a real cluster."""

    def __init__(self, folder, patience=60):
        self.folder, self.processes = folder, []
        self.file = folder / "scheduler.json"
        self._start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file))
        until = time.monotonic() + 120
        while not self.file.exists():
            assert time.monotonic() < until, (folder / "log.txt").read_text()
            time.sleep(0.1)
        options = {"timeout": patience, "set_as_default": False}  # also how long a lost scheduler is sought
        self.client = distributed.Client(scheduler_file=str(self.file), **options)
        self.address = self.client.scheduler.address

    def hire(self, count, **environment):
        """Start workers without a nanny; each has an empty cache of its own."""
        before = len(self.processes)
        for number in range(before, before + count):
            own = {"GLEAK_CACHE": str(self.folder / f"cache{number}"), **environment}
            options = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
            self._start("worker", "--scheduler-file", str(self.file), *options, **own)
        alive = sum(process.poll() is None for process in self.processes[1:])
        self.client.wait_for_workers(alive, timeout=120)

    def _start(self, what, *arguments, **environment):
        paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
        variables = os.environ | QUIET | {"PYTHONPATH": os.pathsep.join(paths)} | environment
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments]
        with open(self.folder / "log.txt", "ab") as log:
            self.processes.append(
                subprocess.Popen(command, env=variables, cwd=self.folder, stdout=log, stderr=log)
            )

    def close(self):
        self.client.close()
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.hire(2)
        yield made
    finally:
        made.close()


@pytest.fixture
def executor(cluster):
    return cluster.client.get_executor()


def squares(results):
    return [result.figures["square"] for result in results]


def test_cells_run_on_the_workers(store, log, executor):
    cells = [Toy(float(n), log=log) for n in range(4)]
    results = run(cells, store, executor=executor, progress=False)
    assert squares(results) == [0, 1, 4, 9]
    assert all(result.figures["process"] != os.getpid() for result in results)
    assert set(runs(log).values()) == {1}


def test_errors_come_back(store, executor):
    with pytest.raises(StoreError, match=r"(?s)1 of 2 experiments failed.*1.0 cannot be"):
        run([Toy(1.0, fails=True), Toy(2.0)], store, executor=executor, progress=False)
    assert store.get(Toy(2.0)) is not None


def test_workers_without_the_images_say_so(store, executor):
    cell = AttackExperiment(TrainingExperiment("cifar10"), attack=IG, victims=1)
    with pytest.raises(StoreError, match=rf"(?s)DataError: .*cifar10.*worker on {os.uname().nodename}"):
        run([cell], store, executor=executor, progress=False, data="/nowhere")


def test_workers_of_another_version_refuse(store, executor, monkeypatch):
    monkeypatch.setattr(executors, "version", lambda: ("0.0.1", None))
    with pytest.raises(StoreError, match="This worker runs gleak .* with gleak 0.0.1 .*same version"):
        run([Toy(1.0)], store, executor=executor, progress=False)


def test_caches_that_are_not_shared(store, executor, tmp_path):
    """Whoever lacks the weights trains them; the figures are those of one machine."""
    random, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 40), ("test", 10)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 32, 32), np.uint8)
        arrays[f"{split}_labels"] = np.arange(count).reshape(-1, 1) % 4
    np.savez(tmp_path / "own.npz", **arrays)
    options = {"device": "cpu", "data": tmp_path, "progress": False}
    alone = run(ATTACKED, Store(tmp_path / "one", tmp_path / "cache"), **options)
    away = run(ATTACKED, store, executor=executor, **options)
    for one, other in zip(alone, away, strict=True):
        assert other.figures["loss"] == pytest.approx(one.figures["loss"], rel=1e-4)
    assert not list(store.cache.glob("*"))  # the workers' own caches went first


def test_a_scheduler_by_its_address(store, cluster):
    (result,) = run([Toy(1.0)], store, scheduler=cluster.address, progress=False)
    assert result.figures["process"] != os.getpid()
    machine, workers = executors.beforehand(None, cluster.address, False)
    assert workers == 2 and machine.threads == 1 and not machine.compile


def test_no_scheduler_there(store, monkeypatch):
    monkeypatch.setattr(executors, "PATIENCE", 1)
    with pytest.raises(StoreError, match="No dask scheduler answers at tcp://127.0.0.1:1"):
        run([Toy(1.0)], store, scheduler="tcp://127.0.0.1:1", progress=False)


def test_time_limit(store, executor):
    with pytest.raises(TimeLimitError, match="before 2 of 2 experiments"):
        run([Toy(1.0), Toy(2.0)], store, executor=executor, time_limit=0, progress=False)


def test_two_coordinators_share_a_store(store, log, tmp_path, cluster):
    """Both go through the same experiments; each file is whole, and nobody waits for nobody."""
    cells = [Toy(float(n), log=log) for n in range(12)]
    found = {}

    def coordinate(name):
        executor = cluster.client.get_executor()
        found[name] = run(cells, Store(store.folder, store.cache), executor=executor, progress=False)

    threads = [threading.Thread(target=coordinate, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert squares(found["a"]) == squares(found["b"]) == [n**2 for n in range(12)]
    assert store.status(cells).done == tuple(cells)
    assert set(runs(log)) == {float(n) for n in range(12)}


def test_kill_9_of_a_worker(store, log, tmp_path, cluster, executor):
    """Its experiment is computed by another worker; no experiment is lost or reported."""
    cells, thread = four(log, tmp_path), kill_first(tmp_path)
    results = run(cells, store, executor=executor, progress=False)
    thread.join()
    assert squares(results) == [0, 1, 4, 9]
    assert runs(log)[0.0] == 2 and set(runs(log)) == {0.0, 1.0, 2.0, 3.0}


def test_the_scheduler_goes_away(store, tmp_path):
    """Last, on a cluster of its own: what ran is reported, what was finished is stored."""
    folder, block, pid = tmp_path / "cluster", tmp_path / "block", tmp_path / "pid"
    folder.mkdir()
    block.touch()
    own = Cluster(folder, patience=10)
    try:
        own.hire(1)
        cells = [Toy(1.0), Toy(2.0, block=str(block), pid=str(pid))]

        def kill():
            process_of(pid)
            while store.get(cells[0]) is None:
                time.sleep(0.02)
            own.processes[0].kill()

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises(StoreError, match="the scheduler went away"):
            run(cells, store, executor=own.client.get_executor(), progress=False)
        thread.join()
        assert store.status(cells).done == (cells[0],)
    finally:
        own.close()
