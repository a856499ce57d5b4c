"""The authors' attack beside ours: on a made-up release the start agrees, and rows are resumed."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import released
import torch
from gleak_book import benchmark_rows as benchmarks

from gleak_lib import models
from gleak_lib.bottlenecks import CVB

ROOT = Path(__file__).parents[2]
OURS = ("common", "checkouts", "release", "sides", "parity")  # the scripts import each other by these names


@pytest.fixture(scope="module")
def scripts():
    """`scripts.parity` and the others, as `python benchmarks/peer.py` imports them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        for name in OURS:
            patch.delitem(sys.modules, name, raising=False)
        import common
        import parity
        import release
        import sides

        yield SimpleNamespace(common=common, release=release, sides=sides, parity=parity)
        for name in [n for n in sys.modules if n in OURS or n.partition(".")[0] == "src"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return released.release(tmp_path_factory.mktemp("cvb"))


@pytest.fixture(autouse=True)
def victims(tmp_path, monkeypatch):
    """An archive of two victims with the release's own pixel statistics."""
    g = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 8, 8, generator=g)
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    folder = tmp_path / "data"
    folder.mkdir()
    np.savez(
        folder / "cifar10_victims.npz",
        images=images.numpy(),
        labels=np.array([1, 9]),
        **{name: np.array(values, dtype="float32") for name, values in released.STATISTICS.items()},
    )
    monkeypatch.setenv("GLEAK_DATA", str(folder))


def run(scripts, out, checkout, *options, only="cifar10, cnn, ig"):
    arguments = ["--cvb", str(checkout), "--quick", "--device", "cpu", "--out", str(out), "--only", only]
    scripts.parity.main([*arguments, *options])
    return benchmarks.read(out)


def test_the_first_losses_agree_and_the_end_is_scored(scripts, checkout, tmp_path, capsys):
    (row,) = run(scripts, tmp_path / "rows", checkout)
    figures = row.figures
    assert 0 <= figures["apart"] < 1e-6 and len(figures["apart_by_step"]) == 25
    assert row.settings["what"] == "end" and row.settings["tv"] == 0.01
    assert figures["steps_ours"] == figures["steps_theirs"] == [25, 25]
    assert figures["ssim_theirs_own"] == [0.25, 0.25]
    for name in ("ssim_ours", "ssim_theirs", "loss_ours", "loss_theirs", "seconds_theirs", "load_theirs"):
        assert len(figures[name]) == 2 and np.isfinite(figures[name]).all()
    assert max(figures["loss_theirs"]) < 0.5  # it came near: the loss begins near 1
    assert row.machine["peers"] == {"cvb": None}  # no git there
    said = capsys.readouterr().out
    assert "not to be seen" not in said and "of 2, ours" in said


@pytest.mark.parametrize("attack", ["ignore", "ig"])
def test_both_get_the_same_noise(scripts, checkout, attack):
    release = scripts.release.Release(checkout)
    case = scripts.sides.Case("cifar10", "cnn + CVB(1, 5)", attack)
    assert scripts.parity.start(case, release, 2)["apart"] < 1e-6
    setting = scripts.sides.Setting(case, release, 2, 25, torch.float64, scored=False)
    dummies, noise = setting.dummies(25)
    trace = setting.run_ours().trace[:, 0]
    others = [tuple(-n for n in draw) for draw in noise]
    theirs = torch.tensor(setting.run_theirs(0, dummies, others, trace=True).losses, dtype=torch.float64)
    assert (theirs - trace).abs().max() > 1e-3  # or the test above could not fail


def test_precodes_module_takes_the_cvbs_place(scripts, checkout, tmp_path):
    case = scripts.sides.Case("cifar10", "cnn + PRECODE(1, 8)", "ignore")
    release = scripts.release.Release(checkout, released.precode(tmp_path / "precode"))
    assert scripts.parity.start(case, release, 2)["apart"] < 1e-6
    with pytest.raises(scripts.common.Unavailable, match="PRECODE's module is not in the CVB release: name"):
        scripts.parity.start(case, scripts.release.Release(checkout), 2)


def test_another_attack_is_noticed(scripts, tmp_path):
    other = released.release(tmp_path / "cvb", lr=0.3)
    case = scripts.sides.Case("cifar10", "cnn", "ig")
    found = scripts.parity.start(case, scripts.release.Release(other), 2)
    assert found["apart_by_step"][0] < 1e-6 < 1e-3 < found["apart"]  # before the first step nothing differs


def test_a_row_goes_on_where_it_stopped(scripts, checkout, tmp_path, capsys):
    out = tmp_path / "rows"
    (row,) = run(scripts, out, checkout)
    path = next(out.glob("*/parity.json"))
    stored = json.loads(path.read_text())
    for name in (n for n in row.figures if "theirs" in n):
        stored["rows"][0]["figures"][name] = row.figures[name][:1]
    stored["rows"][0]["machine"]["commit"] = "an earlier one"
    path.write_text(json.dumps(stored))
    capsys.readouterr()
    assert run(scripts, out, checkout, "--minutes", "0")[0].figures["ssim_theirs"] == [
        row.figures["ssim_theirs"][0]
    ]
    assert "the time is over and 1 rows are left" in capsys.readouterr().out
    (again,) = run(scripts, out, checkout)
    timed = ("seconds_theirs", "load_theirs")
    assert {n: v for n, v in again.figures.items() if n not in timed} == {
        n: v for n, v in row.figures.items() if n not in timed
    }
    assert again.machine["begun"] == "an earlier one"
    capsys.readouterr()
    run(scripts, out, checkout)
    assert capsys.readouterr().out == ""  # nothing is left to do


