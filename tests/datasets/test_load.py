"""What `load` gives, and where it looks."""

import gzip
import hashlib
import pickle
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader

from gleak_lib import datasets
from gleak_lib.errors import DataError, MissingDependencyError, ParameterError, UnknownNameError


def test_digits_need_no_file_and_are_split_the_same_way_each_time(tmp_path):
    digits = datasets.load("digits", root=tmp_path)
    assert digits.input_shape == (3, 32, 32)
    assert digits.num_classes == 10
    assert len(digits.train) + len(digits.test) == 1797
    assert torch.bincount(digits.test.labels).min() >= 34  # every class in the test split
    again = datasets.load("digits")
    assert torch.equal(digits.train.images.stored, again.train.images.stored)


def test_digits_are_scikit_learns_enlarged():
    from sklearn.datasets import load_digits

    source = load_digits()
    small = datasets.load("digits", size=8, channels=1)
    test = [i for label in range(10) for i in np.flatnonzero(source.target == label)[::5]]
    expected = source.images[sorted(test)] / 16
    np.testing.assert_allclose(small.test.images[:][:, 0], expected, atol=0.5 / 255 + 1e-6)
    assert small.test.labels.tolist() == source.target[sorted(test)].tolist()


def test_digits_without_scikit_learn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "gleak\[data\]"'):
        datasets.load("digits")


def test_images_are_floats_in_range_and_grey_is_replicated(tmp_path, arrays):
    np.savez(tmp_path / "mnist.npz", **arrays)
    mnist = datasets.load("mnist", root=tmp_path)
    images, labels = mnist.train[:]
    assert images.shape == (30, 3, 32, 32)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images[:, 0], images[:, 2])
    assert labels.dtype == torch.int64
    assert mnist.train.images.stored.dtype == torch.uint8
    assert mnist.train.images.shape == (30, 3, 32, 32)
    assert mnist.train.images[3].shape == (3, 32, 32)
    assert torch.equal(mnist.train.images[[4, 2]], images[[4, 2]])
    assert torch.equal(mnist.train.subset([4, 2]).images[:], images[[4, 2]])
    batch, _ = next(iter(DataLoader(mnist.train, batch_size=5)))
    assert torch.equal(batch, images[:5])


def test_resizing_agrees_with_pillow(tmp_path, arrays):
    np.savez(tmp_path / "mnist.npz", **arrays)
    mine = datasets.load("mnist", root=tmp_path, channels=1).train.images.stored[:, 0].numpy()
    pillow = [
        np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
        for image in arrays["train_images"]
    ]
    assert np.abs(mine.astype(int) - np.stack(pillow)).max() <= 1


def test_statistics_are_those_of_the_training_pixels(tmp_path, arrays):
    arrays["train_images"] = np.random.default_rng(2).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", **arrays)
    own = datasets.load("own", root=tmp_path)
    pixels = arrays["train_images"] / 255
    np.testing.assert_allclose(own.mean, pixels.mean((0, 1, 2)))
    np.testing.assert_allclose(own.std, pixels.std((0, 1, 2)))
    np.testing.assert_allclose(own.train.images[:].numpy(), pixels.transpose(0, 3, 1, 2), atol=1e-7)


def test_an_own_archive_loads_by_its_name_and_counts_its_classes(tmp_path, arrays):
    arrays |= {"val_images": arrays["test_images"][:4], "val_labels": arrays["test_labels"][:4]}
    np.savez_compressed(tmp_path / "my_hospital.npz", **arrays)
    own = datasets.load("my_hospital", root=tmp_path)
    assert own.num_classes == 3
    assert len(own.val) == 4
    assert not own.victims_only
    own.require_training()


def test_a_set_without_validation_images_says_so(tmp_path, arrays):
    np.savez(tmp_path / "mnist.npz", **arrays)
    mnist = datasets.load("mnist", root=tmp_path)
    assert len(mnist.val) == 0
    with pytest.raises(DataError, match="mnist has no validation images"):
        mnist.val[:]


