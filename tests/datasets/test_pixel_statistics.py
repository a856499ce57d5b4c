"""Which pixel statistics an image set has: those of the images that models see, or of those on disk."""

import os

import numpy as np
import pytest

from gleak_lib import datasets
from gleak_lib.errors import UnknownNameError


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_those_before_or_after_resizing(tmp_path, arrays, channels):
    np.savez(tmp_path / "mnist.npz", **arrays)
    before = datasets.load("mnist", root=tmp_path, channels=channels, statistics="original")
    after = datasets.load("mnist", root=tmp_path, channels=channels)
    raw, seen = arrays["train_images"] / 255, after.train.images.stored.numpy() / 255
    np.testing.assert_allclose(before.mean, [raw.mean()] * channels)
    np.testing.assert_allclose(before.std, [raw.std()] * channels)
    np.testing.assert_allclose(after.std, [seen.std()] * channels)
    assert after.std[0] < 0.95 * before.std[0]  # resizing smooths
    assert (before.train.images.stored == after.train.images.stored).all()  # the images are the same


def test_images_that_are_not_resized_have_one_form(tmp_path, arrays):
    np.savez(tmp_path / "own.npz", **arrays)
    one, other = (datasets.load("own@28", root=tmp_path, statistics=kind) for kind in datasets.STATISTICS)
    assert (one.mean, one.std) == (other.mean, other.std)


def test_an_archive_of_victims_keeps_its_own_statistics(tmp_path, victim_arrays):
    np.savez(tmp_path / "own_victims.npz", **victim_arrays)
    given = datasets.load("own_victims", root=tmp_path, statistics="original")
    np.testing.assert_allclose(given.mean, victim_arrays["mean"])
    bare = {name: victim_arrays[name] for name in ("images", "labels")}
    np.savez(tmp_path / "bare_victims.npz", **bare)
    pixels = bare["images"].astype(float)
    original = datasets.load("bare_victims", root=tmp_path, size=16, statistics="original")
    np.testing.assert_allclose(original.std, pixels.std((0, 2, 3)))
    assert datasets.load("bare_victims", root=tmp_path, size=16).std[0] < 0.9 * original.std[0]


def test_another_kind_is_refused(tmp_path, victim_arrays):
    with pytest.raises(UnknownNameError, match="Unknown kind of pixel statistics 'orignal'. Did you mean"):
        datasets.load("digits", statistics="orignal")  # type: ignore[arg-type]
    np.savez(tmp_path / "own_victims.npz", **victim_arrays)
    with pytest.raises(UnknownNameError, match="Unknown kind of pixel statistics"):
        datasets.load("own_victims", root=tmp_path, statistics="28")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [  # the configurations of the CVB paper's public code (SPEC §13)
        ("mnist", (0.1307,), (0.3081,)),
        ("pneumoniamnist", (0.5719,), (0.1684,)),
        ("retinamnist", (0.39838934, 0.24472672, 0.15575321), (0.29828665, 0.20048255, 0.15065962)),
    ],
)
def test_the_papers_numbers_come_from_the_images_on_disk(name, mean, std):
    if not (os.environ.get("GLEAK_DATA") and (datasets.data_root() / f"{name}.npz").exists()):
        pytest.skip(f"GLEAK_DATA has no {name}.npz")
    found = datasets.load(name, statistics="original")
    digits = 4 if len(mean) == 1 else 5
    assert [round(value, digits) for value in found.mean] == [
        round(v, digits) for v in mean * (3 // len(mean))
    ]
    assert [round(value, digits) for value in found.std] == [round(v, digits) for v in std * (3 // len(std))]
