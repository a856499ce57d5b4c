"""LPIPS beside the other scores: stored where its weights lie, and shown as missing where they do not."""

import warnings

import numpy as np
import pytest
import torch
from gleak_book import beside_report
from gleak_book.beside import BestResults, printed_rows, whole_attack

from gleak_lib import metrics
from gleak_lib.attacks import ATTACKS
from gleak_lib.errors import UnknownNameError
from gleak_lib.experiments import AttackExperiment, TrainingExperiment, frame, run, tables
from gleak_lib.experiments.specs import scores

package = pytest.importorskip("lpips")
FILE = "vgg16-397923af.pth"
CELL = AttackExperiment(TrainingExperiment("digits"), attack=ATTACKS["ig"].replace(max_steps=2), victims=3)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of torch's cache, as a user sets it; no weights in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def features(home):
    """A VGG with weights of chance, saved where a user puts the downloaded ones."""
    from torchvision.models import vgg

    torch.manual_seed(0)
    features = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)
    torch.save({f"features.{name}": value for name, value in features.state_dict().items()}, home / FILE)
    return features


def reference(features):
    """The package's own metric on the same backbone, put together by hand."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's way to call torchvision is out of date
        metric = package.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    for number in range(1, 6):
        part = getattr(metric.net, f"slice{number}")
        for index in part._modules:
            part._modules[index] = features[int(index)]
    return metric.requires_grad_(False)


def test_it_is_stored_as_the_package_gives_it(features, store):
    (result,) = run([CELL], store, device="cpu", progress=False)
    truth, found = result.images("truth"), result.images("reconstruction")
    metric = reference(features)
    for scaling, scale in (("minmax", metrics.minmax), ("none", lambda images: images)):
        expected = metric(scale(found), scale(truth)).flatten()  # [0, 1], not [-1, 1]
        stored = frame([result], scaling=scaling)["lpips"]
        np.testing.assert_allclose(stored, expected, rtol=0.02)  # stored pictures are rounded to bytes
        symmetric = metric(2 * scale(found) - 1, 2 * scale(truth) - 1).flatten()
        assert not np.allclose(symmetric, expected, rtol=0.05)
        assert result.figures["summary"][scaling]["lpips"]["mean"] == pytest.approx(stored.mean(), rel=1e-5)
    row = tables.attack_table(frame({"a": result})).iloc[0]
    assert row["lpips"] == pytest.approx(frame([result])["lpips"].mean())
    assert row["lpips_std"] == pytest.approx(frame([result])["lpips"].std(ddof=0))


def test_without_weights_nothing_is_stored_and_nothing_else_changes(home, store):
    (result,) = run([CELL], store, device="cpu", progress=False)
    assert all(
        set(columns) == {*scores.SCORES, scores.MSE_R} for columns in result.figures["scores"].values()
    )
    assert "lpips" not in frame([result])
    row = tables.attack_table(frame({"a": result})).iloc[0]
    assert (
        np.isnan(row["lpips"])
        and np.isnan(row["lpips_std"])
        and row["ssim"] == frame([result])["ssim"].mean()
    )


def test_weights_that_come_later_are_found(home, features):
    (home / FILE).rename(home / "elsewhere")
    assert metrics.lpips_at_hand() is None
    (home / "elsewhere").rename(home / FILE)
    assert metrics.lpips_at_hand() is not None


def test_weights_without_the_package_are_no_use(features, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    metrics.perceptual._loaded.cache_clear()
    assert metrics.lpips_at_hand() is None
    metrics.perceptual._loaded.cache_clear()


def with_lpips(cell, values):
    """A made-up result; `values` None is one of before LPIPS was stored."""
    count = cell.victims
    scores = {"ssim": [0.5] * count, "psnr": [10.0] * count, "mse": [0.1] * count}
    scores |= {} if values is None else {"lpips": [values] * count}
    made = {"scores": {"minmax": scores, "none": scores}, "loss": [0.5] * count, "steps": [9] * count}
    made |= {"entries_matched": 10, "entries_total": 40, "parameters": 40}
    from gleak_lib.experiments import Result

    return Result(cell, made, {"date": "2026-01-02", "device": "a CPU"})


def test_the_page_of_all_rows_has_it():
    (row, *_) = printed_rows(["XII"])
    best = BestResults({whole_attack(row.attacked): with_lpips(row.attacked, 0.3)}, {})
    line = beside_report.table([row], best).iloc[0]
    assert (line["lpips"], line["lpips_paper"]) == (pytest.approx(0.3), row.paper["lpips"])


def test_seeds_without_it_leave_the_row_without_it():
    pair = [with_lpips(CELL, 0.2), with_lpips(CELL, None)]
    assert np.isnan(tables.attack_table(frame({"a": pair})).iloc[0]["lpips"])
    assert tables.attack_table(frame({"a": pair[:1]})).iloc[0]["lpips"] == pytest.approx(0.2)


def test_why_it_is_missing(home):
    said = metrics.lpips_missing()
    assert said.startswith(f"LPIPS is NaN: its backbone's weights {FILE} are not in torch's cache")
    assert "\n" not in said
    assert metrics.lpips_missing("alex").count("alexnet-owt") == 2
    (home / FILE).touch()
    assert metrics.lpips_missing() == ""
    with pytest.raises(UnknownNameError, match="Unknown backbone 'vgg19'"):
        metrics.lpips_missing("vgg19")
