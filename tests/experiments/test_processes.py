"""Processes of this machine: one that is killed takes no other experiment with it, none outlives the run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_cells import Toy, four, kill_first, process_of, runs

from gleak_lib.errors import StoreError
from gleak_lib.experiments import run
from gleak_lib.experiments.runner.processes import share


def test_threads_are_shared_out(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [share(n) for n in (1, 3, 100)] == [8, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert share(3) == 5


def test_killed_in_the_middle_and_tried_again(store, log, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    cells, thread = four(log, tmp_path), kill_first(tmp_path)
    results = run(cells, store, workers=2, progress=False)
    thread.join()
    assert [result.figures["square"] for result in results] == [0, 1, 4, 9]
    assert all(result.figures["process"] != os.getpid() for result in results)
    assert runs(log) == {0.0: 2, 1.0: 1, 2.0: 1, 3.0: 1}
    assert {result.provenance["threads"] for result in results} == {3}


def test_a_cell_that_kills_its_workers_is_reported_and_the_others_go_on(store, log):
    cells = [Toy(1.0, dies=True, log=log), Toy(2.0), Toy(3.0, fails=True)]
    with pytest.raises(
        StoreError, match=r"(?s)2 of 3 experiments failed.*two workers died over it.*3.0 cannot be"
    ):
        run(cells, store, workers=1, progress=False)
    assert runs(log) == {1.0: 2}
    status = store.status(cells)
    assert (status.done, status.missing, status.failed) == ((cells[1],), (cells[0],), (cells[2],))


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from toy_cells import Toy
from gleak_lib.experiments import Store, run
if __name__ == "__main__":
    cells = [Toy(1.0), Toy(2.0, block={block!r}, pid={pid!r})]
    run(cells, Store({results!r}, {results!r}), workers=1, progress=False)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_whoever_leads_them(store, tmp_path, how):
    """Killed, or by Ctrl-C, which reaches every process of a terminal."""
    block, pid, script = (tmp_path / name for name in ("block", "pid", "script.py"))
    block.touch()
    names = {"block": str(block), "pid": str(pid), "results": str(store.folder)}
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parents[1]), **names))
    program = (
        f"import signal; signal.signal(2, signal.default_int_handler); exec(open({str(script)!r}).read())"
    )
    command = [sys.executable, script] if how == signal.SIGKILL else [sys.executable, "-c", program]
    leader = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        worker = process_of(pid)
    finally:
        (os.kill if how == signal.SIGKILL else os.killpg)(leader.pid, how)
        _, error = leader.communicate(timeout=60)
    assert gone(worker)
    assert how == signal.SIGKILL or error.count("Traceback") == 1  # the leader's own
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
