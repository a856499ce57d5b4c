"""Every chapter of the book, executed through papermill at a tiny size, on embedded images."""

import os
import subprocess
import sys

import nbformat
import papermill
import pytest

from gleak_lib.chapters import PROFILES, experiments, parameters, profiles
from gleak_lib.chapters.execute import execute, shared_kernel
from gleak_lib.chapters.sources import sources
from gleak_lib.errors import StoreError
from gleak_lib.experiments import Store

TINY = {
    "01_how_gradients_leak": {
        "victims": 2,
        "steps": 3,
        "lbfgs_steps": 2,
        "batch_images": 4,
        "batch_sizes": [1, 2],
        "batch_steps": 3,
        "label_batches": 2,
        "movie_victims": 2,
        "frames": 3,
        "examples": 2,
    },
    "02_gradient_analysis": {
        "victims": 2,
        "steps": 4,
        "tail": 2,
        "rounds": [0, 1],
        "network": "precode(3, k=4)",
        "images": 1,
    },
    "03_ignore_attack": {
        "victims": 2,
        "steps": 3,
        "training_rounds": 1,
        "rounds": [0, 1],
        "positions": [3, 1],
        "sizes": [4, 4],
        "partial": [3],
        "examples": 2,
    },
    "04_cvb_hyperparameters": {
        "positions": ["1", "1+3"],
        "kernel_sizes": [1],
        "scales": ["1/16", "1/2"],
        "betas": [0.1],
        "kl_betas": [0.1],
        "sigma_rounds": [0, 1],
        "kernel_size": 3,
        "victims": 2,
        "steps": 3,
        "training_rounds": 1,
        "examples": 2,
    },
    "05_attacks_and_defenses": {
        "precode_sizes": [8],
        "defenses": ["dp", "gc", "precode"],
        "more": ["compression(p=0.5)"],
        "attacks": ["idlg", "ig"],
        "compared": ["none", "precode(1)"],
        "victims": 2,
        "steps": 3,
        "lbfgs_steps": 1,
        "training_rounds": 1,
        "examples": 2,
    },
    "06_other_architectures": {
        "models": ["cnn", "vit"],
        "victims": [2, 1],
        "steps": [3, 2],
        "plateau": [2, 2],
        "training_rounds": [1, 0],
        "tv": [0.01, 1e-4],
        "tv_tried": [0.01, 1e-4],
        "tv_victims": [2, 1],
        "examples": 2,
    },
    "07_medical_images": {
        "victims": 2,
        "steps": 3,
        "training_rounds": 1,
        "rounds": [0, 1],
        "link_images": 2,
        "examples": 2,
    },
    "08_breaking_the_bottleneck": {
        "rounds": [1],
        "training_rounds": 1,
        "trained_steps": 3,
        "sets": ["digits"],
        "patch_rounds": [0, 1],
        "victims": 2,
        "steps": 3,
        "grid_steps": 3,
        "seeds": 1,
        "examples": 2,
    },
    "09_what_stands": {
        "protections": ["none", "batch(2)", "cvb(1)", "cvb(1) + average_noise(draws=2)"],
        "training_rounds": 1,
        "victims": 2,
        "steps": 3,
        "seeds": 1,
        "examples": 2,
    },
    "10_closed_form_inversion": {
        "width": 16,
        "size": 4,
        "victims": 2,
        "positions": [1, 4],
        "noise_levels": [1e-3],
        "pruning": [0.9],
        "batch_sizes": [2],
        "batches": 2,
        "training_rounds": 1,
        "examples": 2,
    },
    "11_ours_beside_theirs": {},
    "12_benchmarks": {},
    "13_slice_perturbation": {
        "victims": 2,
        "steps": 2,
        "lbfgs_steps": 1,
        "training_rounds": 1,
        "long_rounds": 1,
        "pursued": ["none", "slices", "slices, not compensated"],
        "participants": [1, 10],
        "seeds": 1,
    },
    "14_weight_initialization": {
        "models": ["lenet"],
        "victims": 2,
        "steps": 3,
        "long_steps": 4,
        "label_batches": 2,
        "reduced": ["cnn"],
        "norm_models": ["convnet8"],
        "sets": ["digits"],
        "seeds": 1,
        "rechecked": [1],
        "examples": 2,
    },
    "15_generative_leakage": {
        "width": 2,
        "generator_steps": 3,
        "samples": 20,
        "protections": ["gaussian(std=0.1)"],
        "victims": 2,
        "steps": 3,
        "lbfgs_steps": 1,
        "generations": 2,
        "turbo_steps": 1,
        "others": ["digits"],
        "careful": ["digits"],
        "longer": ["none", "gaussian(std=0.1)"],
        "trained_models": 1,
        "checked": ["gaussian(std=0.1)"],
        "examples": 2,
    },
    "16_precode_supplement": {
        "width": 8,
        "precode_sizes": [2, 4],
        "size": 4,
        "training_rounds": 1,
        "seeds": 1,
        "victims": 2,
        "steps": 3,
        "examples": 2,
    },
    "17_training_under_defense": {
        "defenses": ["gaussian(std=1e-2)"],
        "width": 8,
        "size": 4,
        "training_rounds": [1],
        "seeds": 1,
    },
    "18_gallery": {"classes": [2], "defenses": ["compression(0.9)"], "width": 8, "size": 4, "steps": [3]},
}

