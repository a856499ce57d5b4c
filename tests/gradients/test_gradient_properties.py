"""Random small networks: per-victim gradients against an ordinary backward() of each client's own model."""

import copy

import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from gleak_lib import gradients

CHANNELS, SIDE, CLASSES, VICTIMS = 4, 5, 3, 3
LAYERS = ("conv", "grouped", "pointwise", "linear")
NORMS = ("group", "batch", "layer")
IN_PLACE = ("relu_", "leaky", "clamp_", "mul_", "assign", "add_")
PLAIN = ("tanh", "relu", "module")
AGAIN = ("reuse", "tie", "keep", "residual", "residual_")
OPERATIONS = LAYERS + NORMS + IN_PLACE + PLAIN + AGAIN


def layer(kind: str) -> nn.Module:
    c = CHANNELS
    return {
        "conv": lambda: nn.Conv2d(c, c, 3, padding=1),
        "grouped": lambda: nn.Conv2d(c, c, 3, padding=2, dilation=2, groups=2, bias=False),
        "pointwise": lambda: nn.Conv2d(c, c, 1),
        "linear": lambda: nn.Linear(c, c),
        "group": lambda: nn.GroupNorm(2, c),
        "batch": lambda: nn.BatchNorm2d(c),
        "layer": lambda: nn.LayerNorm(c),
    }[kind]()


class Program(nn.Module):
    """Runs a list of operations on N x C x H x W maps; every one keeps their shape."""

    def __init__(self, operations: list[str]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.layers = nn.ModuleList()
        self.steps: list[tuple[str, int]] = []
        for place, operation in enumerate(operations):
            index = -1
            if operation in LAYERS + NORMS:
                self.layers.append(layer(operation))
                index = len(self.layers) - 1
            elif operation in ("reuse", "tie") and len(self.layers):
                index = place % len(self.layers)
                if operation == "tie":
                    twin = copy.deepcopy(self.layers[index])
                    twin.weight = self.layers[index].weight
                    self.layers.append(twin)
                    index = len(self.layers) - 1
            self.steps.append((operation, index))
        self.act = nn.ReLU(inplace=True)
        self.out = nn.Linear(CHANNELS * SIDE * SIDE, CLASSES)

    def forward(self, x):
        x = kept = self.stem(x)
        for operation, index in self.steps:
            if index >= 0:
                x = self._use(self.layers[index], x)
            elif operation == "keep":
                kept = x
            elif operation == "residual":
                x = x + kept
            elif operation == "residual_":
                x += kept
            elif operation == "assign":
                x[:, 1:2, ::2] = 0.3
            elif operation not in AGAIN:
                x = self._function(operation, x)
        return self.out(x.flatten(1))

    def _function(self, operation: str, x):
        return {
            "relu_": lambda: F.relu(x, inplace=True),
            "leaky": lambda: F.leaky_relu_(x, 0.2),
            "clamp_": lambda: x.clamp_(-0.5, 0.7),
            "mul_": lambda: x.mul_(-1.5),
            "add_": lambda: x.add_(0.1),
            "tanh": lambda: torch.tanh(x),
            "relu": lambda: torch.relu(x),
            "module": lambda: self.act(x),
        }[operation]()

    def _use(self, module: nn.Module, x):
        if isinstance(module, (nn.Linear, nn.LayerNorm)):
            return module(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return module(x)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=8), st.integers(1, 2), st.booleans(), st.data()
)
def test_gradients_are_those_of_a_clients_own_backward(operations, size, training, data):
    """No warning, which here would be an error: all of these are served by the fast path."""
    torch.manual_seed(0)
    model = Program(operations).double().train(training)
    names = [name for name, _ in model.named_parameters()]
    frozen = data.draw(st.sets(st.sampled_from(names), max_size=len(names) - 1), label="frozen")
    for name, p in model.named_parameters():
        p.requires_grad_(name not in frozen)
    x = torch.randn(VICTIMS * size, 3, SIDE, SIDE).double()
    labels = torch.randint(0, CLASSES, (VICTIMS * size,))
    expected = []
    for rows in torch.arange(len(x)).split(size):
        client = copy.deepcopy(model)
        try:
            F.cross_entropy(client(x[rows]), labels[rows]).backward()
        except RuntimeError:  # what an in-place operation has overwritten is needed: nobody can train this
            reject()
        expected.append({n: p.grad for n, p in client.named_parameters() if p.requires_grad})
    found, _ = gradients.per_victim_gradients(gradients.prepare(model, size), x, labels, victims=VICTIMS)
    assert list(found) == [name for name in names if name not in frozen]
    for name, g in found.items():
        rows = [torch.zeros_like(g[0]) if e[name] is None else e[name] for e in expected]
        torch.testing.assert_close(g, torch.stack(rows), rtol=1e-5, atol=1e-10)
