"""Processes of this machine: one that is killed takes no other cell with it."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest
import torch
from toy_cells import Toy, process_of, runs

from gleak_lib.errors import ParameterError
from gleak_lib.experiments import run
from gleak_lib.experiments.runner.executors import WORKERS
from gleak_lib.experiments.runner.processes import Pool, share


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_soon(pid_file, release=None):
    def kill():
        os.kill(process_of(pid_file), signal.SIGKILL)
        if release is not None:
            release.unlink()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_threads_are_shared_out(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [share(n) for n in (1, 3, 100)] == [8, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert share(3) == 5
    with Pool(1, threads=3) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3


def test_killed_in_the_middle_and_tried_again(store, log, tmp_path):
    block, pid = tmp_path / "block", tmp_path / "pid"
    block.touch()
    cells = [Toy(0.0, log=log, block=str(block), pid=str(pid)), *(Toy(float(n), log=log) for n in (1, 2, 3))]
    thread = kill_soon(pid, block)
    with Pool(2, threads=1) as pool:
        results = run(cells, store, executor=pool, progress=False)
    thread.join()
    assert [result.figures["square"] for result in results] == [0, 1, 4, 9]
    assert runs(log) == {0.0: 2, 1.0: 1, 2.0: 1, 3.0: 1}


def test_a_cell_that_kills_its_workers_is_reported_and_the_pool_goes_on():
    with Pool(1, threads=1) as pool:
        with pytest.raises(BrokenExecutor, match="two workers died"):
            pool.submit(die).result()
        assert pool.submit(abs, -3).result() == 3
        with pytest.raises(ZeroDivisionError):  # an error of the function's own is no death
            pool.submit(divmod, 1, 0).result()


def test_an_error_stops_what_runs(tmp_path):
    block, pid = tmp_path / "block", tmp_path / "pid"
    block.touch()
    with pytest.raises(KeyboardInterrupt), Pool(1, threads=1) as pool:
        pool.submit(Toy(1.0, block=str(block), pid=str(pid)).run, None)
        number = process_of(pid)
        raise KeyboardInterrupt
    assert gone(number)


def test_the_environment_names_workers(store, monkeypatch):
    monkeypatch.setenv(WORKERS, "2")
    results = run([Toy(1.0), Toy(2.0)], store, progress=False)
    assert all(result.figures["process"] != os.getpid() for result in results)
    monkeypatch.setenv(WORKERS, "many")
    with pytest.raises(ParameterError, match="GLEAK_WORKERS must be a whole number of processes, got 'many'"):
        run([Toy(3.0)], store, progress=False)


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from toy_cells import Toy
from gleak_lib.experiments import Store, run
from gleak_lib.experiments.runner.processes import Pool
if __name__ == "__main__":
    cells = [Toy(1.0), Toy(2.0, block={block!r}, pid={pid!r})]
    with Pool(1, threads=1) as pool:
        run(cells, Store({results!r}, {results!r}), executor=pool, progress=False)
"""


def test_workers_end_with_whoever_leads_them(store, tmp_path):
    block, pid, script = (tmp_path / name for name in ("block", "pid", "script.py"))
    block.touch()
    names = {"block": str(block), "pid": str(pid), "results": str(store.folder)}
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parents[1]), **names))
    leader = subprocess.Popen([sys.executable, script])
    try:
        worker = process_of(pid)
    finally:
        leader.send_signal(signal.SIGKILL)
        leader.wait()
    assert gone(worker)
    assert store.status([Toy(1.0), Toy(2.0)]).done == (Toy(1.0),)


def gone(pid):
    """Whether a process ends within a minute; one that nobody has waited for counts as ended."""
    for _ in range(600):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False
