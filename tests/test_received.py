"""Gradients and weights that were received, held against plain autograd and plain SGD."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gleak_lib import attacks
from gleak_lib.errors import GradientError, ParameterError, ShapeError
from gleak_lib.types import Observation

SHAPE = (1, 8, 8)
PIXELS = {"mean": 0.4, "std": 0.3}
IG = attacks.ATTACKS["ig"].replace(max_steps=3)


class Net(nn.Module):
    """Its second layer is never used, its last bias is frozen, and it has running averages."""

    def __init__(self):
        super().__init__()
        self.conv, self.never, self.norm = nn.Conv2d(1, 4, 3), nn.Linear(2, 2), nn.BatchNorm2d(4)
        self.out = nn.Linear(144, 3)
        self.out.bias.requires_grad_(False)

    def forward(self, x):
        return self.out(torch.sigmoid(self.norm(self.conv(x))).flatten(1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def batch():
    return torch.rand(3, 2, *SHAPE, generator=torch.Generator().manual_seed(1)), torch.arange(6).view(
        3, 2
    ) % 3


def backward(model, images, labels):
    """What an ordinary client has in `.grad` after one backward pass."""
    own = copy.deepcopy(model)
    F.cross_entropy(own((images - 0.4) / 0.3), labels).backward()
    return {name: p.grad for name, p in own.named_parameters()}


def assert_same(seen, expected):
    assert list(seen.gradients) == list(expected)
    for name, g in expected.items():
        torch.testing.assert_close(seen.gradients[name], g, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", ["names", "list", "trained only", "arrays"])
def test_gradients_of_one_update_in_every_form(model, batch, form):
    images, labels = batch[0][0], batch[1][0]
    grads = backward(model, images, labels)
    if form != "names":
        grads = [g for n, g in grads.items() if form == "list" or n != "out.bias"]
    if form == "arrays":
        grads = [None if g is None else g.numpy() for g in grads]
    given = {"input_shape": SHAPE, "batch_size": 2, "labels": labels} | PIXELS
    seen = Observation.from_gradients(model, grads, **given)
    expected = attacks.observe(model, images[None], labels[None], **PIXELS)
    assert_same(seen, expected.gradients)
    assert not seen.gradients["never.weight"].any() and "out.bias" not in seen.gradients
    one, other = (attacks.invert(o, IG, generator=torch.Generator().manual_seed(2)) for o in (seen, expected))
    assert one.images.shape == (1, 2, *SHAPE) == other.images.shape
    torch.testing.assert_close(one.images, other.images, rtol=1e-2, atol=1e-2)


def test_gradients_of_several_updates(model, batch):
    rows = [backward(model, *pair) for pair in zip(*batch, strict=True)]
    stacked = {n: None if g is None else torch.stack([r[n] for r in rows]) for n, g in rows[0].items()}
    seen = Observation.from_gradients(model, stacked, input_shape=SHAPE, batch_size=2, **PIXELS)
    assert seen.victims == 3 and seen.labels is None and seen.mean == (0.4,)
    assert_same(seen, attacks.observe(model, *batch, **PIXELS).gradients)
    single = {n: None if g is None else g[:1] for n, g in stacked.items()}
    kept = Observation.from_gradients(model, single, input_shape=SHAPE, labels=1)
    assert kept.labels.tolist() == [[1]] and not kept.batched
    single["conv.bias"].zero_()
    assert kept.gradients["conv.bias"].any(), "what was received later changes nothing"


def descend(model, images, labels, steps, lr):
    """Plain SGD on one batch; returns the trained copy and the mean of the gradients on the way."""
    own = copy.deepcopy(model)
    optimizer = torch.optim.SGD([p for p in own.parameters() if p.requires_grad], lr=lr)
    total = {}
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(own((images - 0.4) / 0.3), labels).backward()
        for name, p in own.named_parameters():
            if p.requires_grad:
                g = torch.zeros_like(p) if p.grad is None else p.grad
                total[name] = total.get(name, 0) + g[None].clone() / steps
        optimizer.step()
    return own, total


@pytest.mark.parametrize("steps", [1, 4])
def test_weights_give_the_mean_of_the_gradients_on_the_way(model, batch, steps):
    model = model.double()
    images, labels = batch[0][0].double(), batch[1][0]
    after, expected = descend(model, images, labels, steps, lr=0.2)
    options = {"lr": 0.2, "local_steps": steps, "input_shape": SHAPE, "batch_size": 2}
    for weights in (after, after.state_dict(), [p.detach().numpy() for p in after.parameters()]):
        assert_same(Observation.from_weights(model, weights, **options), expected)
    stacked = {name: torch.stack([p, p]) for name, p in after.named_parameters()}
    assert Observation.from_weights(model, stacked, **options).victims == 2


def test_several_small_steps_stand_for_the_gradient_at_the_servers_weights(model, batch):
    model = model.double()
    images, labels = batch[0][0].double(), batch[1][0]
    exact = backward(model, images, labels)["conv.weight"]
    errors = []
    for lr in (1e-4, 1e-1):
        after, _ = descend(model, images, labels, 5, lr)
        seen = Observation.from_weights(model, after, lr=lr, local_steps=5, input_shape=SHAPE, batch_size=2)
        errors.append(float((seen.gradients["conv.weight"] - exact).norm() / exact.norm()))
    assert errors[0] < 0.01 < errors[1]


BAD = {
    "prefix": (
        lambda g: {f"module.{n}": v for n, v in g.items()},
        "no parameter 'module.conv.weight'.*prefix",
    ),
    "missing": (lambda g: {n: v for n, v in g.items() if n != "conv.bias"}, "lack .'conv.bias'.: give None"),
    "texts": (
        lambda g: g | {"conv.bias": "b"},
        "conv.bias must be a tensor or an array, got str",
    ),
    "state dicts": (lambda g: [g] * 8, "of conv.weight must be a tensor .*got dict.*; stack those"),
    "complex": (lambda g: g | {"conv.bias": g["conv.bias"] * 1j}, "conv.bias must be real, got torch.comp"),
    "reversed": (lambda g: list(g.values())[::-1], "A list must be in the order of model.parameters"),
    "nothing": (lambda g: dict.fromkeys(g), "None throughout: call backward"),
    "count": (
        lambda g: list(g.values())[1:3],
        "There are 2 gradients, and the model has 8 parameters, of which it trains 7",
    ),
    "transposed": (
        lambda g: g | {"out.weight": g["out.weight"].T},
        r"out.weight have shape \(144, 3\), expected \(3, 144\)",
    ),
    "some stacked": (
        lambda g: g | {"conv.bias": g["conv.bias"][None]},
        "stacked along a first axis, and the same for all",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_of_the_model_is_refused(model, batch, name):
    change, message = BAD[name]
    with pytest.raises(GradientError, match=message):
        Observation.from_gradients(
            model, change(backward(model, batch[0][0], batch[1][0])), input_shape=SHAPE
        )


def test_refusals_of_the_rest(model, batch):
    grads = backward(model, batch[0][0], batch[1][0])
    with pytest.raises(
        ShapeError, match="labels must be V x B = 1 x 1 class indices, got .2,.: set batch_size"
    ):
        Observation.from_gradients(model, grads, input_shape=SHAPE, labels=batch[1][0])
    with pytest.raises(ShapeError, match="mean must be one value or 1, one per channel, got 3"):
        Observation.from_gradients(model, grads, input_shape=SHAPE, mean=(0.1, 0.2, 0.3))
    with pytest.raises(ShapeError, match="input_shape must be C, H, W"):
        Observation.from_gradients(model, grads, input_shape=(8, 8))
    for options in ({"lr": 0.0}, {"lr": 0.1, "local_steps": 0}):
        with pytest.raises(ParameterError, match="lr must be positive and finite and local_steps at least 1"):
            Observation.from_weights(model, model, input_shape=SHAPE, **options)
    with pytest.raises(ParameterError, match="from_gradients: .*'image_shape'.* It takes: model, gradients"):
        Observation.from_weights(model, model, lr=0.1, input_shape=SHAPE, image_shape=SHAPE)
    unchanged = Observation.from_weights(model, model, lr=0.1, input_shape=SHAPE)
    with pytest.raises(GradientError, match="zero everywhere"):
        attacks.invert(unchanged, IG)
    with pytest.raises(GradientError, match="Every parameter of the model is frozen"):
        Observation.from_gradients(model.requires_grad_(False), grads, input_shape=SHAPE)


def test_printing_shows_shapes_and_no_numbers(model, batch):
    seen = attacks.observe(model, *batch, **PIXELS)
    text = "<Observation of a Net: 3 victims with 2 1x8x8 images each, 7 gradients, known: labels>"
    assert repr(seen) == text
    found = attacks.invert(seen, IG)
    losses = ", ".join(f"{loss:.3g}" for loss in found.loss.tolist())
    assert repr(found) == f"<Reconstruction: images (3, 2, 1, 8, 8), loss {losses}>"