COLLECTING = {"11_ours_beside_theirs", "12_benchmarks"}  # they compute nothing


def test_every_chapter_with_experiments_has_a_tiny_size():
    assert set(TINY) == set(sources())


@pytest.mark.parametrize("name", sorted(sources()))
@pytest.mark.parametrize("profile", PROFILES)
def test_parameter_files_fit_the_notebook(name, profile):
    values = profiles.load(name, profile)
    found = parameters.of_chapter(name)
    inferred = papermill.inspect_notebook(f"book/chapters/{name}.ipynb")
    assert set(values) <= set(inferred) == set(found)
    assert bool(experiments(name, values)) == (name not in COLLECTING)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One kernel for all chapters, as `gleak run` has one, and the folder with its results and weights."""
    with shared_kernel() as kernel:
        yield kernel, tmp_path_factory.mktemp("chapters")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(sources()))
def test_chapter_runs_at_a_tiny_size(name, tmp_path, shared):
    kernel, folder = shared
    settings = {"profile": "quick", **TINY[name]}
    places = {"GLEAK_RESULTS": str(folder / "results"), "GLEAK_CACHE": str(folder / "weights")}
    target = tmp_path / f"{name}.ipynb"
    execute(sources()[name], target, settings, environment=places, kernel=kernel)
    notebook = nbformat.read(target, as_version=4)
    kinds = [set(o.get("data", {})) for c in notebook.cells for o in c.get("outputs", [])]
    figures = {"image/png", "application/papermill.record/text/html"}  # the second glued, for a caption
    assert any(figures & kind for kind in kinds), "figures"
    assert any("text/html" in kind for kind in kinds), "tables"
    assert not [o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "error"]
    status = Store(folder / "results").status(experiments(name, settings))
    assert not status.missing
    assert not status.failed


@pytest.mark.slow
def test_the_chapter_on_initialization_runs_on_a_users_model(tmp_path):
    """A network none of whose activations has a count of flat units, by the file that the chapter shows."""
    layers = "nn.Flatten(), nn.Linear(math.prod(input_shape), 8), nn.SiLU(), nn.Linear(8, num_classes)"
    text = f"def small(input_shape, num_classes):\n    return nn.Sequential({layers})\n"
    (tmp_path / "mine.py").write_text(f"import math\nfrom torch import nn\n{text}")
    name = "14_weight_initialization"
    given = TINY[name] | {"models": ["mine:small"], "activations": ["own"], "between": [], "gains": []}
    settings = {"profile": "quick", **given, "reduced": [], "norm_models": []}
    folders = {"GLEAK_RESULTS": str(tmp_path / "results"), "GLEAK_CACHE": str(tmp_path / "weights")}
    folders["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    execute(sources()[name], tmp_path / "out.ipynb", settings, environment=folders)
    assert not Store(tmp_path / "results").status(experiments(name, settings)).missing


@pytest.mark.slow
def test_a_misspelled_parameter_stops_plain_papermill(tmp_path):
    name = sorted(sources())[0]
    with pytest.raises(StoreError, match=r"has no parameter 'victms'. Did you mean 'victims'"):
        execute(sources()[name], tmp_path / "out.ipynb", {"victms": 3})
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("options", "said"), [("-p victims 64", True), ("-f params/{}/cpu.yaml", False)])
def test_plain_papermill_says_that_the_published_profile_is_another(options, said, tmp_path):
    name = "12_benchmarks"  # it computes nothing
    stored, out = f"book/chapters/{name}.ipynb", tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", stored, str(out), *options.format(name).split()]
    subprocess.run(command, check=True, capture_output=True)
    shown = [str(o.get("data", {})) for cell in nbformat.read(out, 4).cells for o in cell.get("outputs", [])]
    expected = f"-f params/{name}/cpu.yaml"
    assert any("the published chapter was run with `cpu`" in o and expected in o for o in shown) == said