def test_root_comes_before_the_variable_and_the_variable_before_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GLEAK_DATA", str(tmp_path / "variable"))
    assert datasets.data_root(tmp_path / "argument") == tmp_path / "argument"
    assert datasets.data_root() == tmp_path / "variable"
    monkeypatch.delenv("GLEAK_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if sys.platform == "linux":
        assert datasets.data_root() == tmp_path / "cache" / "gleak"
        monkeypatch.setitem(sys.modules, "platformdirs", None)
        assert datasets.data_root() == tmp_path / "cache" / "gleak"


def test_the_archive_comes_before_the_folders(tmp_path, arrays):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    np.savez(tmp_path / "mnist.npz", **arrays)
    assert datasets.load("mnist", root=tmp_path).source.endswith("mnist.npz")


def test_medmnist_archives_of_another_size_are_found(tmp_path, arrays):
    np.savez(
        tmp_path / "pneumoniamnist_64.npz", **{k: v % 2 if "labels" in k else v for k, v in arrays.items()}
    )
    assert datasets.load("pneumoniamnist", root=tmp_path).num_classes == 2


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


def write_mnist(folder, arrays):
    folder.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        labels = arrays[f"{split}_labels"].reshape(-1)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(arrays[f"{split}_images"]))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashionmnist", "FashionMNIST")])
def test_torchvisions_idx_files_are_read(tmp_path, arrays, name, folder):
    write_mnist(tmp_path / folder / "raw", arrays)
    from_folder = datasets.load(name, root=tmp_path)
    np.savez(tmp_path / "own.npz", **arrays)
    from_archive = datasets.load("own", root=tmp_path)
    assert torch.equal(from_folder.train.images.stored, from_archive.train.images.stored)
    assert torch.equal(from_folder.test.labels, from_archive.test.labels)


def test_a_truncated_or_missing_idx_file_is_refused(tmp_path, arrays):
    folder = tmp_path / "MNIST" / "raw"
    write_mnist(folder, arrays)
    images = folder / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged"):
        datasets.load("mnist", root=tmp_path)
    images.unlink()
    with pytest.raises(DataError, match="lacks train-images-idx3-ubyte: fetch the set again"):
        datasets.load("mnist", root=tmp_path)
    labels = folder / "train-labels-idx1-ubyte.gz"
    images.write_bytes(idx(arrays["train_images"]))
    labels.write_bytes(labels.read_bytes()[:20])
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz is damaged"):
        datasets.load("mnist", root=tmp_path)


def write_cifar(folder, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content))


CIFAR_FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]


def test_a_strangers_cifar_folder_is_never_unpickled(tmp_path, bomb):
    write_cifar(tmp_path / "cifar-10-batches-py", dict.fromkeys(CIFAR_FILES, bomb))
    with pytest.raises(DataError, match=r"not the official file .* pickles, which could run code"):
        datasets.load("cifar10", root=tmp_path)
    assert not bomb.target.exists()
    pickle.loads(pickle.dumps(bomb)).close()  # noqa: S301  the bomb does go off where it is opened
    assert bomb.target.exists()


def test_an_incomplete_cifar_folder_is_refused(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="data_batch_1 is missing"):
        datasets.load("cifar10", root=tmp_path)