def test_another_seed_is_a_row_of_its_own_with_other_weights_and_dummies(scripts, checkout, tmp_path, capsys):
    out = tmp_path / "rows"
    run(scripts, out, checkout)
    first, other = run(scripts, out, checkout, "--seed", "1")
    assert [row.settings["seed"] for row in (first, other)] == [0, 1]
    assert "tv 0.01, seed 1: " in capsys.readouterr().out
    assert other.figures["apart"] < 1e-6
    assert other.figures["loss_ours"] != first.figures["loss_ours"]
    release = scripts.release.Release(checkout)
    a, b = (
        scripts.sides.Setting(scripts.parity.CASES[0], release, 1, 5, seed=seed, scored=False)
        for seed in (0, 1)
    )
    assert not torch.equal(a.dummies()[0], b.dummies()[0])
    assert not torch.equal(*(next(side.seen.model.parameters()) for side in (a, b)))
    assert not torch.equal(a.images, b.images)


def test_the_start_alone_comes_first_and_the_rest_later(scripts, checkout, tmp_path, capsys):
    (row,) = run(scripts, tmp_path / "rows", checkout, "--start-only")
    assert set(row.figures) == {"apart", "apart_relative", "apart_by_step"}
    capsys.readouterr()
    assert run(scripts, tmp_path / "rows", checkout, "--start-only") == [row]
    assert capsys.readouterr().out == ""


def test_time_alone_is_a_row_of_its_own(scripts, checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts.parity, "TIMED", 3)
    (row,) = run(scripts, tmp_path / "rows", checkout, "--time-only")
    assert row.settings["what"] == "time"
    assert row.figures["ms_ours"] > 0 and row.figures["ms_theirs"] > 0
    assert len(row.figures["rounds_ours"]) == len(row.figures["rounds_theirs"]) == 5
    assert len(row.figures["load"]) == 2


def test_weights_are_copied_whole_or_not_at_all(scripts, checkout):
    release = scripts.release.Release(checkout)
    spec = CVB(1, 5, 0.5, beta=0.1)
    ours = models.build("cnn", bottlenecks=spec, seed=0)
    config = release.config("cifar10", "ignore", spec, tv=0.01, steps=5)
    theirs = release.model(config, spec, ours)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters()) == 72_490
    mu, raw = ours.bottlenecks["bottleneck1"].encoder.weight.chunk(2)
    encoder = theirs.VB_list[0].encoder
    assert torch.equal(encoder.mu_encoder.weight, mu) and torch.equal(encoder.std_encoder.weight, raw)
    copy = scripts.release.copy_weights
    with pytest.raises(ValueError, match=r"conv_layers.0.conv.weight has shape .*\(16, 3, 5, 5\), ours"):
        copy(models.build("cnn", input_shape=(1, 32, 32), bottlenecks=spec), theirs)
    with pytest.raises(ValueError, match="mu_encoder.weight has no counterpart 'bottleneck1.encoder.weight'"):
        copy(models.build("cnn"), theirs)
    plain = release.model(release.config("cifar10", "ig", None, tv=0.01, steps=5), None, models.build("cnn"))
    with pytest.raises(ValueError, match="no counterpart of our bottleneck1.encoder.weight, bottleneck1.dec"):
        copy(ours, plain)


def test_draws_are_handed_over_in_order_and_then_its_own_come_back(scripts, checkout):
    release = scripts.release.Release(checkout)
    spec = CVB(1, 5)
    ours = models.build("cnn", bottlenecks=spec, seed=0)
    theirs = release.model(release.config("cifar10", "ig", spec, tv=0.01, steps=5), spec, ours)
    mu, std = torch.zeros(1, 2), torch.ones(1, 2)
    place = theirs.VB_list[0].encoder
    with scripts.release.handed(theirs, [torch.full((1, 2), 3.0), torch.full((1, 2), 4.0)]):
        assert [place.reparameterize(mu, std)[0, 0].item() for _ in range(2)] == [3.0, 4.0]
        torch.manual_seed(0)
        own = place.reparameterize(mu, std)
    torch.manual_seed(0)
    assert torch.equal(place.reparameterize(mu, std), own)


def test_what_is_no_checkout_says_what_is_missing(scripts, checkout, tmp_path):
    release, unavailable = scripts.release.Release, scripts.common.Unavailable
    with pytest.raises(unavailable, match="There is no folder .*nowhere: clone https://github.com/dAI-SY-Gr"):
        release(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(unavailable, match="empty is no checkout of .*lacks src/attacks.py, src/utils.py, "):
        release(tmp_path / "empty")
    with pytest.raises(unavailable, match="no checkout of .*/PRECODE: it lacks src/VariationalBottleneck.py"):
        release(checkout, tmp_path / "empty")
    needy = released.release(tmp_path / "needy")
    (needy / "src" / "utils.py").write_text("import a_package_that_nobody_has")
    with pytest.raises(unavailable, match="needs a package more .*a_package_that_nobody_has"):
        release(needy)


def test_the_checkouts_commit_is_noted(scripts, tmp_path):
    folder = released.release(tmp_path / "cvb")

    def git(*command):
        names = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", "-C", str(folder), *names, *command], capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "released")
    head = git("rev-parse", "HEAD")
    assert scripts.release.commit(folder) == head
    (folder / "src" / "utils.py").write_text("")
    assert scripts.release.commit(folder) == f"{head}-dirty"


@pytest.mark.slow
def test_the_command_ends_with_the_message():
    command = [sys.executable, "benchmarks/peer.py", "--cvb", "/nowhere/at/all"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1 and "There is no folder /nowhere/at/all: clone" in done.stderr
    assert "Traceback" not in done.stderr
