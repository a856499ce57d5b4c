import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gleak_lib.errors import ParameterError
from gleak_lib.federated import by_class, hold_out, iid


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**31))
def test_iid_deals_every_sample_once_in_equal_shares(extra, clients, seed):
    count = clients + extra - 1
    parts = iid(count, clients, gen(seed))
    assert len(parts) == clients
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(count))


def test_iid_is_shuffled_and_reproducible():
    labels = torch.arange(1000) // 100
    parts = iid(labels, 10, gen(1))
    assert all(len(labels[part].unique()) == 10 for part in parts)
    assert all(torch.equal(a, b) for a, b in zip(parts, iid(labels, 10, gen(1)), strict=True))
    assert not torch.equal(parts[0], iid(labels, 10, gen(2))[0])


@given(st.integers(2, 200), st.floats(0.01, 0.45), st.integers(0, 2**31))
def test_hold_out_keeps_its_share_and_loses_nothing(count, fraction, seed):
    part = torch.arange(1000, 1000 + count)
    (client,) = hold_out([part], gen(seed), fraction=fraction)
    assert len(client.val) == max(1, round(fraction * count))
    assert torch.equal(torch.cat(client).sort().values, part)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers(0, 5), st.integers(0, 2**31))
def test_by_class_gives_each_client_its_classes_and_counts(clients, classes, low, width, seed):
    labels = torch.arange(800) % 4 + 5  # classes need not start at 0
    parts = by_class(labels, clients, gen(seed), classes=classes, samples=(low, low + width))
    assert len(parts) == clients
    for part in parts:
        counts = labels[part].unique(return_counts=True)[1]
        assert len(counts) == classes
        assert counts.min() >= low and counts.max() <= low + width
    assert len(torch.cat(parts).unique()) == sum(map(len, parts))  # nobody shares a sample


def test_by_class_reaches_both_ends_of_the_range():
    labels = torch.arange(5000) % 10
    parts = by_class(labels, 100, gen(), classes=2, samples=(1, 10))
    counts = torch.cat([labels[part].unique(return_counts=True)[1] for part in parts])
    assert (counts.min(), counts.max()) == (1, 10)
    assert 4.5 < counts.float().mean() < 6.5


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: iid(3, 5, gen()), "5 clients cannot share 3 samples: use at most 3"),
        (lambda: iid(3, 0, gen()), "clients must be at least 1, got 0"),
        (
            lambda: hold_out([torch.arange(5), torch.arange(1)], gen()),
            "Client 1 has 1 samples .* fewer",
        ),
        (lambda: hold_out([torch.arange(5)], gen(), fraction=1.0), "at least 0 and below 1, got 1.0"),
        (lambda: by_class(torch.arange(9) % 3, 2, gen(), classes=4), "classes must be 1 to 3.* got 4"),
        (lambda: by_class(torch.arange(9) % 3, 2, gen(), samples=(0, 2)), r"1 <= low <= high, got \(0, 2\)"),
        (lambda: by_class(torch.arange(9) % 3, 2, gen(), samples=(3, 2)), r"got \(3, 2\)"),
        (
            lambda: by_class(torch.arange(9) % 3, 9, gen(), samples=(2, 2)),
            "has 3 samples, too few for 9",
        ),
    ],
)
def test_errors_name_the_value_and_the_fix(call, match):
    with pytest.raises(ParameterError, match=match):
        call()