def test_torchvisions_cifar_folder_is_read_where_the_sums_match(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
    files = {name: {"data": rows, "labels": [0, 1, 2, 9]} for name in CIFAR_FILES[:-1]}
    files["batches.meta"] = {"label_names": [str(i) for i in range(10)]}
    write_cifar(tmp_path / "cifar-10-batches-py", files)
    sums = {name: hashlib.md5(pickle.dumps(content)).hexdigest() for name, content in files.items()}
    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", [[name, sums[name]] for name in CIFAR_FILES[:5]])
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": sums["batches.meta"]})
    cifar = datasets.load("cifar10", root=tmp_path)
    assert (len(cifar.train), len(cifar.test)) == (20, 4)
    assert cifar.test.labels.tolist() == [0, 1, 2, 9]
    np.testing.assert_array_equal(cifar.test.images.stored.reshape(4, -1), rows)


def test_unknown_names_list_what_there_is(tmp_path, arrays):
    np.savez(tmp_path / "my_hospital.npz", **arrays)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'cifar10'\?.*cifar100.*mnist.*my_hospital"):
        datasets.load("cifar-10", root=tmp_path)
    with pytest.raises(UnknownNameError, match=r"A set of your own would be .*hospital_x\.npz"):
        datasets.load("hospital_x", root=tmp_path)


@pytest.mark.parametrize("name", ["../mnist", "a/b", ""])
def test_names_that_are_no_names_are_unknown(tmp_path, name):
    with pytest.raises(UnknownNameError, match="Unknown dataset"):
        datasets.load(name, root=tmp_path)


def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(tmp_path):
    with pytest.raises(DataError) as caught:
        datasets.load("cifar10", root=tmp_path)
    for part in (tmp_path / "cifar10.npz", tmp_path / "cifar-10-batches-py", "download=True", "GLEAK_DATA"):
        assert str(part) in str(caught.value)


def test_a_missing_set_points_to_its_victims(tmp_path, victim_arrays):
    np.savez(tmp_path / "bloodmnist_victims.npz", **victim_arrays)
    with pytest.raises(DataError, match=r'load "bloodmnist_victims" to attack fresh weights'):
        datasets.load("bloodmnist", root=tmp_path)


def test_colour_cannot_be_shown_in_one_channel(tmp_path, arrays):
    arrays["train_images"] = np.repeat(arrays["train_images"][..., None], 3, axis=-1)
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(ParameterError, match=r"channels=1 does not fit"):
        datasets.load("own", root=tmp_path, channels=1)


def test_download_goes_through_torchvision_and_only_when_asked(tmp_path, arrays, monkeypatch):
    calls = []

    class Fake:
        def __init__(self, root, train, download):
            calls.append((root, train, download))
            write_mnist(tmp_path / "MNIST" / "raw", arrays)

    monkeypatch.setattr(torchvision.datasets, "MNIST", Fake)
    with pytest.raises(DataError, match="mnist is not there"):
        datasets.load("mnist", root=tmp_path)
    assert calls == []
    assert len(datasets.load("mnist", root=tmp_path, download=True).train) == 30
    assert len(datasets.load("mnist", root=tmp_path, download=True).train) == 30
    assert calls == [(str(tmp_path), True, True)]


def test_download_goes_through_medmnist(tmp_path, arrays, monkeypatch):
    import medmnist

    class Fake:
        def __init__(self, root, split, download):
            np.savez(tmp_path / "new" / "dermamnist.npz", **arrays)

    monkeypatch.setattr(medmnist, "DermaMNIST", Fake)
    assert datasets.load("dermamnist", root=tmp_path / "new", download=True).num_classes == 7


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    def fail(**_):
        raise RuntimeError("no\n  network")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fail)
    with pytest.raises(DataError, match=r"Downloading mnist .* failed: no network .*another machine"):
        datasets.load("mnist", root=tmp_path, download=True)


def test_victims_archives_cannot_be_downloaded(tmp_path):
    with pytest.raises(ParameterError, match="bloodmnist_victims cannot be downloaded: save the images"):
        datasets.load("bloodmnist_victims", root=tmp_path, download=True)


def test_early_checkpoints_of_torchvision_are_not_opened(tmp_path):
    (tmp_path / "MNIST" / "processed").mkdir(parents=True)
    with pytest.raises(DataError, match="processed was written by an early torchvision: remove it"):
        datasets.load("mnist", root=tmp_path, download=True)


