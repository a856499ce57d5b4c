"""Clients at once, by threads or stacked, against the plain loop over clients."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gleak_lib import models
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.defenses import Compression, Defense, Gaussian, Soteria, chain
from gleak_lib.errors import GradientError, ParameterError, UnknownNameError
from gleak_lib.federated import Protocol, method, stacked, train, train_many
from gleak_lib.federated.losses import by_patches
from gleak_lib.federated.threads import Threads


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def same_threads():
    """Leave torch's number of threads to other tests as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def big(images):
    """116 images of 1 x 16 x 16, so that three clients have 39, 39 and 38 of them."""
    return F.interpolate(images[0].float() / 255, 16)[:116].double(), images[1][:116]


def build(name="cnn", bottlenecks=(), seed=0, **options):
    shape = {"input_shape": (1, 32, 32) if name == "cnn" else (1, 16, 16)}
    return models.build(name, num_classes=3, bottlenecks=bottlenecks, seed=seed, **shape, **options).double()


CASES = {
    "cnn": {},
    "cnn+PRECODE": {"bottlenecks": PRECODE(1, 4)},
    "cnn+CVB": {"bottlenecks": [CVB(1, 3), CVB(2, 3)]},
    "resnet18": {"name": "resnet18", "width": 4},
}


def assert_same(found, expected):
    assert found.val_loss == pytest.approx(expected.val_loss, rel=1e-5)
    assert found.train_loss[1:] == pytest.approx(expected.train_loss[1:], rel=1e-5)
    assert found.val_accuracy == expected.val_accuracy
    for name, value in expected.last_state.items():
        torch.testing.assert_close(found.last_state[name], value, rtol=1e-5, atol=1e-9)


def dressed(big, model):
    pixels, labels = big
    size = model.input_shape[-1]
    return (F.interpolate(pixels, size) if size != pixels.shape[-1] else pixels), labels


