"""The benchmarks' one door: a tiny run stores rows, goes on where it stopped, and keeps other rows."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from gleak_book import benchmark_rows as benchmarks

from gleak_lib.experiments.context import device_name

ROOT = Path(__file__).parents[2]


def command(out, *options):
    return [sys.executable, "benchmarks/run.py", "--quick", "--device", "cpu", "--out", str(out), *options]


def run(out, *options):
    done = subprocess.run(command(out, *options), capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def common():
    spec = importlib.util.spec_from_file_location("benchmarks_common", ROOT / "benchmarks" / "common.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    return folder, run(folder)


@pytest.mark.slow
class TestRun:
    def test_every_benchmark_stores_rows_with_their_machine(self, stored):
        folder, _ = stored
        rows = benchmarks.read(folder)
        peer = importlib.util.find_spec("breaching") is not None
        expected = {"throughput", "attacks", "federated", "defended_rounds", "memory", "together"} | (
            {"peer"} if peer else set()
        )
        assert {row.benchmark for row in rows} == expected
        assert {row.machine["device"] for row in rows} == {device_name("cpu")}
        for row in rows:
            assert "failed" not in row.figures
            assert row.machine["code"] and row.machine["kind"] == "cpu" and row.machine["threads"] >= 1
            values = [v for name, v in row.figures.items() if name in ("ms", "seconds")]
            assert all(math.isfinite(v) and v > 0 for v in values)
        methods = {row.settings["method"] for row in rows if row.benchmark == "throughput"}
        assert methods == {"loop", "vmap", "written out", "fast", "static"}
        (memory,) = (row for row in rows if row.benchmark == "memory")
        assert [s["step"] for s in memory.figures["samples"]][-1] == memory.settings["steps"]
        assert all(s["resident_mb"] > 50 for s in memory.figures["samples"])

    def test_what_is_stored_is_not_measured_again(self, stored):
        folder, first = stored
        before = benchmarks.read(folder)
        assert "method loop: ms" in first
        assert ": ms" not in run(folder, "--benchmarks", "throughput")
        assert benchmarks.read(folder) == before

    def test_no_time_means_no_case(self, tmp_path):
        text = run(tmp_path, "--minutes", "0", "--benchmarks", "attacks")
        assert "2 cases are left; the same command goes on" in text
        assert benchmarks.read(tmp_path) == []


def test_rows_of_other_code_stay_and_of_the_same_code_are_replaced(common, tmp_path):
    machine = {"kind": "cpu", "device": "Some CPU 3000", "threads": 2, "date": "2026-01-01", "code": "a"}
    old = benchmarks.Row("attacks", {"victims": 2}, {"ms": 1.0}, machine)
    new = old._replace(figures={"ms": 2.0}, machine=machine | {"date": "2026-02-01"})
    other = old._replace(figures={"ms": 3.0}, machine=machine | {"code": "b", "date": "2026-01-15"})
    rows = []
    for row in (old, other, new):
        rows = common.put(rows, row)
    path = tmp_path / common.slug("Some CPU 3000") / "attacks.json"
    common.write(path, rows)
    assert path.parent.name == "some-cpu-3000"
    assert common.stored(path) == benchmarks.read(tmp_path) == [other, new]
    assert len(path.read_text().splitlines()) == 4  # a line a row, so that changes can be read
    assert benchmarks.latest([new, other]) == [new]
    assert common._has(rows, {"victims": 2}, machine)
    assert not common._has(rows, {"victims": 2}, machine | {"code": "c"})
    assert not common._has(rows, {"victims": 3}, machine)


def test_a_case_that_fails_says_why(common):
    def measure():
        yield {"method": "loop"}, {"ms": 1.0}
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    found = list(common.attempt(common.Case({}, measure)))
    assert found == [({"method": "loop"}, {"ms": 1.0}), ({}, {"failed": "CUDA out of memory."})]


def test_damaged_files_are_read_as_nothing_and_never_overwritten(common, tmp_path):
    (tmp_path / "cpu").mkdir()
    for name, text in {"a": "{", "b": json.dumps({"rows": [{"settings": {}}]}), "c": "[]"}.items():
        (tmp_path / "cpu" / f"{name}.json").write_text(text)
    assert benchmarks.read(tmp_path) == [] == benchmarks.read(tmp_path / "nowhere")
    with pytest.raises(ValueError):
        common.stored(tmp_path / "cpu" / "a.json")
