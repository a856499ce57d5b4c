"""Damaged, unsafe and wrong archives: each has its sentence, and none runs code."""

import numpy as np
import pytest

from gleak_lib import datasets
from gleak_lib.errors import DataError


def refuse(tmp_path, arrays, match, name="own"):
    np.savez(tmp_path / f"{name}.npz", **arrays)
    with pytest.raises(DataError, match=match):
        datasets.load(name, root=tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 1000, -30])
def test_truncated(tmp_path, arrays, keep):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **arrays)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"own\.npz (is damaged|holds a pickled object)"):
        datasets.load("own", root=tmp_path)


def test_flipped_bytes(tmp_path, arrays):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    content[5000] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        datasets.load("own", root=tmp_path)


@pytest.mark.parametrize("key", ["train_images", "train_labels", "test_images", "test_labels"])
def test_a_pickled_array_is_refused_and_not_opened(tmp_path, arrays, bomb, key):
    array = np.empty(1, dtype=object)
    array[0] = bomb
    refuse(tmp_path, arrays | {key: array}, "pickled object, which could run code when read: refused")
    assert not bomb.target.exists()
    np.load(tmp_path / "own.npz", allow_pickle=True)[key][0].close()  # it would have gone off
    assert bomb.target.exists()


def test_a_bare_pickle_is_refused_and_not_opened(tmp_path, bomb):
    import pickle

    (tmp_path / "own.npz").write_bytes(pickle.dumps(bomb))
    with pytest.raises(DataError, match="refused"):
        datasets.load("own", root=tmp_path)
    assert not bomb.target.exists()


def test_a_single_array(tmp_path):
    with open(tmp_path / "own.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="no npz archive but a single array"):
        datasets.load("own", root=tmp_path)


def test_empty_archive(tmp_path):
    refuse(tmp_path, {}, r"lacks train_images, .*; it holds nothing")


def test_a_missing_array_is_named(tmp_path, arrays):
    del arrays["test_labels"]
    refuse(tmp_path, arrays, r"own\.npz lacks test_labels; it holds train_images")


def test_half_a_validation_split(tmp_path, arrays):
    refuse(tmp_path, arrays | {"val_images": arrays["test_images"]}, "lacks val_labels")


@pytest.mark.parametrize(
    ("key", "change", "match"),
    [
        ("train_images", lambda a: a[:0], "train_images holds no image"),
        ("train_images", lambda a: a / 255, "train_images must be uint8 in 0 ... 255, got float64"),
        ("test_images", lambda a: a.reshape(12, -1), r"test_images must be N x H x W .* got \(12, 784\)"),
        ("test_images", lambda a: a.reshape(12, 1, 28, 28), r"got \(12, 1, 28, 28\)"),
        ("train_images", np.zeros_like, "constant channel"),
        ("train_labels", lambda a: a[:-1], r"train_labels must be N or N x 1 with N = 30"),
        ("train_labels", lambda a: a.astype(float), "train_labels must be integers, got float64"),
        ("train_labels", lambda a: np.repeat(a, 14, axis=1), "14 values an image: multi-label"),
        (
            "test_labels",
            lambda a: a + 5,
            r"test_labels holds the label 7, which is out of range: the 3 classes",
        ),
        (
            "train_labels",
            lambda a: a.astype(int) - 1,
            "train_labels holds the label -1, which is out of range",
        ),
    ],
)
def test_wrong_content(tmp_path, arrays, key, change, match):
    refuse(tmp_path, arrays | {key: change(arrays[key])}, match)


def test_labels_beyond_a_known_sets_classes(tmp_path, arrays):
    match = "train_labels holds the label 2, .* the 2 classes are 0 to 1"
    refuse(tmp_path, arrays, match, name="pneumoniamnist")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"images": np.full((6, 3, 32, 32), np.nan)}, "images must be finite and in"),
        ({"images": np.full((6, 3, 32, 32), 1.5)}, r"must be finite and in \[0, 1\], got \[1.5, 1.5\]"),
        ({"images": np.full((6, 3, 32, 32), -0.5)}, r"got \[-0.5, -0.5\]"),
        ({"images": np.zeros((6, 3, 32, 32), np.uint8)}, "must be float V x C x H x W .* got uint8"),
        ({"images": np.zeros((6, 32, 32, 3))}, r"V x C x H x W .*\(6, 32, 32, 3\)"),
        ({"images": np.zeros((0, 3, 32, 32))}, "holds no image"),
        ({"labels": np.arange(5)}, "labels must be N or N x 1 with N = 6"),
        ({"labels": np.arange(6) + 3}, "labels holds the label 8, .* the 8 classes"),
        ({"std": np.array([0.1, 0.0, 0.1])}, r"std must be 3 finite float\(s\), std above 0"),
        ({"mean": np.array([0.1, np.nan, 0.1])}, "mean must be 3 finite"),
        ({"mean": np.array([0.1])}, "mean must be 3 finite"),
    ],
)
def test_wrong_victims(tmp_path, victim_arrays, change, match):
    refuse(tmp_path, victim_arrays | change, match, name="bloodmnist_victims")


def test_victims_without_labels(tmp_path, victim_arrays):
    del victim_arrays["labels"]
    refuse(tmp_path, victim_arrays, "lacks labels", name="bloodmnist_victims")
