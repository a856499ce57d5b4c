"""The tables of the chapter "Speed": figures and ratios of stored rows, and gaps where there are none."""

import json

import numpy as np
import pytest
from gleak_book import speed, speed_tables

from gleak_lib.experiments import tables
from gleak_lib.experiments.store.benchmarks import Row

CPU = {"kind": "cpu", "device": "Some CPU", "threads": 2, "torch": "2", "code": "a", "commit": "abc"}
CPU |= {"date": "2026-01-01T00:00:00Z"}
GPU = CPU | {"kind": "cuda", "device": "NVIDIA H200", "threads": 16, "date": "2026-01-02T00:00:00Z"}


def step(method, victims, ms, machine=CPU, model="cnn"):
    settings = {"model": model, "attack": "ig", "optimizer": "adam", "victims": victims, "method": method}
    return Row("throughput", settings, {"ms": ms}, machine)


STEPS = [
    step("fast", 128, 0.25),
    step("compiled", 128, 0.16),
    step("fast", 16, 0.5),
    step("loop", 1, 4.0),
    step("vmap", 128, 0.8),
]


def test_steps_are_compared_with_the_loop_of_the_same_machine_and_model():
    frame = speed.steps(STEPS)
    assert list(frame["method"][:3]) == ["loop", "vmap", "fast"]  # in the order of METHODS
    fast = frame[(frame["method"] == "fast") & (frame["victims"] == 128)].iloc[0]
    assert fast["machine"] == "Some CPU, 2 threads"
    assert (fast["ms"], fast["per_s"], fast["times"]) == (0.25, 4000, 16)
    others = [step("graph", 128, 0.5, GPU), step("fast", 128, 0.5, model="vit")]
    assert np.isnan(speed.steps([*STEPS, *others])["times"]).sum() == 2


def test_without_a_gpu_the_last_line_says_so():
    assert speed.steps(STEPS)["machine"].iloc[-1] == speed.NOT_MEASURED
    assert speed.NOT_MEASURED not in set(speed.steps([*STEPS, step("graph", 128, 0.01, GPU)])["machine"])
    for make in (speed_tables.attacks, speed_tables.peer, speed_tables.rounds, speed_tables.memory):
        empty = make([])
        assert list(empty["machine"]) == [speed.NOT_MEASURED]
        assert "not measured" in tables.show(empty.drop(columns="kind")).to_html()
    assert speed_tables.samples([]).empty and speed.cost(speed.steps([])).empty
    assert len(speed.brought(speed.steps([]), "cnn", 128)) == 1
    assert speed.hardware([], "peer") == "Hardware: nothing measured yet."


def test_goals_take_the_best_method_of_the_machine_that_is_meant():
    rows = [*STEPS, step("fast", 128, 0.01, CPU | {"threads": 8})]
    frame = speed.goals(speed.steps(rows), rows)
    assert list(frame["reached"]) == ["yes", "yes", "not measured"]
    assert list(frame["method"]) == ["compiled", "compiled", "–"]
    np.testing.assert_allclose(frame["measured"][:2], [0.16, 25])
    rows += [step("graph", 128, 0.005, GPU), step("graph, bf16", 128, 0.001, GPU)]
    h200 = speed.goals(speed.steps(rows), rows).iloc[2]
    assert (h200["measured"], h200["reached"], h200["method"]) == (pytest.approx(0.64), "no", "graph")
    rows = [step("fast", 128, 0.25)]
    assert list(speed.goals(speed.steps(rows), rows)["reached"]) == ["no", "not measured", "not measured"]


def test_what_each_step_brought_and_the_cost_of_a_victim():
    frame = speed.steps([*STEPS, step("graph", 128, 0.01, GPU), step("fast", 128, 1.0, model="vit")])
    brought = speed.brought(frame, "cnn", 128)
    assert len(brought) == 5
    assert set(brought["what"]) <= set(speed.METHODS.values())
    assert 0.5 not in set(brought["ms"])  # sixteen victims
    cost = speed.cost(frame)
    assert list(cost["line"].unique()) == [
        "cnn, Some CPU, 2 threads", "vit, Some CPU, 2 threads", "cnn, NVIDIA H200"
    ]  # fmt: skip
    assert "compiled" not in set(cost["method"])


