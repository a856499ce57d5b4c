"""What strangers may put where an image set should be: each has its sentence, none is waited for."""

import contextlib
import gzip
import io
import os
import resource
import struct
import zipfile
import zlib

import numpy as np
import pytest

from gleak_lib import datasets, memory
from gleak_lib.datasets import archives
from gleak_lib.errors import DataError, GleakError, ParameterError, UnknownNameError

HEAD = "{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"


def packed(method):
    def write(path, arrays):
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.save(buffer, array)
                archive.writestr(f"{name}.npy", buffer.getvalue())

    return write


def flipped(path, arrays):
    np.savez_compressed(path, **arrays)
    content = bytearray(path.read_bytes())
    content[200:220] = bytes(255 - byte for byte in content[200:220])
    path.write_bytes(content)


def patched(offset, value):
    """Overwrite a field of two bytes in every entry of the directory at the end, and in every local head."""

    def write(path, arrays):
        np.savez(path, **arrays)
        content = bytearray(path.read_bytes())
        for magic, at in ((b"PK\x01\x02", offset), (b"PK\x03\x04", offset - 2)):
            start = -1
            while (start := content.find(magic, start + 1)) >= 0:
                struct.pack_into("<H", content, start + at, value)
        path.write_bytes(content)

    return write


def member(content):
    def write(path, arrays):
        np.savez(path, **{name: array for name, array in arrays.items() if name != "train_images"})
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("train_images.npy", content)

    return write


def npy(header, data=b"", version=b"\x01\x00"):
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def text(content):
    return lambda path, _: path.write_bytes(content)


def changed(key, change):
    return lambda path, arrays: np.savez(path, **arrays | {key: change(arrays[key])})


def many(shape):
    return member(npy(HEAD.format(shape=shape), bytes(100)))