@pytest.mark.parametrize("how", ["threads", "stacked"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("case", CASES)
def test_same_weights_as_the_loop(big, case, optimizer, how):
    model = build(**CASES[case])
    split = dressed(big, model)
    # 35, 35 and 34 images: two batches of 16, then one of 3 or 2; two local epochs
    protocol = Protocol(rounds=2, clients=3, batch_size=16, local_epochs=2, optimizer=optimizer, lr=0.01)
    loop, found = (train(model, split, protocol, generator=gen(), method=m) for m in ("loop", how))
    assert (loop.method, found.method) == ("loop", how)
    assert len({len(c.train) % 16 for c in loop.clients}) == 2
    assert_same(found, loop)
    moved = [loop.last_state[name] - value for name, value in model.state_dict().items()]
    assert all(change.abs().max() > 1e-7 for change in moved) and max(c.abs().max() for c in moved) > 1e-3


@pytest.mark.parametrize("how", ["threads", "stacked"])
@pytest.mark.parametrize("weighted", [True, False])
def test_clients_of_very_different_sizes_and_a_few_of_them_a_round(big, weighted, how):
    """By class: 2 to 30 images a client, so that some have one batch where others have eight."""
    model = build(bottlenecks=CVB(1, 3))
    protocol = Protocol(rounds=4, clients=5, clients_per_round=3, batch_size=4, partition="by_class",
                        classes_per_client=1, samples_per_class=(2, 20), weighted=weighted,
                        val_fraction=0.2, lr=0.01)  # fmt: skip
    split = dressed(big, model)
    loop, found = (train(model, split, protocol, generator=gen(4), method=m) for m in ("loop", how))
    sizes = [len(c.train) for c in loop.clients]
    assert min(sizes) <= 4 < 12 <= max(sizes)
    assert_same(found, loop)


@pytest.mark.parametrize("how", ["threads", "stacked"])
@pytest.mark.parametrize("bottlenecks", [(), CVB(1, 3)], ids=["cnn", "cvb"])
def test_a_defense_without_draws_gives_the_loops_weights(big, bottlenecks, how):
    model = build(bottlenecks=bottlenecks)
    protocol, split = Protocol(rounds=1, clients=3, batch_size=16), dressed(big, model)
    runs = [train(model, split, protocol, generator=gen(), method=m, defense=Compression(0.9))
            for m in ("loop", how)]  # fmt: skip
    assert_same(*runs)
    assert runs[0].train_loss[1] != train(model, split, protocol, generator=gen()).train_loss[1]


@dataclass(frozen=True)
class Rule(Defense):
    """A function as a defense."""

    rule: Callable

    def transform(self, grads, generator):
        return self.rule(grads, generator)


def test_a_stacked_defense_sees_all_clients_and_its_draws_repeat(big):
    seen = []

    def note(grads, generator):
        seen.append({name: tuple(g.shape) for name, g in grads.items()})
        return grads

    model = build()
    split, protocol = dressed(big, model), Protocol(rounds=1, clients=3, batch_size=64)
    defense = chain(Gaussian(0.5), Rule(note))
    first, again = (
        train(model, split, protocol, generator=gen(), defense=defense, method="stacked") for _ in range(2)
    )
    assert seen[0] == {name: (3, *p.shape) for name, p in model.named_parameters()}
    assert len(seen) == 2 and first.val_loss == again.val_loss
    plain = train(model, split, protocol, generator=gen(), method="stacked")
    assert first.val_loss[1] != plain.val_loss[1]


@pytest.mark.parametrize("how", ["loop", "threads", "stacked"])
@pytest.mark.parametrize("stopping", [{"patience": 1}, {"patience": None, "halve_lr_after": 1}], ids=str)
def test_many_trainings_go_as_each_alone(big, stopping, how):
    """Three seeds, each of which stops, or halves its learning rate, in a round of its own."""
    many = [build(bottlenecks=PRECODE(1, 4), seed=seed) for seed in range(3)]
    split = dressed(big, many[0])
    protocol = Protocol(rounds=5, clients=3, batch_size=16, lr=0.005, **stopping)
    options = {"test": split, "keep": (1,)}
    together = train_many(many, split, protocol, generators=[gen(s) for s in range(3)], method=how, **options)
    assert len({(history.rounds, *history.lr) for history in together}) > 1
    for seed, (model, found) in enumerate(zip(many, together, strict=True)):
        alone = train(model, split, protocol, generator=gen(seed), method="loop", **options)
        assert_same(found, alone)
        assert (found.rounds, found.lr, found.best_round) == (alone.rounds, alone.lr, alone.best_round)
        assert found.test_accuracy == alone.test_accuracy and set(found.snapshots) == {1}
        assert found.method == how and found.to_dict()["method"] == how


def test_trainings_with_dropout_do_not_disturb_each_other(images):
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 3))
    protocol = Protocol(rounds=2, clients=2)
    before = torch.get_rng_state()
    together = train_many([net, net], images, protocol, generators=[gen(1), gen(2)])
    assert torch.equal(before, torch.get_rng_state())
    for seed, history in enumerate(together, 1):
        assert history.val_loss == train(net, images, protocol, generator=gen(seed)).val_loss


@pytest.fixture
def fake_cuda(monkeypatch):
    """Streams that do nothing, and graphs whose replay is a call of the step; returns what was called."""
    calls = []
    stream = SimpleNamespace(wait_stream=lambda _other: None)
    graph = SimpleNamespace(replay=lambda: calls.append("replay") or graph.step())
    fake = {"device": lambda _d: nullcontext(), "Stream": lambda: stream, "current_stream": lambda: stream,
            "stream": lambda _s: nullcontext(), "CUDAGraph": lambda: graph,
            "graph": lambda _g, pool: nullcontext()}  # fmt: skip
    for name, value in fake.items():
        monkeypatch.setattr(torch.cuda, name, value)

    class Capturing(stacked.Buffers):
        def __init__(self, engine, rounds, owners):
            super().__init__(engine, rounds, owners)
            graph.step = self.step
            self.step = stacked.replayed(self.step, engine.device, before=self.count.zero_)

    monkeypatch.setattr(stacked, "Buffers", Capturing)
    return calls