def test_every_registered_class_exists():
    import medmnist

    modules = {"torchvision": torchvision.datasets, "medmnist": medmnist}
    for name, source in datasets.DATASETS.items():
        if source.kind in modules:
            assert hasattr(modules[source.kind], source.package_class), name
        if source.kind == "medmnist":
            info = medmnist.INFO[name]
            assert (info["python_class"], len(info["label"])) == (source.package_class, source.num_classes)


def test_check_says_what_is_valid_damaged_and_missing(tmp_path, arrays):
    np.savez(tmp_path / "mnist.npz", **arrays)
    np.savez(tmp_path / "my_hospital.npz", **arrays)
    (tmp_path / "cifar10.npz").write_bytes(b"PK\x03\x04 cut off")
    found = {line.name: line for line in datasets.check(tmp_path)}
    assert set(found) == {*datasets.DATASETS, "my_hospital"}
    assert found["digits"].state == found["mnist"].state == found["my_hospital"].state == "valid"
    assert "30 train, 12 test images, 3 classes" in found["my_hospital"].detail
    assert (found["cifar10"].state, "damaged" in found["cifar10"].detail) == ("damaged", True)
    assert (found["retinamnist"].state, "download=True" in found["retinamnist"].detail) == ("missing", True)


def test_a_name_may_say_that_a_set_stays_gray(tmp_path):
    gray, three = datasets.load("digits@gray"), datasets.load("digits")
    assert (gray.name, gray.input_shape, gray.mean) == ("digits@gray", (1, 32, 32), three.mean[:1])
    assert torch.equal(gray.train[:5][0], three.train[:5][0][:, :1])
    assert datasets.load("digits@16@gray").input_shape == (1, 16, 16)
    with pytest.raises(UnknownNameError):
        datasets.load("digits@gray@16")
    color = np.zeros((4, 8, 8, 3), np.uint8)
    color[::2] = 255
    both = {f"{split}_images": color for split in ("train", "test")}
    both |= {f"{split}_labels": np.arange(4) % 2 for split in ("train", "test")}
    np.savez(tmp_path / "color.npz", **both)
    with pytest.raises(ParameterError, match="channels=1 does not fit"):
        datasets.load("color@gray", root=tmp_path)


def test_a_name_may_say_the_size(tmp_path, arrays):
    digits, by_argument = datasets.load("digits@48"), datasets.load("digits", size=48)
    assert digits.input_shape == (3, 48, 48)
    assert (digits.name, by_argument.name) == ("digits@48", "digits")
    assert torch.equal(digits.train.images.stored, by_argument.train.images.stored)
    assert torch.equal(digits.test.labels, by_argument.test.labels)
    assert (digits.mean, digits.std) == (by_argument.mean, by_argument.std)
    assert datasets.load("digits@16", size=16, channels=1).input_shape == (1, 16, 16)
    np.savez(tmp_path / "my.own-set.npz", **arrays)
    own = datasets.load("my.own-set@40", root=tmp_path)
    assert (own.input_shape, own.name) == ((3, 40, 40), "my.own-set@40")


def test_sizes_that_contradict_each_other_or_are_none(tmp_path):
    with pytest.raises(ParameterError, match="that of the name, got size=32 for 'digits@48'"):
        datasets.load("digits@48", size=32)
    for size in (0, -3):
        with pytest.raises(ParameterError, match=f"size must be 1 to 4096 .* got size={size}"):
            datasets.load("digits", size=size)
    for name in ("digits@", "digits@0", "digits@-8", "digits@x", "@32", "digits@48@32"):
        with pytest.raises(UnknownNameError, match="Unknown dataset"):
            datasets.load(name, root=tmp_path)
    with pytest.raises(UnknownNameError, match="Unknown dataset 'digitz'. Did you mean 'digits'"):
        datasets.load("digitz@48", root=tmp_path)
    with pytest.raises(DataError, match="cifar10 is not there"):
        datasets.load("cifar10@64", root=tmp_path)