HOSTILE = {
    # no archive at all
    "random bytes": (text(b"\x13\x37" * 500), r"no npz archive \(it begins with"),
    "nothing": (text(b""), r"no npz archive \(it is empty\)"),
    "a web page": (text(b"\n<!DOCTYPE html><html>404</html>"), "is a web page, not an npz archive"),
    "a web page of old": (text(b"\xef\xbb\xbf<HTML><body>log in</body>"), "is a web page"),
    "a short archive": (text(b"PK\x03\x04 and no more"), r"damaged or no npz archive \(BadZipFile"),
    # no file
    "a folder": (lambda path, _: path.mkdir(), "is a folder, not a file"),
    "a pipe": (lambda path, _: os.mkfifo(path), "is a pipe, not a file"),
    "a link to nothing": (lambda path, _: path.symlink_to("nowhere"), "is a link to nothing"),
    "a link to itself": (lambda path, _: path.symlink_to(path), "is a link to nothing"),
    "a link to a device": (lambda path, _: path.symlink_to("/dev/zero"), "is a device, not a file"),
    # archives that cannot be unpacked
    "encrypted": (patched(8, 1), r"is encrypted \(train_images.npy\)"),
    "unknown compression": (patched(10, 99), r"packed by an unknown method \(train_images.npy: 99\)"),
    "LZMA, which unpacks without a limit": (packed(zipfile.ZIP_LZMA), "packed by an unknown method"),
    "broken deflate": (flipped, "is damaged"),
    # members whose head is wrong
    "no array": (member(b"text"), "its member train_images is no array"),
    "empty member": (member(b""), "its member train_images is no array"),
    "unclosed head": (member(npy("{'descr': ((((")), "is damaged"),
    "nested head": (member(npy("(" * 3000)), "is damaged"),
    "nested brackets": (member(npy("[" * 3000)), "is damaged"),
    "bad indentation": (member(npy("{\n  'a'\n 'b'")), "is damaged"),
    "long head": (member(npy("{" + " " * 60000)), "is damaged"),
    "code in the head": (member(npy("__import__('os').getcwd()")), "is damaged"),
    "null bytes": (member(npy(b"\x00" * 64)), "is damaged"),
    "unknown version": (member(npy("{}", version=b"\x09\x00")), "is damaged"),
    "version 3": (member(npy("{}", version=b"\x03\x00")), "is damaged"),
    "negative shape": (many((-1, 28, 28)), "is damaged"),
    "two negative sizes": (many((-10, -10)), "is damaged"),
    "shape of floats": (many((1.5, 28)), "is damaged"),
    "far more images than bytes": (many((10**12, 28, 28)), "is damaged"),
    "4 GB that are not there": (many((2**32,)), "is damaged"),
    # labels
    "labels negative": (changed("train_labels", lambda a: a.astype(int) - 1), "label -1, .* from 0"),
    "10^12 classes": (
        changed("train_labels", lambda a: a.astype(int) + 2**40),
        "holds the label 1099511627.*at most 65,536",
    ),
    "2 * 10^9 classes": (
        changed("test_labels", lambda a: a.astype(int) + 2 * 10**9),
        "holds the label 2000000.*at most",
    ),
    "labels beyond int64": (
        changed("train_labels", lambda a: a.astype(np.uint64) + np.uint64(2**64 - 9)),
        "holds the label 18446744073709551609",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_has_its_sentence_and_hides_no_other(tmp_path, arrays, what):
    write, match = HOSTILE[what]
    write(tmp_path / "own.npz", arrays)
    with pytest.raises(DataError, match=match):
        datasets.load("own", root=tmp_path)
    np.savez(tmp_path / "other.npz", **arrays)
    states = {entry.name: (entry.state, entry.detail) for entry in datasets.check(tmp_path)}
    assert states["own"][0] == "damaged" and str(tmp_path / "own.npz") in states["own"][1]
    assert states["other"][0] == states["digits"][0] == "valid"


@pytest.mark.parametrize("method", archives.METHODS)
def test_every_way_to_pack_is_read(tmp_path, arrays, method):
    packed(method)(
        tmp_path / "own.npz", {**arrays, "train_images": np.asfortranarray(arrays["train_images"])}
    )
    found = archives.read_npz(tmp_path / "own.npz")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable


def test_random_changes_give_an_error_of_ours_or_a_set(tmp_path, arrays):
    """Bytes are changed inside of the arrays' heads and the archive's directory, with right checksums."""
    random = np.random.default_rng(0)
    clean = io.BytesIO()
    np.save(clean, arrays["train_images"])
    for _ in range(150):
        content = bytearray(clean.getvalue())
        for place in random.integers(6, 128, random.integers(1, 4)):
            content[place] = random.choice(list(b"()[]{}'\",:0189 \n\t\x00\xffNu"))
        member(bytes(content))(tmp_path / "own.npz", arrays)
        whole = bytearray((tmp_path / "own.npz").read_bytes())
        whole[random.integers(len(whole) - 300, len(whole))] ^= 1 << random.integers(8)
        (tmp_path / "own.npz").write_bytes(whole)
        with contextlib.suppress(DataError):
            datasets.load("own", root=tmp_path)


def bomb(path, arrays):
    """320 MB of zeros in 300 kB, made piece by piece."""
    np.savez(path, **{name: array for name, array in arrays.items() if name != "train_images"})
    archive = zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("train_images.npy", "w", force_zip64=True) as file:
        file.write(npy(HEAD.format(shape=(5 * 2**16, 32, 32))))
        for _ in range(5):
            file.write(bytes(2**26))


def gzip_bomb(path):
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"\x00\x00\x08\x03" + struct.pack(">III", 5 * 2**16, 32, 32))
        for _ in range(5):
            file.write(bytes(2**26))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, arrays):
    bomb(tmp_path / "own.npz", arrays)
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    gzip_bomb(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("own", "mnist"):
        with pytest.raises(DataError, match=r"would unpack to \d\.\d GB from [\d,]+ bytes, as no images do"):
            datasets.load(name, root=tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_an_archive_that_lies_about_its_size_is_not_unpacked_further(tmp_path, arrays):
    np.savez_compressed(
        tmp_path / "own.npz", **arrays | {"train_images": np.zeros((2**15, 28, 28), np.uint8)}
    )
    content = bytearray((tmp_path / "own.npz").read_bytes())
    entry = content.find(b"PK\x01\x02")
    struct.pack_into("<I", content, entry + 24, 128 + 784)
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        datasets.load("own", root=tmp_path)


def test_an_archive_larger_than_the_memory_is_refused(tmp_path, arrays, monkeypatch):
    np.savez(tmp_path / "own.npz", **arrays)
    monkeypatch.setattr(memory, "available", lambda: 10**5)
    with pytest.raises(DataError, match=r"own\.npz, with 0\.0 GB of arrays, would need 0\.0 GB of memory"):
        datasets.load("own", root=tmp_path)


def test_free_memory_is_known(tmp_path, monkeypatch):
    assert 10**7 < memory.available() < 10**14
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert 10**7 < memory.available() < 10**14
    monkeypatch.delattr(os, "sysconf")
    assert memory.available() == memory.UNKNOWN
    memory.require(memory.UNKNOWN, "this")
    for needed, said in ((3 * 10**13, r"30,000\.0 GB"), (10**5000, "more than a billion GB")):
        with pytest.raises(ParameterError, match=f"k=9 would need {said} of memory, and 8.6 GB are free"):
            memory.require(needed, "k=9")


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("own@100000", ParameterError, "at most 4096"),
        ("own@99999999999999999999", ParameterError, "at most 4096"),
        ("own@" + "9" * 5000, UnknownNameError, "Unknown dataset 'own@999"),
        ("x" * 300, UnknownNameError, "Unknown dataset 'xxx.*…'"),
        ("x" * 100, UnknownNameError, "A set of your own would be"),
        (b"own", ParameterError, "name must be str, got b'own'"),
    ],
)
def test_hostile_names(tmp_path, arrays, name, error, match):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(error, match=match) as caught:
        datasets.load(name, root=tmp_path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("size", [2.5, "32", 10**7, 10**30, [32]])
def test_hostile_sizes(tmp_path, size):
    with pytest.raises(ParameterError, match=r"size must be (1 to 4096|int)"):
        datasets.load("digits", size=size)


def test_images_that_would_not_fit_into_memory_are_not_made(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    with pytest.raises(
        ParameterError, match=r"1,433 images at size 4096 would need .* GB of memory, and 1.0 GB"
    ):
        datasets.load("digits@4096")


@pytest.mark.parametrize("values", [{"count": 2.0}, {"count": "2"}, {"seed": 0.5}, {"batch_size": None}])
def test_victims_are_counted_in_integers(values):
    (name,) = values
    with pytest.raises(ParameterError, match=f"{name} must be int, got"):
        datasets.victims(datasets.load("digits"), **{"count": 2, "seed": 0} | values)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is no folder"):
        datasets.check(tmp_path / "file")
    assert {entry.state for entry in datasets.check(tmp_path / "none")} == {"valid", "missing"}


def test_pipes_among_the_files_that_torchvision_wrote(tmp_path):
    for folder, name in (("MNIST/raw", "train-images-idx3-ubyte"), ("cifar-10-batches-py", "data_batch_1")):
        (tmp_path / folder).mkdir(parents=True)
        os.mkfifo(tmp_path / folder / name)
    for name in ("mnist", "cifar10"):
        with pytest.raises(GleakError, match="is a pipe, not a file"):
            datasets.load(name, root=tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no idx file of bytes"),
        (
            b"\x00\x00\x08\x03" + struct.pack(">III", 2**32 - 1, 2**32 - 1, 2**32 - 1),
            "more than a billion GB",
        ),
        (b"\x00\x00\x08\xff" * 11, "no idx file of bytes"),
        (b"\x00\x00\x08\x03" + struct.pack(">III", 3, 2, 2) + bytes(11), "its head says 12 bytes, it has 11"),
        (
            b"\x00\x00\x08\x03" + struct.pack(">III", 3, 2, 2) + bytes(99),
            "its head says 12 bytes, it has more",
        ),
    ],
)
def test_hostile_idx_files(tmp_path, content, match):
    for name, write in (
        ("a", lambda p: p.write_bytes(content)),
        ("a.gz", lambda p: p.write_bytes(gzip.compress(content))),
    ):
        write(tmp_path / name)
        with pytest.raises(DataError, match=match):
            archives.read_idx(tmp_path / name)
    (tmp_path / "b.gz").write_bytes(b"\x1f\x8b" + zlib.compress(content))
    with pytest.raises(DataError, match="is damaged"):
        archives.read_idx(tmp_path / "b.gz")
