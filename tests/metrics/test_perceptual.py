"""LPIPS through the real package with weights made here: no test touches the network."""

import math
import sys
import warnings

import pytest
import torch

from gleak_lib import metrics
from gleak_lib.errors import MissingDependencyError, ParameterError, ShapeError, UnknownNameError
from gleak_lib.metrics import perceptual

package = pytest.importorskip("lpips")
FILE = "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch's, and no network."""

    def refuse(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(perceptual, "_SAID", set())
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def weights(cache):
    """A squeezenet's weights where torchvision would have put the downloaded ones."""
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    state = squeezenet1_1(weights=None).state_dict()
    torch.save(state, cache / FILE)
    return state


def images(channels=3, count=3):
    g = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, 32, 32, generator=g), torch.rand(count, channels, 32, 32, generator=g)


def reference(state):
    """The package's own metric, given the same weights by hand."""
    from torchvision.models import squeezenet1_1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = package.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    model = squeezenet1_1(weights=None)
    model.load_state_dict(state)
    for slice_ in (getattr(metric.net, f"slice{i}") for i in range(1, 8)):
        for index in slice_._modules:
            slice_._modules[index] = model.features[int(index)]
    return metric


def test_files_and_addresses_are_torchvisions(cache):
    from torchvision import models

    theirs = {
        "vgg": models.VGG16_Weights,
        "alex": models.AlexNet_Weights,
        "squeeze": models.SqueezeNet1_1_Weights,
    }
    assert set(theirs) == set(perceptual.BACKBONES)
    for net, weights in theirs.items():
        path, url = metrics.lpips_file(net)
        assert url == weights.DEFAULT.url
        assert path == cache / url.rpartition("/")[2]


def test_it_is_the_packages_metric(weights):
    pred, target = images()
    metric = reference(weights)
    with torch.no_grad():
        expected = {
            "symmetric": metric(pred * 2 - 1, target * 2 - 1).flatten(),
            "unit": metric(pred, target).flatten(),
        }
    for inputs, value in expected.items():
        found = metrics.lpips("squeeze", inputs=inputs)
        assert found.missing is None
        torch.testing.assert_close(found(pred, target), value)
        assert found(pred, pred).abs().max() == 0
    assert not torch.allclose(expected["unit"], expected["symmetric"])


def test_many_and_grey_images(weights, monkeypatch):
    monkeypatch.setattr(perceptual, "CHUNK", 2)
    pred, target = images(channels=1, count=5)
    found = metrics.lpips("squeeze")
    wide = [t.expand(-1, 3, -1, -1) for t in (pred, target)]
    torch.testing.assert_close(found(pred, target), found(*wide))
    frame = metrics.score(pred, target, perceptual=found)
    assert frame["lpips"].notna().all()
    assert frame.attrs["missing"] == {}


@pytest.mark.parametrize("download", [False, True])
def test_without_weights_it_is_nan_and_the_reason_is_said_once(cache, download):
    message = "could not be had .no route to host" if download else "are not in torch's cache"
    with pytest.warns(UserWarning, match=f"LPIPS is NaN: its backbone's weights vgg16.*{message}") as seen:
        found = metrics.lpips(download=download)
        metrics.lpips(download=download)
    assert len(seen) == 1
    pred, target = images()
    assert found(pred, target).isnan().all()
    frame = metrics.score(pred, target, perceptual=found)
    assert all(math.isnan(v) for v in frame["lpips"])
    assert frame.attrs["missing"] == {"lpips": found.missing}
    with pytest.raises(ParameterError, match="needs lpips, which is missing: LPIPS is NaN"):
        metrics.attack_success_rate(frame, metrics.lpips_below(0.2))


def test_a_damaged_file_is_said(cache):
    (cache / FILE).write_bytes(b"not weights")
    with pytest.warns(UserWarning, match="could not be had"):
        assert metrics.lpips("squeeze").missing


def test_what_it_refuses(weights, monkeypatch):
    with pytest.raises(UnknownNameError, match="Unknown backbone 'vgg16'. Did you mean 'vgg'"):
        metrics.lpips("vgg16")
    with pytest.raises(UnknownNameError, match="Unknown value of inputs 'units'"):
        metrics.lpips(inputs="units")  # type: ignore[arg-type]
    found = metrics.lpips("squeeze")
    with pytest.raises(ShapeError, match="one or three channels, got .2, 2, 32, 32."):
        found(*(t[:2] for t in images(channels=2)))
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"gleak\[metrics\]\""):
        metrics.lpips("squeeze")
