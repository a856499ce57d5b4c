"""The recipe for SLURM as the book prints it, with local processes in the place of SLURM's jobs."""

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gleak_lib import cli
from gleak_lib.experiments import Experiment, Store, run
from gleak_lib.experiments.specs.label_inference import LabelInferenceExperiment
from gleak_lib.experiments.specs.training import TrainingExperiment

PAGE = (Path(__file__).parents[1] / "book/many_machines.md").read_text(encoding="utf-8")
STUB = """
from distributed import LocalCluster

class SLURMCluster(LocalCluster):
    def __init__(self, *, cores, processes, queue, job_cpu, memory, walltime,
                 job_extra_directives, job_script_prologue):
        options = {"n_workers": processes, "threads_per_worker": cores}
        super().__init__(processes=False, protocol="tcp", dashboard_address=None, **options)

    def scale(self, jobs):
        assert jobs == 8  # one is enough here
"""


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def recipe():
    (script,) = [block for block in blocks("python") if "SLURMCluster" in block]
    return script


def test_code_on_the_page_is_well_formed():
    for block in blocks("python"):
        ast.parse(block)
    for block in [*blocks("bash"), *blocks("console")]:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_the_page_names_options_that_there_are(capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    used = {
        option
        for block in [*blocks("bash"), *blocks("console")]
        for line in block.splitlines()
        if line.startswith("gleak run")
        for option in re.findall(r"--[a-z-]+", line.partition("#")[0])
    }
    assert {"--scheduler", "--workers", "--time-limit", "--dry-run"} <= used <= known


def test_the_recipe_makes_a_cluster_that_computes(tmp_path):
    pytest.importorskip("distributed")
    (tmp_path / "dask_jobqueue.py").write_text(STUB)
    (tmp_path / "cluster.py").write_text(recipe())
    paths = [str(tmp_path), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen([sys.executable, "cluster.py"], cwd=tmp_path, env=environment)
    address = tmp_path / "scheduler.txt"
    try:
        until = time.monotonic() + 120
        while not (address.exists() and address.read_text()):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        cell: Experiment = LabelInferenceExperiment(TrainingExperiment("digits"), victims=2)
        store = Store(tmp_path / "results", tmp_path / "weights")
        (result,) = run([cell], store, scheduler=address.read_text(), progress=False)
    finally:
        process.kill()
        process.wait()
    assert len(result.figures["accuracy"]) == 2


def test_slurm_is_asked_for_gpus():
    """The real job script, where dask-jobqueue is installed; no SLURM is needed to write it."""
    pytest.importorskip("dask_jobqueue")
    shown = "    print(cluster.job_script())\n    raise SystemExit\n"
    code = recipe().replace("    cluster.scale", shown + "    cluster.scale")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for line in ("#SBATCH -p gpu", "#SBATCH --gres=gpu:1", "#SBATCH --cpus-per-task=4", "--nthreads 1"):
        assert line in done.stdout
    assert "export GLEAK_CACHE=/shared/weights" in done.stdout
