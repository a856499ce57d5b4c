"""The runner on experiments that cost nothing: order, errors, interruption, executors."""

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from toy_cells import Toy, process_of, runs

from gleak_lib.errors import ParameterError, StoreError, TimeLimitError, UnknownNameError
from gleak_lib.experiments import (
    AttackExperiment,
    DamagedResultWarning,
    Output,
    Store,
    TrainingExperiment,
    run,
)
from gleak_lib.experiments.runner import cost, estimate
from gleak_lib.experiments.specs.trained_weights import path_of


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
    named = rf"(?s)1 of 2 experiments failed.*{bad.key} \(toy 1.0\): ValueError: 1.0 cannot be"
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
    with (
        ThreadPoolExecutor(workers) as executor,
        pytest.raises(StoreError, match="1 of 5 experiments failed"),
    ):
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
    with pytest.raises(StoreError, match="time limit came before 2 of 2 experiments"):
        run(cells, store, time_limit=0, progress=False)
    with ThreadPoolExecutor(1) as executor, pytest.raises(StoreError, match="time limit"):
        run(cells, store, time_limit=0, executor=executor, progress=False)
    assert runs(log) == {}
    assert values(run(cells, store, time_limit=60, progress=False)) == [1, 4]


def test_time_limit_lets_running_cells_end(store, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "folders", lambda store: [])  # to read the published results takes time
    block = tmp_path / "block"
    block.touch()
    threading.Timer(0.8, block.unlink).start()
    cells = [Toy(1.0, block=str(block)), Toy(2.0)]
    with ThreadPoolExecutor(1) as executor, pytest.raises(StoreError, match="before 1 of 2"):
        run(cells, store, time_limit=0.3, executor=executor, progress=False)
    assert store.status(cells).done == (cells[0],)


def timed(store, cell, seconds):
    """Store an experiment as if it had taken so long here."""
    machine = cost.here("cpu")
    origin = {"device": machine.device, "threads": machine.threads, "compile": False, "data": None}
    store.put(cell, {"square": cell.value**2}, {**origin, "seconds": seconds})


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cell_that_does_not_fit_into_the_time_left_is_not_begun(store, log, workers):
    timed(store, Toy(5.0), 100.0)
    executor = ThreadPoolExecutor(workers) if workers else None
    options = {"device": "cpu", "progress": False, "executor": executor}
    with pytest.raises(TimeLimitError, match=r"before 1 of 2 experiments.*Left out: toy 1.0 \(2 min\)\."):
        run([Toy(5.0), Toy(1.0, log=log)], store, time_limit=50, **options)
    assert runs(log) == {}
    assert values(run([Toy(1.0, log=log)], store, time_limit=500, **options)) == [1]


def test_what_another_run_has_stored_meanwhile_is_not_computed_again(store, log, tmp_path):
    block, pid = tmp_path / "block", tmp_path / "pid"
    block.touch()
    cells = [Toy(1.0, block=str(block), pid=str(pid)), Toy(2.0, log=log)]

    def meanwhile():
        process_of(pid)
        store.put(Toy(2.0), {"square": "stored"}, {})
        block.unlink()

    thread = threading.Thread(target=meanwhile)
    thread.start()
    results = run(cells, store, progress=False)
    thread.join()
    assert values(results) == [1, "stored"] and runs(log) == {}


def test_weights_that_another_run_has_made_meanwhile_are_not_trained_again(store, monkeypatch):
    attacks = [
        AttackExperiment(TrainingExperiment("digits", seed=seed), rounds=1, victims=1) for seed in (0, 1)
    ]
    trained = []

    def train(cell, context):  # while the first is trained, another run makes the weights of the second
        trained.append(cell)
        for attack in attacks:
            path_of(attack.training, context).parent.mkdir(parents=True, exist_ok=True)
            path_of(attack.training, context).write_bytes(b"weights")
        return Output({})

    monkeypatch.setattr(TrainingExperiment, "run", train)
    monkeypatch.setattr(AttackExperiment, "run", lambda cell, context: Output({"seed": cell.training.seed}))
    results = run(attacks, store, device="cpu", progress=False)
    assert [result.figures["seed"] for result in results] == [0, 1]
    assert trained == [attacks[0].training]


@pytest.mark.parametrize("workers", [0, 2])
def test_cells_whose_training_fails_fail_with_it(store, workers, monkeypatch):
    trained = []

    def train(cell, context):
        trained.append(cell)
        raise ValueError("diverged")

    monkeypatch.setattr(TrainingExperiment, "run", train)
    attacks = [AttackExperiment(TrainingExperiment("digits"), rounds=1, victims=v) for v in (1, 2)]
    executor = ThreadPoolExecutor(workers) if workers else None
    with pytest.raises(StoreError, match=r"(?s)2 of 3 experiments failed.*and 2 more: ValueError: diverged"):
        run([*attacks, Toy(2.0)], store, device="cpu", executor=executor, progress=False)
    assert len(trained) == 1
    assert store.status([*attacks, Toy(2.0)]).failed == tuple(attacks)


def test_an_attack_begins_when_its_own_training_has_ended(store, tmp_path, monkeypatch):
    """Not when all have: the second training ends only after the attack on the first has begun."""
    attacks = [
        AttackExperiment(TrainingExperiment("digits", seed=seed), rounds=1, victims=1) for seed in (0, 1)
    ]
    begun = threading.Event()

    def train(cell, context):
        assert cell.seed == 0 or begun.wait(60)
        return Output({})

    def attack(cell, context):
        begun.set()
        return Output({"seed": cell.training.seed})

    monkeypatch.setattr(TrainingExperiment, "run", train)
    monkeypatch.setattr(AttackExperiment, "run", attack)
    with ThreadPoolExecutor(2) as executor:
        results = run(attacks, store, device="cpu", executor=executor, progress=False)
    assert [result.figures["seed"] for result in results] == [0, 1]


def test_bad_arguments(store):
    with pytest.raises(ParameterError, match="run takes experiments, got str"):
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
    script = SCRIPT.format(folder=str(Path(__file__).parents[1]), **names)
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
    """A missing archive fails every experiment that needs it; nobody wants to read that thirty times."""
    cells = [AttackExperiment(TrainingExperiment("no_such_set"), victims=v) for v in (1, 2, 3)]
    with pytest.raises(StoreError, match="3 of 4 experiments failed") as caught:
        run([Toy(2.0), *cells], Store(tmp_path, tmp_path / "weights"), progress=False)
    said = str(caught.value)
    assert said.count("Unknown dataset 'no_such_set'") == 1
    assert "and 2 more" in said


def test_without_any_images_nothing_is_tried(tmp_path):
    cells = [AttackExperiment(TrainingExperiment("no_such_set"), victims=v) for v in (1, 2, 3)]
    store = Store(tmp_path, tmp_path / "weights")
    with pytest.raises(UnknownNameError, match="Unknown dataset 'no_such_set'"):
        run(cells, store, progress=False)
    assert not store.status(cells).failed


def test_experiments_may_stand_in_a_dict(store):
    asked = {"one": Toy(1.0), "more": [Toy(2.0), (Toy(3.0), Toy(1.0))]}
    found = run(asked, store, progress=False)
    assert [result.experiment for result in found] == [Toy(1.0), Toy(2.0), Toy(3.0), Toy(1.0)]
