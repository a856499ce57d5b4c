"""A fingerprint tells every change of values and modes, and nothing else."""

import copy

import pytest
import torch
from torch import nn

from gleak_lib import fingerprint
from gleak_lib.fingerprint import Fingerprint


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 300))


def swap(p):
    p[0, 0, 0, 0], p[0, 0, 0, 1] = p[0, 0, 0, 1].clone(), p[0, 0, 0, 0].clone()


CHANGES = {
    "one bit": (lambda m: m[0].weight[0, 0, 0, 0].nextafter_(torch.tensor(9.0)), "0.weight has other values"),
    "the last entry": (lambda m: m[3].weight[-1, -1].add_(1e-6), "3.weight has other values"),
    "scale": (lambda m: m[3].weight.mul_(2), "3.weight has other values"),
    "sign": (lambda m: m[3].weight.neg_(), "3.weight has other values"),
    "two entries swapped": (lambda m: swap(m[0].weight), "0.weight has other values"),
    "a batch in training mode": (lambda m: m(torch.rand(2, 3, 8, 8)), "1.running_mean has other values"),
    "a count": (lambda m: m[1].num_batches_tracked.add_(1), "1.num_batches_tracked has other values"),
    "mode": (lambda m: m.eval(), "it was in training mode"),
    "mode of a layer": (lambda m: m[1].eval(), "1 was in training mode"),
    "a layer": (lambda m: m.append(nn.Linear(300, 3)), "it has other parts"),
    "no weights": (lambda m: m.append(nn.ReLU()), "it has other parts"),
    "another parameter": (lambda m: setattr(m[1], "bias", nn.Parameter(torch.ones(8))), "1.bias has other"),
}


@pytest.mark.parametrize("name", CHANGES)
@torch.no_grad()
def test_every_change_is_told(name):
    change, what = CHANGES[name]
    model = network()
    taken = Fingerprint.of(model)
    assert taken.changed() == ""
    change(model)
    assert taken.changed().startswith(what)


def test_the_same_values_are_no_change():
    model = network()
    taken, state, threads = Fingerprint.of(model), copy.deepcopy(model.state_dict()), torch.get_num_threads()
    torch.optim.SGD(model.parameters(), 0.1).zero_grad()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    model.eval()
    assert taken.changed()
    model.load_state_dict(state)
    model.train().requires_grad_(False)
    assert taken.changed() == ""
    model.to(memory_format=torch.channels_last)
    torch.set_num_threads(1 + threads % 2)
    try:
        assert taken.changed() == ""
        with torch.inference_mode():
            assert taken.changed() == ""
    finally:
        torch.set_num_threads(threads)


def test_tied_weights_that_are_tied_no_more():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    taken = Fingerprint.of(model)
    model[1].weight = nn.Parameter(model[0].weight.detach().clone())
    assert taken.changed() == "it has other parts"


KINDS = [torch.bool, torch.uint8, torch.int16, torch.int64, torch.float16, torch.float64, torch.complex128]


@pytest.mark.parametrize("kind", KINDS)
def test_buffers_of_every_kind(kind):
    model = nn.Module()
    model.register_buffer("wide", torch.randint(0, 2, (5, 3)).to(kind).T)  # not contiguous
    model.register_buffer("empty", torch.empty(0, dtype=kind))
    taken = Fingerprint.of(model)
    assert taken.changed() == ""
    model.wide[0, 2] = model.wide[0, 2] == 0
    assert taken.changed() == "wide has other values"


def test_tensors_without_plain_values():
    model = nn.Module()
    model.register_buffer("sparse", torch.eye(4).to_sparse())
    model.register_buffer("conjugate", torch.rand(3).mul(1j).conj())
    model.lazy, model.nowhere = nn.LazyLinear(2), nn.Linear(2, 2, device="meta")
    taken = Fingerprint.of(model)
    assert taken.changed() == ""
    model.sparse = (2 * torch.eye(4)).to_sparse()
    assert taken.changed() == "sparse has other values"
    assert Fingerprint.of(nn.Identity()).changed() == ""


def test_numbers_are_those_of_every_machine():
    """A fingerprint may be stored with its observation."""
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 0.0]]))
    bits = [0x3F800000, 0xC0000000 - 2**32, 0x3F000000, 0]
    odd = [int(o) for o in fingerprint._odd(torch.device("cpu"))[:4]]
    assert odd == [
        -9146780008722807697, 4717660812565704343, 3199968333008415599, -4446945692276374809
    ]  # fmt: skip
    total = sum(b * o for b, o in zip(bits, odd, strict=True))
    (found,) = Fingerprint.of(model).sums["weight"]
    assert (found - total) % 2**64 == 0
