"""Drawing victims, and archives that hold nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gleak_lib import datasets
from gleak_lib.errors import DataError, ParameterError, UnknownNameError

DIGITS = datasets.load("digits")


def test_shapes():
    images, labels = datasets.victims(DIGITS, 4, seed=0)
    assert (images.shape, labels.shape) == ((4, 3, 32, 32), (4,))
    images, labels = datasets.victims(DIGITS, 4, seed=0, batch_size=2)
    assert (images.shape, labels.shape) == ((4, 2, 3, 32, 32), (4, 2))


@settings(max_examples=20, deadline=None)
@given(
    small=st.integers(1, 10),
    more=st.integers(0, 10),
    seed=st.integers(0, 2**32 - 1),
    batch_size=st.integers(1, 8),
    distinct=st.booleans(),
)
def test_a_smaller_draw_is_the_start_of_a_larger_one(small, more, seed, batch_size, distinct):
    options = {"batch_size": batch_size, "distinct_labels": distinct}
    few = datasets.victims(DIGITS, small, seed, **options)
    many = datasets.victims(DIGITS, small + more, seed, **options)
    assert torch.equal(few[0], many[0][:small])
    assert torch.equal(few[1], many[1][:small])
    if distinct and batch_size > 1:
        assert all(len(set(batch.tolist())) == batch_size for batch in many[1])


def test_the_seed_decides_and_its_draw_is_fixed_for_good():
    assert not torch.equal(datasets.victims(DIGITS, 4, 0)[0], datasets.victims(DIGITS, 4, 1)[0])
    expected = DIGITS.train.labels[torch.from_numpy(np.random.RandomState(5).permutation(len(DIGITS.train)))]
    assert datasets.victims(DIGITS, 16, 5)[1].tolist() == expected[:16].tolist()


@pytest.mark.parametrize("distinct", [False, True])
def test_no_image_is_drawn_twice(distinct):
    images, _ = datasets.victims(DIGITS, 50, seed=0, batch_size=10, distinct_labels=distinct)
    stored = DIGITS.train.images[:].flatten(1)
    found = torch.cdist(images.flatten(0, 1).flatten(1), stored, compute_mode="donot_use_mm_for_euclid_dist")
    assert len(set(found.argmin(1).tolist())) == 500


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"count": 0, "seed": 0}, "must be at least 1, got 0"),
        ({"count": 1, "seed": 0, "batch_size": 0}, "must be at least 1"),
        ({"count": 1434, "seed": 0}, r"need 1434 images, but digits has 1433 training images"),
        ({"count": 1, "seed": 0, "batch_size": 11, "distinct_labels": True}, "11 distinct classes"),
        ({"count": 1, "seed": -1}, "seed must be in 0"),
    ],
)
def test_impossible_draws(arguments, match):
    with pytest.raises(ParameterError, match=match):
        datasets.victims(DIGITS, **arguments)


def test_a_victims_archive_serves_attacks_only(tmp_path, victim_arrays):
    np.savez(tmp_path / "bloodmnist_victims.npz", **victim_arrays)
    blood = datasets.load("bloodmnist_victims", root=tmp_path)
    assert (blood.num_classes, blood.input_shape, blood.victims_only) == (8, (3, 32, 32), True)
    np.testing.assert_allclose(blood.mean, [0.4, 0.5, 0.6], rtol=1e-6)
    np.testing.assert_allclose(blood.std, [0.1, 0.2, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(blood.train.images[:], victim_arrays["images"])
    images, labels = datasets.victims(blood, 6, seed=0)
    np.testing.assert_array_equal(images, victim_arrays["images"][np.random.RandomState(0).permutation(6)])
    assert sorted(labels.tolist()) == list(range(6))
    with pytest.raises(DataError, match="holds 6 victims only, nothing to train or test on: attack fresh"):
        blood.require_training()
    with pytest.raises(DataError, match="holds 6 victims only, no image to train or test on"):
        blood.test[:]


def test_an_own_victims_archive_needs_images_and_labels_only(tmp_path, victim_arrays):
    np.savez(tmp_path / "some.npz", images=victim_arrays["images"][:, :1], labels=victim_arrays["labels"])
    some = datasets.load("some", root=tmp_path)
    assert some.num_classes == 6
    np.testing.assert_allclose(some.mean, [victim_arrays["images"][:, 0].mean()] * 3, rtol=1e-5)
    np.testing.assert_allclose(some.std, [victim_arrays["images"][:, 0].std()] * 3, rtol=1e-5)


@settings(max_examples=10, deadline=None)
@given(few=st.integers(1, 6), more=st.integers(0, 6), seed=st.integers(0, 99), batch_size=st.integers(1, 3))
def test_victims_among_some_images_are_of_them_only(few, more, seed, batch_size):
    among = torch.arange(3, 1400, 7)
    labels = datasets.victims(DIGITS, 40, seed, among=among)[1]
    own = DIGITS.train.subset(among)
    assert torch.equal(labels, own.labels[np.random.RandomState(seed).permutation(len(own))[:40]])
    small = datasets.victims(DIGITS, few, seed, batch_size=batch_size, among=among)
    large = datasets.victims(DIGITS, few + more, seed, batch_size=batch_size, among=among)
    assert torch.equal(small[0], large[0][:few])
    found = small[0].reshape(-1, 3 * 32 * 32)
    assert (found[:, None] == own.images[:].flatten(1)).all(-1).any(1).all()


@pytest.mark.parametrize(
    "among",
    [
        torch.tensor([0.5]),
        torch.tensor([[1]]),
        torch.tensor([1, 1]),
        torch.tensor([-1]),
        torch.tensor([1 << 20]),
    ],
)
def test_indices_that_are_none_are_refused(among):
    with pytest.raises(ParameterError, match="among must be different indices of the .* training images"):
        datasets.victims(DIGITS, 1, 0, among=among)


def test_too_few_images_to_draw_from():
    with pytest.raises(ParameterError, match="digits has 2 training images to draw from: lower count"):
        datasets.victims(DIGITS, 3, 0, among=torch.tensor([4, 9]))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_victims_of_any_split(split):
    source = DIGITS.split(split)
    if not len(source):
        with pytest.raises(DataError, match="digits"):
            datasets.victims(DIGITS, 1, 0, split=split)
        return
    images, labels = datasets.victims(DIGITS, 16, 5, split=split)
    index = torch.from_numpy(np.random.RandomState(5).permutation(len(source)))[:16]
    assert torch.equal(images, source.images[index]) and torch.equal(labels, source.labels[index])


def test_one_victim_per_class():
    _, labels = datasets.victims(DIGITS, 10, 3, split="test", one_per_class=True)
    assert sorted(labels.tolist()) == list(range(10))
    order = DIGITS.test.labels[torch.from_numpy(np.random.RandomState(3).permutation(len(DIGITS.test)))]
    assert labels.tolist() == list(dict.fromkeys(order.tolist()))  # the first of each class, as drawn
    assert datasets.victims(DIGITS, 4, 3, split="test", one_per_class=True)[1].tolist() == labels[:4].tolist()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"count": 11, "one_per_class": True}, ParameterError, "need 11 classes, .* training .* have 10"),
        ({"count": 2, "one_per_class": True, "batch_size": 2}, ParameterError, "one image, got batch_size=2"),
        ({"count": 2, "split": "tests"}, UnknownNameError, "Unknown split 'tests'. Did you mean 'test'"),
        ({"count": 5000, "split": "test"}, ParameterError, "digits has 364 test images: lower"),
        ({"count": 1, "split": "test", "among": torch.tensor([400])}, ParameterError, "the 364 test images"),
    ],
)  # fmt: skip
def test_splits_and_classes_that_there_are_not(options, error, match):
    with pytest.raises(error, match=match):
        datasets.victims(DIGITS, seed=0, **options)


def test_a_root_set_names_images_and_holds_none():
    root = datasets.RootSet("digits", images=20, seed=4)
    images, labels = root.draw(DIGITS)
    expected = datasets.victims(DIGITS, 20, 4, split="test")
    assert torch.equal(images, expected[0]) and torch.equal(labels, expected[1])
    assert root == datasets.RootSet("digits", 20, 4) and hash(root) == hash(datasets.RootSet("digits", 20, 4))
    assert repr(root) == 'RootSet(dataset="digits", images=20, seed=4)'
    one = datasets.RootSet("digits", images=1).draw(DIGITS)
    assert one[0].shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: datasets.RootSet("digits", images=0), ParameterError, "at least one image, got images=0"),
        (lambda: datasets.RootSet("digits", split="tset"), UnknownNameError, "split .tset."),  # type: ignore
        (lambda: datasets.RootSet("mnist").draw(DIGITS), ParameterError, "images of mnist, got .* digits"),
        (lambda: datasets.RootSet("digits", 365).draw(DIGITS), ParameterError, "digits has 364 test images"),
    ],
)
def test_root_sets_that_cannot_be_drawn(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize("bias", [0.0, 0.1, 0.5, 1.0])
def test_a_biased_root_set_favors_one_class(bias):
    root = datasets.RootSet("digits", 20, seed=3, bias=bias)
    images, labels = root.draw(DIGITS)
    favored = np.random.RandomState(3).randint(10)
    assert (labels == favored).sum() == round(20 * bias) and len(images) == 20
    assert torch.equal(images, root.draw(DIGITS)[0])
    with pytest.raises(ParameterError, match=r"bias must be None or in \[0, 1\], got 1.5"):
        datasets.RootSet("digits", bias=1.5)
    with pytest.raises(ParameterError, match="digits has 3[0-9] test images to draw from"):
        datasets.RootSet("digits", 60, seed=3, bias=1.0).draw(DIGITS)