def test_a_method_that_failed_has_a_reason_and_no_figure():
    failed = step("vmap", 4096, None)._replace(figures={"failed": "out of memory"})
    row = speed.steps([failed]).iloc[0]
    assert row["failed"] == "out of memory"
    assert np.isnan([row["ms"], row["per_s"], row["times"]]).all()


def test_attacks_peers_and_rounds_have_their_ratios():
    settings = {"model": "cnn", "attack": "dlg", "optimizer": "lbfgs", "victims": 32}
    attacked = [
        Row("attacks", settings | {"method": "loop"}, {"ms": 80.0}, CPU),
        Row("attacks", settings | {"method": "engine"}, {"ms": 10.0}, CPU),
        Row("attacks", settings | {"attack": "ig", "method": "engine"}, {"ms": 1.0}, CPU),
    ]
    frame = speed_tables.attacks(attacked)
    assert list(frame["times"][:1]) == [8] and np.isnan(frame["times"][1])
    base = {"model": "cnn", "attack": "ig", "victims": 32, "steps": 300}
    peers = [
        Row("peer", base | {"method": speed.PEER}, {"ms": 3.0, "ssim": 0.7}, CPU),
        Row("peer", base | {"method": "engine"}, {"ms": 0.5, "ssim": 0.8}, CPU),
    ]
    frame = speed_tables.peer(peers)
    assert list(frame["times"][:2]) == [1, 6] and list(frame["ssim"][:2]) == [0.7, 0.8]
    base = {"model": "cnn", "images": 2560, "clients": 10, "trainings": 1}
    federated = [
        Row("federated", base | {"method": name}, {"seconds": s}, CPU) for name, s in (("loop", 4), ("x", 2))
    ]
    frame = speed_tables.rounds(federated)
    assert list(frame["times"][:2]) == [1, 2] and list(frame["minutes"][:2]) == [20, 10]


def test_memory_that_grows_is_told_from_memory_that_is_flat():
    def row(machine, slope):
        samples = [
            {"step": s, "resident_mb": 500 + slope * s + (s < 150) * -100.0, "cuda_mb": 20.0}
            for s in range(50, 1001, 50)
        ]
        return Row("memory", {"model": "lenet", "steps": 1000}, {"samples": samples}, machine)

    frame = speed_tables.memory([row(CPU, 0.0), row(GPU, 0.01)])
    assert list(frame["memory"]) == ["resident", "on the GPU"] * 2
    np.testing.assert_allclose(frame["growth"], [0, 0, 10, 0], atol=1e-9)
    assert list(frame["settled"]) == [500, 20, 502, 20]
    assert len(speed_tables.samples([row(CPU, 0.0)])) == 40


def test_hardware_names_machines_days_and_code():
    rows = [*STEPS, step("vmap", 1, 1.0, CPU | {"date": "2026-03-01"})]
    line = speed.hardware([*rows, step("graph", 1, 1.0, GPU | {"commit": "def"})], "throughput")
    assert "Some CPU, 2 threads: torch 2, 2026-01-01 to 2026-03-01, code abc." in line
    assert "NVIDIA H200: torch 2, 2026-01-02, code def." in line


def test_only_what_the_newest_code_measured_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("GLEAK_RESULTS", str(tmp_path))
    (tmp_path / "benchmarks" / "cpu").mkdir(parents=True)
    new = CPU | {"date": "2026-05-01", "code": "z"}
    rows = [step("fast", 1, 1.0), step("loop", 1, 9.0), step("fast", 1, 2.0, new)]
    rows += [step("fast", 1, 2.0, CPU | {"threads": 1})]
    text = json.dumps(
        {"rows": [{k: getattr(r, k) for k in ("settings", "figures", "machine")} for r in rows]}
    )
    (tmp_path / "benchmarks" / "cpu" / "throughput.json").write_text(text)
    assert speed.stored() == rows[2:]
