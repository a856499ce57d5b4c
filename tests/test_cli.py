"""The command: chapters of a small book in a temporary checkout, and the errors of bad input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

from gleak_lib import cli, datasets
from gleak_lib.attacks import ATTACKS
from gleak_lib.chapters.execute import execute, shared_kernel
from gleak_lib.errors import StoreError
from gleak_lib.experiments import AttackExperiment, TrainingExperiment, paths, run
from gleak_lib.experiments.runner.processes import share
from gleak_lib.experiments.store import Store, document

SOURCE = """# %% [markdown]
# # A tiny chapter

# %% tags=["parameters"]
profile: str = "quick"  # scale
victims: int = 2  # images to attack
fails: bool = False  # whether the last cell does

# %%
from gleak_lib import chapters
settings = chapters.parameters.check("01_tiny", globals())

# %% tags=["experiment"]
from gleak_lib.attacks import ATTACKS
from gleak_lib.experiments import AttackExperiment, TrainingExperiment
attack = ATTACKS["ig"].replace(max_steps=2)
experiments = [AttackExperiment(TrainingExperiment("digits"), attack=attack, victims=victims)]

# %%
from gleak_lib.experiments import run
results = run(experiments, chapters.open_store(profile), device="cpu")
len(results[0].figures["loss"])

