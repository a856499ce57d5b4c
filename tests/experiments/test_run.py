"""The runner on cells that cost nothing: order, errors, interruption, executors."""

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from toy_cells import Toy, runs

from gleak_lib.errors import ParameterError, StoreError, UnknownNameError
from gleak_lib.experiments import AttackCell, DamagedResultWarning, Store, TrainingCell, run


def values(results):
    return [result.figures["square"] for result in results]


def test_order_of_the_question_and_each_cell_once(store, log):
    cells = [Toy(3.0, log=log), Toy(1.0, log=log), Toy(3.0, log=log)]
    first = run(cells, store, progress=False)
    assert values(first) == [9, 1, 9] and first[0] is first[2]
    again = run(cells, store, progress=False)
    assert [r.figures for r in again] == [r.figures for r in first]
    assert runs(log) == {3.0: 1, 1.0: 1}


def test_result_says_where_it_comes_from(store):
    (result,) = run([Toy(3.0)], store, progress=False)
    known = {
        "gleak",
        "commit",
        "python",
        "torch",
        "numpy",
        "device",
        "threads",
        "compile",
        "data",
        "seconds",
        "date",
    }
    assert set(result.provenance) == known and result.provenance["device"]


def test_an_error_is_recorded_and_the_others_go_on(store, log):
    bad, good = Toy(1.0, fails=True, log=log), Toy(2.0, log=log)
    named = rf"(?s)1 of 2 cells failed.*{bad.key} \(toy 1.0\): ValueError: 1.0 cannot be"
    with pytest.raises(StoreError, match=named):
        run([bad, good], store, progress=False)
    assert store.status([bad, good]).failed == (bad,) and store.get(good) is not None
    with pytest.raises(StoreError, match="failed"):
        run([bad, good], store, progress=False)
    assert runs(log) == {1.0: 2, 2.0: 1}


def test_interrupt_keeps_finished_cells(store):
    cells = [Toy(1.0), Toy(2.0, interrupt=True), Toy(3.0)]
    with pytest.raises(KeyboardInterrupt):
        run(cells, store, progress=False)
    status = store.status(cells)
    assert status.done == (cells[0],) and status.missing == tuple(cells[1:])


def test_truncated_file_is_computed_again_and_the_others_kept(store, log):
    cells = [Toy(1.0, log=log), Toy(2.0, log=log)]
    run(cells, store, progress=False)
    path = store.path(cells[0])
    path.write_bytes(path.read_bytes()[:50])
    with pytest.warns(DamagedResultWarning, match=str(path)):
        assert values(run(cells, store, progress=False)) == [1, 4]
    assert runs(log) == {1.0: 2, 2.0: 1}


@pytest.mark.parametrize("workers", [1, 3])
def test_threads(store, log, workers):
    cells = [Toy(float(n), log=log, fails=n == 2) for n in range(5)]
    with ThreadPoolExecutor(workers) as executor, pytest.raises(StoreError, match="1 of 5 cells failed"):
        run(cells, store, executor=executor, progress=False)
    assert len(store.status(cells).done) == 4
    assert set(runs(log).values()) == {1}


def test_spawned_processes(store, log):
    cells = [Toy(float(n), log=log) for n in range(4)]
    bad = Toy(9.0, fails=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        results = run(cells, store, executor=executor, progress=False)
        with pytest.raises(StoreError, match="9.0 cannot be"):
            run([*cells, bad], store, executor=executor, progress=False)
    assert values(results) == [0, 1, 4, 9]
    assert all(result.figures["process"] != multiprocessing.current_process().pid for result in results)
    assert set(runs(log).values()) == {1}


def test_time_limit(store, log):
    cells = [Toy(1.0, log=log), Toy(2.0, log=log)]
    with pytest.raises(StoreError, match="time limit came before 2 of 2 cells"):
        run(cells, store, time_limit=0, progress=False)
    with ThreadPoolExecutor(1) as executor, pytest.raises(StoreError, match="time limit"):
        run(cells, store, time_limit=0, executor=executor, progress=False)
    assert runs(log) == {}
    assert values(run(cells, store, time_limit=60, progress=False)) == [1, 4]


def test_time_limit_lets_running_cells_end(store, tmp_path):
    block = tmp_path / "block"
    block.touch()
    threading.Timer(0.8, block.unlink).start()
    cells = [Toy(1.0, block=str(block)), Toy(2.0)]
    with ThreadPoolExecutor(1) as executor, pytest.raises(StoreError, match="before 1 of 2"):
        run(cells, store, time_limit=0.3, executor=executor, progress=False)
    assert store.status(cells).done == (cells[0],)


def test_bad_arguments(store):
    with pytest.raises(ParameterError, match="run takes cells, got str"):
        run(["digits"], store, progress=False)
    with pytest.raises(UnknownNameError, match=r"Unknown device 'gpu'.*auto, cpu, cuda"):
        run([Toy(1.0)], store, device="gpu", progress=False)


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from toy_cells import Toy
from gleak_lib.experiments import Store, run
cells = [Toy(float(n), log={log!r}, block={block!r} if n == 2 else "") for n in range(4)]
run(cells, Store({results!r}, {results!r}), progress=False)
"""


def test_kill_9_loses_no_finished_cell(store, log, tmp_path):
    block = tmp_path / "block"
    block.touch()
    names = {"log": log, "block": str(block), "results": str(store.folder)}
    script = SCRIPT.format(folder=str(Path(__file__).parent), **names)
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        until = time.monotonic() + 120
        while 2.0 not in runs(log):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    cells = [Toy(float(n), log=log) for n in range(4)]
    assert store.status(cells).done == tuple(cells[:2])
    assert values(run(cells, store, progress=False)) == [0, 1, 4, 9]
    assert runs(log) == {0.0: 1, 1.0: 1, 2.0: 2, 3.0: 1}


def test_the_same_reason_is_said_once(tmp_path):
    """A missing archive fails every cell that needs it; nobody wants to read that thirty times."""
    cells = [AttackCell(TrainingCell("no_such_set"), victims=v) for v in (1, 2, 3)]
    with pytest.raises(StoreError, match="3 of 4 cells failed") as caught:
        run([Toy(2.0), *cells], Store(tmp_path, tmp_path / "weights"), progress=False)
    said = str(caught.value)
    assert said.count("Unknown dataset 'no_such_set'") == 1
    assert "and 2 more" in said


def test_without_any_images_nothing_is_tried(tmp_path):
    cells = [AttackCell(TrainingCell("no_such_set"), victims=v) for v in (1, 2, 3)]
    store = Store(tmp_path, tmp_path / "weights")
    with pytest.raises(UnknownNameError, match="Unknown dataset 'no_such_set'"):
        run(cells, store, progress=False)
    assert not store.status(cells).failed
