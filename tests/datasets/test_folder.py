"""A folder of images as a set, on folders that the tests make."""

import hashlib
import os
import re
import shutil
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from gleak_lib import datasets, federated, memory, models
from gleak_lib.datasets import folder as module
from gleak_lib.errors import DataError, MissingDependencyError, ParameterError, UnknownNameError


@pytest.fixture
def pictures(tmp_path):
    """Three classes of 24 gray images of many sizes each, in three formats."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("ankle", "chest", "hand")):
        (tmp_path / "clinic" / name).mkdir(parents=True)
        for number in range(24):
            height, width = rng.integers(20, 60, 2)
            pixels = rng.integers(80 * label, 80 * label + 80, (height, width), dtype=np.uint8)
            kind = ("png", "jpg", "bmp")[number % 3]
            Image.fromarray(pixels).save(tmp_path / "clinic" / name / f"{number}.{kind}")
    return tmp_path / "clinic"


def said_to_be_test(path):
    """The rule of the split, written out: the first eight hexadecimal digits of the SHA-256 hash."""
    return int(hashlib.sha256(path.read_bytes()).hexdigest()[:8], 16) / 2**32 < 0.2


def test_every_file_is_there_once_resized_as_by_pillow_and_split_by_its_hash(pictures):
    clinic = datasets.load("clinic", root=pictures.parent, channels=1)
    assert (clinic.num_classes, clinic.input_shape, len(clinic.val)) == (3, (1, 32, 32), 0)
    for split, test in ((clinic.train, False), (clinic.test, True)):
        expected = [
            (label, path.read_bytes(), path)
            for label, inner in enumerate(sorted(pictures.iterdir()))
            for path in inner.iterdir()
            if said_to_be_test(path) == test
        ]
        expected.sort(key=lambda one: (one[0], hashlib.sha256(one[1]).digest()))
        assert split.labels.tolist() == [label for label, *_ in expected]
        resized = [
            np.asarray(Image.open(path).resize((32, 32), Image.Resampling.BILINEAR)) for *_, path in expected
        ]
        assert np.array_equal(split.images.stored[:, 0], np.stack(resized))


def test_a_path_is_a_name_with_its_root(pictures):
    whole = datasets.load(str(pictures), size=16)
    alike = datasets.load("clinic@16", root=pictures.parent)
    assert (whole.name, alike.name) == ("clinic", "clinic@16")
    assert torch.equal(whole.train.images.stored, alike.train.images.stored)
    assert whole.input_shape == (3, 16, 16)
    with pytest.raises(UnknownNameError, match="Unknown dataset"):
        datasets.load(str(pictures), root=pictures)


def test_names_of_files_and_further_ones_change_no_split(pictures, tmp_path):
    before = datasets.load(str(pictures))
    other = tmp_path / "elsewhere" / "clinic"
    shutil.copytree(pictures, other)
    for place, path in enumerate(sorted(other.glob("*/*"), reverse=True)):
        path.rename(path.with_name(f"renamed{place}{path.suffix.upper()}"))
    (other / "chest" / "notes.txt").write_text("not an image")
    (other / "chest" / ".hidden.png").write_bytes(b"")
    (other / ".cache").mkdir()
    again = datasets.load(str(other))
    assert torch.equal(before.train.images.stored, again.train.images.stored)
    assert torch.equal(before.test.images.stored, again.test.images.stored)
    assert torch.equal(before.test.labels, again.test.labels)
    Image.new("L", (30, 30), 7).save(other / "hand" / "one_more.png")
    more = datasets.load(str(other))
    kept = {image.numpy().tobytes() for image in more.test.images.stored}
    assert {image.numpy().tobytes() for image in before.test.images.stored} <= kept
    assert len(more.train) + len(more.test) == 73


def test_one_color_image_makes_a_color_set_of_which_gray_ones_are_replicated(pictures):
    Image.new("RGB", (40, 20), (250, 10, 10)).save(pictures / "hand" / "red.png")
    Image.new("RGBA", (40, 20), (10, 250, 10, 128)).save(pictures / "hand" / "green.png")
    Image.new("P", (40, 20)).save(pictures / "hand" / "black.gif")
    Image.new("CMYK", (40, 20)).save(pictures / "hand" / "white.jpg")
    clinic = datasets.load(str(pictures))
    colors = torch.cat([split.images.stored for split in (clinic.train, clinic.test)])
    assert colors.shape == (76, 3, 32, 32)
    for wanted in ((250, 10, 10), (10, 250, 10), (0, 0, 0), (255, 255, 255)):
        near = (colors.int() - torch.tensor(wanted)[:, None, None]).abs().amax((1, 2, 3)) <= 2
        assert near.sum() == 1
    assert (colors[:, 0] == colors[:, 1]).all((1, 2)).sum() == 74  # all but red and green
    with pytest.raises(ParameterError, match=r"3 channel\(s\); channels=1"):
        datasets.load(str(pictures), channels=1)


def test_a_model_is_trained_and_the_classes_are_told_apart(pictures):
    clinic = datasets.load(str(pictures), size=16)
    model = models.build("dmlp", input_shape=clinic.input_shape, num_classes=3, width=16, seed=0)
    history = federated.train(
        model,
        clinic.train,
        federated.Protocol(rounds=10, clients=2, batch_size=8, lr=1e-2),
        test=clinic.test,
        mean=clinic.mean,
        std=clinic.std,
        generator=torch.Generator().manual_seed(0),
    )
    assert history.accuracy > 0.9


def test_check_lists_folders_of_images(pictures):
    (pictures.parent / "empty").mkdir()
    states = {found.name: found for found in datasets.check(pictures.parent)}
    assert states["clinic"].state == "valid"
    assert "3 classes" in states["clinic"].detail
    assert "empty" not in states
    (pictures / "hand" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    states = {found.name: found for found in datasets.check(pictures.parent)}
    assert states["clinic"].state == "damaged"


def test_an_unknown_name_says_where_a_folder_would_be(pictures):
    with pytest.raises(UnknownNameError, match="Did you mean 'clinic'.*one folder of images per class"):
        datasets.load("clinik", root=pictures.parent)


def truncated(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def bomb(path):
    """A PNG whose head claims 8,193 x 8,193 pixels."""
    Image.new("L", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (8193).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b""), "broken.png is damaged or no image"),
        (lambda p: p.write_bytes(b"<html>not found</html>"), "broken.png is damaged or no image"),
        (truncated, "broken.png is damaged or no image"),
        (bomb, "broken.png has 8193 x 8193 pixels, more than the 67,108,864"),
        (
            lambda p: Image.new("I;16", (9, 9)).save(p),
            "broken.png has pixels of mode I;16: save it with 8 bits",
        ),
        (lambda p: p.symlink_to("/nowhere"), "broken.png is a link to nothing"),
        (lambda p: os.mkfifo(p), "broken.png is a pipe, not a file"),
        (lambda p: p.mkdir(), "broken.png is a folder, not a file"),
    ],
)
def test_a_broken_file_is_named(pictures, make, message):
    make(pictures / "chest" / "broken.png")
    with pytest.raises(DataError, match=re.escape(message)):
        datasets.load(str(pictures))


def test_a_large_file_is_not_read(pictures, monkeypatch):
    monkeypatch.setattr(module, "BYTES", 100)
    with pytest.raises(DataError, match="bytes, more than the 100 that are read"):
        datasets.load(str(pictures))


def test_more_images_than_memory_are_refused_before_any_is_read(pictures, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 1000)
    (pictures / "chest" / "broken.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"73 images of .*clinic would need .* of memory"):
        datasets.load(str(pictures))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: [path.unlink() for path in (p / "hand").iterdir()], "hand holds no image file"),
        (lambda p: (p / "more" / "deeper").mkdir(parents=True), "more holds no image file"),
        (lambda p: [shutil.rmtree(p / name) for name in ("hand", "chest")], r"1 class folder\(s\)"),
        (lambda p: [shutil.rmtree(inner) for inner in p.iterdir()], r"0 class folder\(s\)"),
        (lambda p: keep(p / "hand", test=True), "all images of class hand fall into the test split"),
        (lambda p: [keep(inner, test=False) for inner in p.iterdir()], "none of its .* images falls into"),
        (lambda p: (shutil.rmtree(p), p.write_text("x")), "clinic is no folder"),
    ],
)
def test_a_folder_that_is_no_set_says_why(pictures, spoil, message):
    spoil(pictures)
    with pytest.raises(DataError, match=message):
        datasets.load(str(pictures))


def keep(inner, *, test):
    for path in inner.iterdir():
        if said_to_be_test(path) != test:
            path.unlink()


def test_images_of_many_sizes_have_no_original_statistics(pictures):
    with pytest.raises(ParameterError, match="images of many sizes"):
        datasets.load(str(pictures), statistics="original")


def test_without_pillow_the_extra_is_named(pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "gleak\[data\]"'):
        datasets.load(str(pictures))