# %%
assert not fails, "it was asked for"
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one chapter, where nothing else is written."""
    root = tmp_path / "checkout"
    for folder in ("book/src", "book/chapters", "params/01_tiny"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "gleak"\n')
    (root / "book/src/01_tiny.py").write_text(SOURCE)
    (root / "book/chapters/01_tiny.ipynb").write_text("published")
    (root / "params/01_tiny/quick.yaml").write_text("profile: quick\nvictims: 3\n")
    monkeypatch.setattr(paths, "package_root", lambda: root)
    monkeypatch.delenv(paths.RESULTS, raising=False)
    monkeypatch.setenv(paths.CACHE, str(tmp_path / "cache"))
    return root


def declared(victims):
    attack = ATTACKS["ig"].replace(max_steps=2)
    return [AttackExperiment(TrainingExperiment("digits"), attack=attack, victims=victims)]


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_into_a_folder_leaves_the_checkout_alone(checkout, tmp_path, capsys):
    before = files(checkout)
    output = tmp_path / "out"
    assert (
        cli.main(["run", "01_tiny", "--profile", "quick", "-p", "victims", "4", "--output", str(output)]) == 0
    )
    assert files(checkout) == before
    told = capsys.readouterr()
    assert "01_tiny: 1 experiments, 0 done, 1 to compute, " in told.out
    assert "experiments: 100%" in told.err and "1/1" in told.err and "ig (layers: all) on digits" in told.err

    path = output / "chapters" / "01_tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.papermill == {"parameters": {"profile": "quick", "victims": 4}}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5, 6]
    assert code[4].outputs[-1].data["text/plain"] == "4"
    assert not [o for cell in code for o in cell.outputs if o.output_type == "stream"]  # bars stay outside
    content = path.read_text()
    assert str(tmp_path) not in content and "start_time" not in content and "iopub" not in content
    assert len(list((output / "results" / "attack").glob("*.json"))) == 1

    # What is stored is not computed again, and the notebook is the same, byte for byte.
    assert (
        cli.main(["run", "01_tiny", "--profile", "quick", "-p", "victims", "4", "--output", str(output)]) == 0
    )
    assert path.read_text() == content
    told = capsys.readouterr()
    assert "01_tiny: 1 experiments, 1 done, nothing missing" in told.out and "cells:" not in told.err

    arguments = ["status", "01_tiny", "--profile", "quick", "--output", str(output), "-p", "victims", "4"]
    assert cli.main(arguments) == 0
    assert "1 done  0 missing  0 failed  0 damaged" in capsys.readouterr().out


def test_failing_chapter_says_where_and_stays_as_it_was(checkout, capsys):
    assert cli.main(["run", "01_tiny", "--profile", "quick", "-p", "fails", "true"]) == 2
    error = capsys.readouterr().err
    assert "gleak: error: 01_tiny: code cell 6 failed with AssertionError: it was asked for" in error
    assert "assert not fails" in error
    assert (checkout / "book/chapters/01_tiny.ipynb").read_text() == "published"
    # its finished cell is kept, where no published result lies
    assert cli.main(["status", "01_tiny"]) == 0
    assert "1 done" in capsys.readouterr().out
    assert (checkout / "_build/quick/results/attack").is_dir() and not (checkout / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "01_tyni", "--profile", "quick"], "Unknown chapter '01_tyni'. Did you mean '01_tiny'?"),
        (["run", "01_tiny", "--profile", "qick"], "Unknown profile 'qick'. Did you mean 'quick'?"),
        (["run", "01_tiny"], "01_tiny has no profile 'cpu'"),
        (
            ["run", "01_tiny", "--profile", "quick", "-p", "victms", "3"],
            "01_tiny has no parameter 'victms'. Did you mean 'victims'? There is: profile, victims, fails.",
        ),
        (
            ["run", "01_tiny", "--profile", "quick", "-p", "victims", "many"],
            "victims must be int, got 'many' (str)",
        ),
        (["status", "02_other"], "Unknown chapter '02_other'"),
        (["data", "nowhere", "--download", "cifar11"], "Unknown dataset 'cifar11'. Did you mean 'cifar10'?"),
    ],
)
def test_bad_input_is_one_clean_line(checkout, capsys, arguments, message):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("gleak: error: ") and message in error and "Traceback" not in error
    assert (checkout / "book/chapters/01_tiny.ipynb").read_text() == "published"


def test_profile_with_a_bad_value_runs_nothing(checkout, capsys):
    (checkout / "params/01_tiny/quick.yaml").write_text("profile: quick\nvictims: 1e1\n")
    assert cli.main(["run", "--profile", "quick"]) == 2
    assert "victims must be int, got '1e1' (str)" in capsys.readouterr().err


def test_dry_run_says_what_is_to_do_and_does_nothing(checkout, capsys):
    before = files(checkout)
    assert cli.main(["run", "01_tiny", "--profile", "quick", "--dry-run", "--workers", "3"]) == 0
    assert files(checkout) == before
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("01_tiny: 1 experiments, 0 done, 1 to compute, no estimate with 3 workers on ")
    (cell,) = declared(3)
    assert second.split()[:3] == ["?", "attack", cell.key]


def test_a_misspelled_image_set_is_refused_before_anything_is_estimated(checkout, capsys, monkeypatch):
    source, data = checkout / "book/src/01_tiny.py", checkout / "data"
    source.write_text(SOURCE.replace('"digits"', '"digts"'))
    monkeypatch.setenv("GLEAK_DATA", str(data))
    for more in (["--dry-run"], []):
        assert cli.main(["run", "01_tiny", "--profile", "quick", *more]) == 2
        out, error = capsys.readouterr()
        assert not out and "Unknown dataset 'digts'. Did you mean 'digits'? There is: bloodmnist," in error
    data.mkdir()
    (data / "digts.npz").touch()  # one of the user's own
    assert cli.main(["run", "01_tiny", "--profile", "quick", "--dry-run"]) == 0


def test_estimates_come_from_what_was_stored(checkout, capsys):
    (other,) = declared(2)
    store = Store(checkout / "_build/quick/results")
    (result,) = run([other], store, device="cpu", progress=False)
    path = store.path(other)
    stored = json.loads(path.read_text())
    stored["provenance"]["seconds"] = 120.0
    path.write_text(json.dumps(stored))
    machine = f"{result.provenance['device']} ({result.provenance['threads']} thread"
    for command in (["run", "01_tiny", "--profile", "quick", "--dry-run"], ["status", "01_tiny"]):
        assert cli.main(command) == 0
        assert f"about 3 min on {machine}" in capsys.readouterr().out  # three victims instead of two
    assert cli.main(["run", "01_tiny", "--profile", "quick", "--time-limit", "2"]) == 2
    streams = capsys.readouterr()
    assert "The time limit came before 1 of 1 experiments" in streams.err
    assert "Left out: ig" in streams.err and "(3 min)" in streams.err
    assert (
        "Not executed: 01_tiny (1 of 1 experiments are not there). Finished experiments are stored"
        in streams.err
    )
    assert (checkout / "book/chapters/01_tiny.ipynb").read_text() == "published"


@pytest.fixture
def executed(monkeypatch):
    """The chapters that are executed, without a kernel."""
    found = []
    monkeypatch.setattr(
        "gleak_lib.chapters.execute.execute", lambda source, *_, **__: found.append(source.stem)
    )
    return found


def another(checkout, name, **changes):
    """Put a chapter beside the first, with other text or parameters."""
    source = SOURCE.replace("01_tiny", name)
    for old, new in changes.items():
        source = source.replace(f"# {old}", new)
    (checkout / f"book/src/{name}.py").write_text(source)
    shutil.copytree(checkout / "params/01_tiny", checkout / f"params/{name}")


def test_one_plan_computes_all_chapters_and_each_cell_once(checkout, capsys, executed):
    another(checkout, "02_tiny")
    assert cli.main(["run", "--profile", "quick", "--time-limit", "5"]) == 0
    told = capsys.readouterr()
    assert told.out.count("1 experiments, 0 done, 1 to compute") == 2 and "together: " in told.out
    assert "1/1" in told.err and executed == ["01_tiny", "02_tiny"]


def test_what_is_done_is_executed_though_the_time_is_up(checkout, capsys, executed):
    run(declared(3), Store(checkout / "_build/quick/results"), device="cpu", progress=False)
    another(checkout, "02_tiny")
    (checkout / "params/02_tiny/quick.yaml").write_text("profile: quick\nvictims: 4\n")
    assert cli.main(["run", "--profile", "quick", "--time-limit", "1e-9"]) == 2
    error = capsys.readouterr().err
    assert (
        "gleak: error: The time limit came before 1 of 2 experiments; the 1 finished ones are stored" in error
    )
    assert "Not executed: 02_tiny (1 of 1 experiments are not there)" in error
    assert executed == ["01_tiny"]


def test_a_cell_that_fails_keeps_its_own_chapter_from_being_executed(checkout, capsys, executed, monkeypatch):
    another(checkout, "02_tiny")
    (checkout / "params/02_tiny/quick.yaml").write_text("profile: quick\nvictims: 4\n")
    compute = AttackExperiment.run

    def fail(cell, context):
        if cell.victims == 4:
            raise StoreError("no luck")
        return compute(cell, context)

    monkeypatch.setattr(AttackExperiment, "run", fail)
    assert cli.main(["run", "--profile", "quick"]) == 2
    error = capsys.readouterr().err
    assert "gleak: error: 1 of 2 experiments failed" in error and "StoreError: no luck" in error
    assert "Not executed: 02_tiny (1 of 1 experiments are not there)" in error
    assert executed == ["01_tiny"]


def test_options_reach_the_run(checkout, executed, monkeypatch):
    seen = {}
    monkeypatch.setattr("gleak_lib.experiments.run", lambda cells, store, **given: seen.update(given))
    arguments = ["run", "01_tiny", "--profile", "quick", "--workers", "3", "--compile", "--time-limit", "2"]
    assert cli.main(arguments) == 0
    assert seen == {"workers": 3, "scheduler": None, "time_limit": 120.0, "compile": True}


def test_bare_papermill_computes_what_is_missing(checkout):
    source = checkout / "book/src/01_tiny.py"
    out = checkout / "out.ipynb"
    execute(source, out, {"victims": 2}, environment={paths.RESULTS: str(checkout / "results")}, last="6 * 7")
    assert len(list((checkout / "results/attack").glob("*.json"))) == 1
    *_, last = nbformat.read(out, as_version=4).cells
    assert last.outputs[0].data["text/plain"] == "42"


def test_chapters_of_one_kernel_see_no_names_of_each_other(tmp_path):
    texts = {
        "first": "import colorsys, os\nkept = os.getpid()\nkept",
        "second": "import os, sys\n[os.getpid(), 'kept' in globals(), 'colorsys' in sys.modules]",
        "third": "kept",
    }
    shown = []
    with shared_kernel() as kernel:
        for name, text in texts.items():
            source, out = tmp_path / f"{name}.py", tmp_path / f"{name}.ipynb"
            source.write_text(f"# %%\n{text}\n")
            if name == "third":
                with pytest.raises(StoreError, match="name 'kept' is not defined"):
                    execute(source, out, {}, kernel=kernel)
                continue
            execute(source, out, {}, kernel=kernel)
            cells = [cell for cell in nbformat.read(out, as_version=4).cells if cell.outputs]
            assert [cell.execution_count for cell in cells] == [1]
            shown.append(json.loads(cells[0].outputs[0].data["text/plain"].replace("'", '"').lower()))
    process, *rest = shown[1]
    assert process == shown[0] and rest == [False, True]  # one process, its modules, none of its names
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)  # it has ended


def test_show_prints_a_result_and_how_it_was_made(checkout, capsys):
    store = Store(checkout / "_build/quick/results")
    (result,) = run(declared(3), store, device="cpu", progress=False)
    key = result.experiment.key
    for given in (key, key[:7]):
        assert cli.main(["show", given]) == 0
        text = capsys.readouterr().out
        assert (
            f"attack {key}: {result.experiment.describe()}\nfile: {store.path(result.experiment)}\n" in text
        )
        assert "  training:\n    type: TrainingExperiment\n    dataset: digits\n" in text
        assert "    max_steps: 2\n" in text and "  victims: 3\n" in text
        assert f"device: {result.provenance['device']}" in text and "seconds: " in text
        assert f"  parameters: {result.figures['parameters']}\n" in text
        ssim = result.figures["summary"]["minmax"]["ssim"]["mean"]
        assert f"  summary.minmax.ssim.mean: {ssim}\n" in text
        assert f"  trace.max: {result.figures['trace']['max']}\n" in text
        assert "pictures: reconstruction 3 x 3 x 32 x 32, truth 3 x 3 x 32 x 32" in text
    from_elsewhere = store.folder / "brightness" / "0123456789abcdef.json"
    from_elsewhere.parent.mkdir()
    stored = json.loads(store.path(result.experiment).read_text()) | {"cell": {"of": 3, "type": "Bright"}}
    from_elsewhere.write_bytes(document.text(stored | {"about": "brightness of 3"}))
    assert cli.main(["show", "0123456789abcdef"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("brightness 0123456789abcdef: brightness of 3\n")
    assert "nobody has imported its class):\n  of: 3\n  type: Bright\nmade:" in text
    from_elsewhere.write_text(from_elsewhere.read_text().replace("of 3", "of 4"))
    assert cli.main(["show", "0123456789abcdef"]) == 2
    assert "no storable class 'Bright': import the module" in capsys.readouterr().err
    assert cli.main(["show", key, "--output", str(checkout / "nowhere")]) == 2
    assert "There is none at all" in capsys.readouterr().err
    store.path(result.experiment).write_text("{")
    assert cli.main(["show", key]) == 2
    assert f"{key}.json is damaged" in capsys.readouterr().err


def test_show_of_a_key_that_is_none_or_many_or_failed(checkout, capsys):
    store = Store(checkout / "_build/quick/results")
    for victims in range(1, 18):  # so many that two begin alike
        store.put(*declared(victims), {}, {"seconds": 1.0})
    keys = {path.stem for path in (store.folder / "attack").glob("*.json")}
    (cell,) = declared(5)
    wrong = cell.key[:10] + "zzzz"
    assert cli.main(["show", wrong]) == 2
    error = capsys.readouterr().err
    assert f"has the key '{wrong}'. Nearest: {cell.key}" in error and len(error) < 500
    assert cli.main(["show", "CVB"]) == 2
    assert "has the key 'CVB'. Keys are names of files there, without .json." in capsys.readouterr().err
    first = next(key[0] for key in sorted(keys) if sum(other[0] == key[0] for other in keys) > 1)
    assert cli.main(["show", first]) == 2
    assert f"begin with '{first}', for instance" in capsys.readouterr().err
    (other,) = declared(99)
    try:
        raise ValueError("no luck")
    except ValueError as problem:
        store.put_failure(other, problem)
    assert cli.main(["show", other.key]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"failed {other.key}: {other.describe()}") and "ValueError: no luck" in text


def test_chapter_computed_by_processes(checkout, capsys):
    assert cli.main(["run", "01_tiny", "--profile", "quick", "--workers", "2"]) == 0
    assert "1/1" in capsys.readouterr().err
    (stored,) = (checkout / "_build/quick/results/attack").glob("*.json")
    threads = json.loads(stored.read_text())["provenance"]["threads"]
    assert threads == share(2)


def test_status_counts_each_state(checkout, capsys):
    assert cli.main(["status", "01_tiny", "-v"]) == 0
    text = capsys.readouterr().out
    assert "0 done  1 missing  0 failed  0 damaged" in text and "missing " in text

    (cell,) = declared(3)
    store = Store(checkout / "_build/quick/results")
    store.put_failure(cell, ValueError("no luck"))
    assert cli.main(["status", "book/chapters/01_tiny.ipynb", "--profile", "quick"]) == 0
    text = capsys.readouterr().out
    assert "0 done  0 missing  1 failed  0 damaged" in text and "ValueError: no luck" in text

    run([cell], store, device="cpu", progress=False)
    store.path(cell).write_text("{")
    assert cli.main(["status", "01_tiny"]) == 0
    text = capsys.readouterr().out
    assert "0 done  0 missing  0 failed  1 damaged" in text and str(store.path(cell)) in text


def test_data_says_what_a_folder_holds(tmp_path, capsys):
    (tmp_path / "mnist.npz").write_bytes(b"damaged")
    images, labels = np.zeros((2, 8, 8), np.uint8), np.arange(2)
    images[:, 0] = 255
    own = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez(tmp_path / "own.npz", **own)
    assert cli.main(["data", str(tmp_path)]) == 1
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert "damaged" in lines["mnist"] and "valid" in lines["own"] and "valid" in lines["digits"]
    assert "missing" in lines["cifar10"] and "download" in lines["cifar10"]


def test_data_downloads_what_is_missing(tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load", lambda name, root, download: asked.append((name, root, download)))
    assert cli.main(["data", str(tmp_path), "--download", "mnist", "cifar10"]) == 0
    assert asked == [(name, tmp_path, True) for name in ("mnist", "cifar10")]
    asked.clear()
    assert cli.main(["data", str(tmp_path), "--download"]) == 0
    kinds = {name: source.kind for name, source in datasets.DATASETS.items()}
    assert {name for name, _, _ in asked} == {n for n, k in kinds.items() if k in ("torchvision", "medmnist")}


def test_list_shows_every_registry(capsys):
    assert cli.main(["list"]) == 0
    words = capsys.readouterr().out.split()
    assert {"cnn", "precode", "cvb", *ATTACKS, *datasets.DATASETS, "03_ignore_attack", "quick"} <= set(words)


def test_the_command_itself(tmp_path):
    program = Path(sys.executable).with_name("gleak")
    if not program.exists():
        program = shutil.which("gleak")
    done = subprocess.run(
        [program, "run", "nothing", "--profile", "quick"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("gleak: error: Unknown chapter 'nothing'")
    assert "Traceback" not in done.stderr


def test_usage(capsys):
    both = ["run", "--workers", "2", "--scheduler", "tcp://head:8786"]
    for arguments in ([], both, ["run", "--workers", "0"], ["run", "--time-limit", "0"], ["run", "-p", "x"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "must be positive, got 0" in error and "must be at least 1, got 0" in error
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert json.dumps(capsys.readouterr().out).startswith('"gleak ')
