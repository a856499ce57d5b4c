"""Pictures come back bit for bit, are kept once, and what is damaged is not believed."""

import io
import json

import numpy as np
import pytest
from gleak_book.kinds import AnimationExperiment
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from toy_cells import Toy

from gleak_lib.errors import StoreError
from gleak_lib.experiments import AttackExperiment, DamagedResultWarning, storable
from gleak_lib.experiments.atomic import write_atomically
from gleak_lib.experiments.store import pictures
from gleak_lib.experiments.store.document import text

CELL = Toy(2.5)


@storable
class Gallery(Toy):
    gallery = True


NOISE = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), np.uint8)
SHAPES = st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 3, 4]), st.integers(1, 6), st.integers(1, 6))


def _one(store):
    (found,) = (store.folder / pictures.FOLDER).iterdir()
    return found


@settings(max_examples=40, deadline=None)
@given(images=SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_any_images_come_back_as_they_were(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    kept = json.loads(json.dumps(pictures.save(folder, {"truth": images, "frames": images[::-1]})))
    found = pictures.load(folder / "toy" / "key.json", kept)
    assert found is not None
    np.testing.assert_array_equal(found["truth"], images)
    np.testing.assert_array_equal(found["frames"], images[::-1])


def test_a_file_shows_the_images_side_by_side(store):
    store.put(CELL, {}, {}, {"truth": NOISE})
    sheet = np.asarray(Image.open(_one(store)))
    np.testing.assert_array_equal(sheet, np.concatenate(list(NOISE.transpose(0, 2, 3, 1)), axis=1))


SMOOTH = np.linspace(0, 200, 32).astype(np.uint8) + np.arange(40, dtype=np.uint8)[:, None, None, None]
MANY = np.broadcast_to(SMOOTH, (40, 3, 32, 32)).copy()


def test_a_gallery_of_many_color_images_comes_back_nearly_and_takes_little_room(store):
    store.put(Gallery(2.5), {}, {}, {"truth": MANY, "reconstruction": MANY})
    found, small = store.get(Gallery(2.5)).examples["truth"], _one(store)
    assert small.suffix == ".webp" and found.shape == MANY.shape
    assert 0 < np.abs(found.astype(int) - MANY).mean() < 3
    kept = pictures.save(store.folder, {"gray": MANY[:, :1]}, gallery=True)
    assert kept["gray"].keys() == {"picture", "shape"}


def test_as_many_images_of_another_kind_for_instance_of_an_animation_lose_nothing(store):
    store.put(CELL, {}, {}, {"truth": MANY, "frames": MANY})
    np.testing.assert_array_equal(store.get(CELL).examples["frames"], MANY)
    assert AttackExperiment.gallery
    assert not AnimationExperiment.gallery


def test_the_same_images_are_kept_once(store):
    store.put(CELL, {}, {}, {"truth": NOISE, "reconstruction": NOISE ^ 1})
    store.put(Toy(7.0), {}, {}, {"truth": NOISE.copy(), "reconstruction": NOISE ^ 2})
    assert len(list((store.folder / pictures.FOLDER).iterdir())) == 3
    np.testing.assert_array_equal(store.get(Toy(7.0)).examples["reconstruction"], NOISE ^ 2)


def _edit(path, examples):
    """Let a result refer to other examples, with a checksum that fits."""
    path.write_bytes(text(json.loads(path.read_text()) | {"examples": examples}))


def _other_images(path):
    found = np.asarray(Image.open(path)).copy()
    found[0, 0] ^= 1
    buffer = io.BytesIO()
    Image.fromarray(found).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def _other_format(path):
    Image.open(path).save(path, "GIF")


DAMAGES = {
    "gone": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "cut in the middle": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "other images": _other_images,
    "no PNG": _other_format,
    "gray": lambda path: Image.open(path).convert("L").save(path),
    "larger": lambda path: Image.new("RGB", (3000, 3000)).save(path),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("cell", "images"), [(CELL, NOISE), (Gallery(2.5), MANY)], ids=["png", "webp"])
def test_damaged_pictures_are_reported_and_mended(store, damage, cell, images):
    store.put(cell, {}, {}, {"truth": images})
    before = store.get(cell).examples["truth"]
    DAMAGES[damage](_one(store))
    with pytest.warns(DamagedResultWarning, match=f"{cell.key}.*is missing or damaged.*counts as missing"):
        assert store.get(cell) is None
    assert store.status([cell]).damaged == (cell,)
    store.put(cell, {}, {}, {"truth": images})
    np.testing.assert_array_equal(store.get(cell).examples["truth"], before)


@pytest.mark.parametrize(
    "entry",
    [
        "0123456789abcdef",
        {"picture": "0123456789abcdef"},
        {"picture": "../../../../../secret", "shape": [1, 3, 2, 2]},
        {"picture": "0123456789abcdef", "shape": [1, 3, 2]},
        {"picture": "0123456789abcdef", "shape": [1, -3, 2, -2]},
        {"picture": "0123456789abcdef", "shape": [100, 3, 10**6, 10**6]},
        {"picture": "0123456789abcdef", "shape": [1, 3, "two", 2]},
    ],
)
def test_a_reference_that_is_none_is_refused(store, entry):
    store.put(CELL, {}, {})
    path = store.path(CELL)
    _edit(path, {"truth": entry})
    with pytest.warns(DamagedResultWarning, match="refers to pictures by"):
        assert store.get(CELL) is None


def test_names_without_pictures_are_refused(store):
    store.put(CELL, {}, {})
    _edit(store.path(CELL), ["truth"])
    with pytest.warns(DamagedResultWarning, match=r"its examples are \['truth'\]"):
        assert store.get(CELL) is None


@pytest.mark.parametrize("images", [NOISE.astype(np.float32), NOISE[0], NOISE[:0]])
def test_only_a_few_images_of_bytes_are_saved(store, images):
    with pytest.raises(StoreError, match="truth must be a few images, uint8 N x C x H x W"):
        store.put(CELL, {}, {}, {"truth": images})