def test_a_captured_step_is_replayed(big, fake_cuda):
    model = build(bottlenecks=CVB(1, 3))
    split, protocol = dressed(big, model), Protocol(rounds=2, clients=3, batch_size=32)
    found = train(model, split, protocol, generator=gen(), method="stacked")
    assert fake_cuda == ["replay"] * 4  # rounds x batches
    assert_same(found, train(model, split, protocol, generator=gen(), method="loop"))


def test_a_step_that_cannot_be_captured_runs_plainly(images, linear, small, fake_cuda, monkeypatch):
    def refuse(_graph, pool):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    with pytest.warns(UserWarning, match="without a CUDA graph: operation not permitted$"):
        found = train(linear.double(), images, small, generator=gen(), method="stacked")
    assert fake_cuda == []
    assert_same(found, train(linear, images, small, generator=gen(), method="loop"))


@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_by_patches(bias):
    conv = nn.Conv2d(3, 4, (5, 3), stride=(2, 1), padding=(2, 1), bias=bias).double()
    twin = nn.Sequential(copy.deepcopy(conv), nn.Conv2d(4, 4, 3, groups=2).double())
    by_patches(twin)
    assert type(twin[0]) is not nn.Conv2d and type(twin[1]) is nn.Conv2d
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64, generator=gen(), requires_grad=True)
    a, b = conv(x), twin[0](x)
    torch.testing.assert_close(a, b)
    ours = torch.autograd.grad(b.sin().sum(), (x, *twin[0].parameters()))
    theirs = torch.autograd.grad(a.sin().sum(), (x, *conv.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("case", CASES)
def test_stacked_by_patches_as_on_a_gpu(big, case, monkeypatch):
    monkeypatch.setattr(method, "Stacked", lambda f: stacked.Stacked(f, patches=True))
    model = build(**CASES[case])
    split, protocol = dressed(big, model), Protocol(rounds=1, clients=3, batch_size=16)
    loop, found = (train(model, split, protocol, generator=gen(), method=m) for m in ("loop", "stacked"))
    assert_same(found, loop)


def test_frozen_parameters_and_buffers_of_each_training_stay_its_own(images):
    class Scaled(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.linear = nn.Linear(36, 3)
            self.register_buffer("scale", torch.tensor(1.0 + seed), persistent=False)

        def forward(self, x):
            return self.linear(x.flatten(1) * self.scale)

    nets = [Scaled(seed).double() for seed in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    for net in nets:
        net.linear.bias.requires_grad_(False)
    protocol = Protocol(rounds=2, clients=2, batch_size=16)
    together = train_many(nets, images, protocol, generators=[gen(), gen()], method="stacked")
    for net, found in zip(nets, together, strict=True):
        assert_same(found, train(net, images, protocol, generator=gen(), method="loop"))
        assert torch.equal(found.last_state["linear.bias"], net.linear.bias)
    assert together[0].val_loss != together[1].val_loss


def test_batchnorm_in_threads(images):
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
    ).double()
    protocol = Protocol(rounds=2, clients=3, batch_size=35)
    loop, found = (train(net, images, protocol, generator=gen(), method=m) for m in ("loop", "threads"))
    assert_same(found, loop)
    assert found.last_state["2.num_batches_tracked"] == 2


def test_threads_leave_the_number_of_cores_alone(images, linear, small):
    before = torch.get_num_threads()
    inside = []
    train(linear, images, small, generator=gen(), method="threads",
          defense=Rule(lambda g, _: inside.append(torch.get_num_threads()) or g))  # fmt: skip
    assert torch.get_num_threads() == before and set(inside[1:]) == {1}


@pytest.mark.parametrize("how", ["threads", "stacked"])
def test_a_loss_that_is_not_finite_names_client_and_round(images, linear, small, how):
    far = small.replace(lr=1e38)
    with pytest.raises(GradientError, match=r"loss of client 0 is nan in round 1: lower lr \(now 1e\+38\)"):
        train(linear, images, far, generator=gen(), method=how)


def test_a_stacked_defense_must_return_what_it_was_given(images, linear, small):
    wrong = Rule(lambda grads, _: grads | {"1.bias": torch.zeros(3, 5)})
    with pytest.raises(GradientError, match=r"defense returned '1.bias' of shape \(5,\)"):
        train(linear, images, small, generator=gen(), defense=wrong, method="stacked")


def test_auto(images, linear, small, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(method, "Threads", lambda f, workers: Threads(f, 2))

    def chosen(model=linear, protocol=small, **options):
        return train(model, images, protocol, generator=gen(), **options).method

    assert chosen() == "threads"
    assert chosen(protocol=small.replace(clients=1)) == "loop"
    assert chosen(protocol=small.replace(rounds=0)) == "loop"
    assert chosen(defense=lambda g: g) == "loop"
    assert chosen(defense=Gaussian(0.1)) == "loop"
    assert chosen(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 3))) == "loop"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert chosen() == "loop"


class InBatch(nn.Module):
    """A classifier that looks at the other images of the batch."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(36, 3)

    def forward(self, x):
        return self.linear(x.flatten(1)) * 5 * x.mean()


class Counting(nn.Module):
    """A classifier that counts its calls."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(36, 3)
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x):
        self.calls += 1
        return self.linear(x.flatten(1))


class Branching(nn.Module):
    """A classifier that looks at values."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(36, 3)

    def forward(self, x):
        return self.linear(x.flatten(1)) * (2 if x.sum() > 0 else 1)


def net(*layers):
    return lambda: nn.Sequential(nn.Flatten(), *layers, nn.Linear(36, 3))


@pytest.mark.parametrize(
    ("how", "make", "defense", "match"),
    [
        ("stacked", net(nn.BatchNorm1d(36)), None, "BatchNorm takes statistics over a client's batch"),
        ("stacked", net(nn.Dropout(0.5)), None, "it draws from torch's global generator"),
        ("threads", net(nn.Dropout(0.5)), None, "it draws from torch's global generator"),
        ("stacked", InBatch, None, "depends on the other images of its batch"),
        ("stacked", Counting, None, "a forward pass changes its buffers"),
        ("stacked", Branching, None, r"torch\.func\.vmap refuses it"),
        ("stacked", net(), lambda g: g, "a plain function as defense"),
        ("threads", net(), lambda g: g, "a plain function as defense"),
        ("threads", net(), Gaussian(0.1), "draws random numbers between a client's steps"),
        ("stacked", net(), Soteria(), "needs more than the gradients"),
    ],
)
def test_what_cannot_be_run_at_once_says_why(images, small, how, make, defense, match):
    with pytest.raises(ParameterError, match=rf"method='{how}' cannot run this training: .*{match}"):
        train(make(), images, small, generator=gen(), defense=defense, method=how)


def test_other_refusals(images, linear, small):
    with pytest.raises(UnknownNameError, match="Unknown method 'stack'"):
        train(linear, images, small, generator=gen(), method="stack")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="got 2 models and 1 generators"):
        train_many([linear, linear], images, small, generators=[gen()])
    with pytest.raises(ParameterError, match="got 0 models"):
        train_many([], images, small, generators=[])
    with pytest.raises(ParameterError, match="differ in device or dtype"):
        train_many([linear, copy.deepcopy(linear).double()], images, small, generators=[gen(), gen()])
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 3, bias=False))
    with pytest.raises(ParameterError, match="differ in names, shapes"):
        train_many([linear, other], images, small, generators=[gen(), gen()], method="stacked")
    betas = [build(bottlenecks=PRECODE(1, 4, beta=beta)) for beta in (0.1, 0.2)]
    split = F.interpolate(images[0].double() / 255, 32), images[1]
    with pytest.raises(ParameterError, match="differ in more than their weights"):
        train_many(betas, split, small, generators=[gen(), gen()], method="stacked")


def test_auto_takes_threads_only_where_idle_ones_sleep(images, linear, small, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for policy, expected in (("PASSIVE", "threads"), ("ACTIVE", "loop")):
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
        assert train(linear, images, small, generator=gen()).method == expected
