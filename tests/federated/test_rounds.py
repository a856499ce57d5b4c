"""What clients share after a round, what the server makes of it, and when it looks at the result."""

import copy
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gleak_lib.defenses import DP, Clip, Compression, Defense, Gaussian, chain
from gleak_lib.errors import GradientError, ParameterError
from gleak_lib.federated import Aggregator, Protocol, WeightedMean, train
from gleak_lib.federated.data import Images
from gleak_lib.federated.local import train_locally

ENGINES = ("loop", "threads", "stacked")


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Identity(Defense):
    def transform(self, grads, generator):
        return dict(grads)


@dataclass(frozen=True)
class Nothing(Defense):
    def transform(self, grads, generator):
        return {name: torch.zeros_like(g) for name, g in grads.items()}


@dataclass(frozen=True)
class Momentum(Aggregator):
    """Half of the last step goes on."""

    def init(self, parameters):
        return {name: torch.zeros_like(p) for name, p in parameters.items()}

    def aggregate(self, updates, weights, state):
        mean, _ = WeightedMean().aggregate(updates, weights, None)
        step = {name: mean[name] + 0.5 * state[name] for name in mean}
        return step, step


@dataclass(frozen=True)
class First(Aggregator):
    """Reads one participant and no more."""

    def aggregate(self, updates, weights, state):
        return {name: rows[0] for name, rows in next(iter(updates)).items()}, (state or 0) + 1


@pytest.mark.parametrize("blocks", [(1, 1, 1, 1), (4,), (3, 1)])
def test_weighted_mean_against_a_loop_over_participants(blocks):
    rows = {
        "w": torch.randn(4, 3, 2, generator=gen()).double(),
        "b": torch.randn(4, generator=gen(1)).double(),
    }
    weights = (0.1, 0.2, 0.3, 0.4)
    parts = {name: value.split(blocks) for name, value in rows.items()}
    found, _ = WeightedMean().aggregate(
        ({name: parts[name][n] for name in rows} for n in range(len(blocks))), weights, None
    )
    for name, value in rows.items():
        expected = sum(weight * row for weight, row in zip(weights, value, strict=True))
        torch.testing.assert_close(found[name], expected)


def by_hand(model, images, history, step_defense, share):
    """Train one client after the other from replayed streams; average what `share` makes of differences."""
    seeds = torch.randint(2**62, (4,), generator=gen(3)).tolist()
    rngs = {"shuffle": gen(seeds[2]), "noise": gen(seeds[3])}
    data = Images(images, mean=history.mean, std=history.std, like=next(model.parameters()))
    total, count = {}, sum(len(c.train) for c in history.clients)
    for client in history.clients:
        local = copy.deepcopy(model)
        options = {"lr": history.protocol.lr, "defense": step_defense, **rngs}
        train_locally(local, data, client.train, history.protocol, **options)
        update = {n: p.detach() - local.get_parameter(n).detach() for n, p in model.named_parameters()}
        for name, value in share(update).items():
            total[name] = total.get(name, 0) + value * len(client.train) / count
    return {name: p.detach() - total[name] for name, p in model.named_parameters()}


def halved(update):
    """Zero the smaller half of each parameter's entries."""
    kept = {}
    for name, value in update.items():
        flat = value.flatten().clone()
        flat[flat.abs().argsort()[: flat.numel() // 2]] = 0
        kept[name] = flat.view(value.shape)
    return kept


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("step", [None, Clip(0.05)], ids=["update", "step and update"])
def test_a_defense_of_updates_transforms_what_a_client_shares(images, linear, method, step):
    split = images[0][:118], images[1][:118]
    protocol = Protocol(rounds=1, clients=3, batch_size=16, local_epochs=2, optimizer="sgd", lr=0.1)
    defense = chain(Compression(0.5, on="update"), step)
    linear = linear.double()
    history = train(linear, split, protocol, generator=gen(3), defense=defense, method=method)
    expected = by_hand(linear, split, history, step, halved)
    for name, value in expected.items():
        torch.testing.assert_close(history.last_state[name], value)
        assert (history.last_state[name] != linear.state_dict()[name]).any()


@pytest.mark.parametrize("method", ENGINES)
def test_a_defense_that_changes_no_update_changes_nothing(images, linear, small, method):
    plain, same = (
        train(linear, images, small, generator=gen(), defense=defense, method=method)
        for defense in (None, Identity(on="update"))
    )
    assert all(torch.equal(value, same.last_state[name]) for name, value in plain.last_state.items())


@pytest.mark.parametrize("method", ENGINES)
def test_noise_on_updates_is_drawn_for_each_client(images, method):
    """Nothing is learned, so that a round moves the weights by the mean of three draws."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 300))
    protocol = Protocol(rounds=1, clients=3, optimizer="sgd", lr=1e-12)
    first, again = (
        train(model, images, protocol, generator=gen(), defense=Gaussian(0.3, on="update"), method=method)
        for _ in range(2)
    )
    moved = torch.cat([(first.last_state[n] - p).flatten() for n, p in model.named_parameters()])
    assert moved.std().item() == pytest.approx(0.3 / math.sqrt(3), rel=0.04)  # 11,100 entries
    assert abs(moved.mean().item()) < 0.01
    assert all(torch.equal(value, again.last_state[name]) for name, value in first.last_state.items())


def test_noise_on_updates_is_the_same_in_threads_as_in_the_loop(images, linear, small):
    loop, threads = (
        train(linear, images, small, generator=gen(), defense=Gaussian(0.3, on="update"), method=method)
        for method in ("loop", "threads")
    )
    assert all(torch.equal(value, threads.last_state[name]) for name, value in loop.last_state.items())


def test_parameters_that_are_tied_stay_so_behind_a_defense(images, small):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 3)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.head(self.second(self.first(x.flatten(1))))

    model = Tied()
    history = train(model, images, small, generator=gen(), defense=Nothing(on="update"), method="loop")
    assert all(torch.equal(value, history.last_state[name]) for name, value in model.state_dict().items())


def test_privacy_is_accounted_for_on_steps_only(images, linear, small):
    pytest.importorskip("opacus")
    both = chain(DP(1.0, 1.0), Clip(0.1, on="update"))
    private, known = (train(linear, images, small, generator=gen(), defense=d) for d in (both, DP(1.0, 1.0)))
    assert private.epsilon == known.epsilon is not None
    noisy = train(linear, images, small, generator=gen(), defense=Gaussian(1.0, on="update"))
    assert noisy.epsilon is None
    with pytest.raises(ParameterError, match="dp.*needs the batch"):
        DP(on="update")


@pytest.mark.parametrize("method", ENGINES)
def test_an_aggregator_keeps_its_state_from_round_to_round(images, linear, method):
    linear = linear.double()
    protocol = Protocol(rounds=3, clients=3, batch_size=16, aggregation=Momentum())
    found = train(linear, images, protocol, generator=gen(), keep=(0, 1, 2, 3), method=method).snapshots
    plain = protocol.replace(aggregation=WeightedMean(), rounds=1)
    first = train(linear, images, plain, generator=gen(), method="loop").last_state
    for name, value in first.items():
        torch.testing.assert_close(found[1][name], value)  # there was no step before
    if method != "loop":
        loop = train(linear, images, protocol, generator=gen(), method="loop").last_state
        for name, value in loop.items():
            torch.testing.assert_close(found[3][name], value)


def test_momentum_goes_on_where_clients_stand_still(images, linear):
    """Clients learn in the first round only, so that each later step is half of the one before."""
    calls = []

    def once(grads):
        calls.append(1)
        return {name: g * (len(calls) <= 3) for name, g in grads.items()}

    protocol = Protocol(rounds=3, clients=3, optimizer="sgd", lr=0.1, aggregation=Momentum())
    states = train(
        linear.double(), images, protocol, generator=gen(), defense=once, keep=(0, 1, 2, 3), method="loop"
    ).snapshots
    step = states[1]["1.weight"] - states[0]["1.weight"]
    assert step.abs().max() > 1e-3 and len(calls) == 9
    torch.testing.assert_close(states[2]["1.weight"] - states[1]["1.weight"], step / 2)
    torch.testing.assert_close(states[3]["1.weight"] - states[2]["1.weight"], step / 4)


def test_the_aggregator_of_the_book(images, linear):
    text = (Path(__file__).parents[2] / "book" / "reproduce.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "Aggregator" in block)
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)
    damped, plain = (
        train(linear, images, protocol, generator=gen()).last_state
        for protocol in (names["protocol"], Protocol(rounds=1))
    )
    for name, start in linear.state_dict().items():
        torch.testing.assert_close(damped[name] - start, 0.8 * (plain[name] - start))


@pytest.mark.parametrize("method", ENGINES)
def test_participants_that_an_aggregator_does_not_read_train_all_the_same(images, linear, method):
    linear = linear.double()
    protocol = Protocol(rounds=2, clients=3, batch_size=16, aggregation=First())
    found, loop = (train(linear, images, protocol, generator=gen(), method=m) for m in (method, "loop"))
    for name, value in loop.last_state.items():
        torch.testing.assert_close(found.last_state[name], value)
    assert found.train_loss[1:] == pytest.approx(loop.train_loss[1:])


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda step: step | {"1.bias": torch.zeros(5)}, r"aggregator returned '1.bias' of shape \(5,\)"),
        (lambda step: step | {"2.bias": torch.zeros(3)}, "aggregator returned '2.bias'"),
        (lambda step: {"1.weight": step["1.weight"]}, "aggregator returned '1.bias' of shape None"),
    ],
)
def test_what_an_aggregator_must_return(images, linear, small, method, change, match):
    @dataclass(frozen=True)
    class Wrong(Aggregator):
        def aggregate(self, updates, weights, state):
            return change(WeightedMean().aggregate(updates, weights, state)[0]), state

    with pytest.raises(GradientError, match=match):
        train(linear, images, small.replace(aggregation=Wrong()), generator=gen(), method=method)


def test_evaluating_less_often_changes_no_weights(images, linear):
    protocol = Protocol(rounds=5, clients=3, batch_size=16, lr=0.01)
    often, seldom = (
        train(linear, images, protocol.replace(evaluate_every=n), generator=gen(), test=images)
        for n in (1, 3)
    )
    assert all(torch.equal(value, seldom.last_state[name]) for name, value in often.last_state.items())
    assert [not math.isnan(v) for v in seldom.val_loss] == [True, False, False, True, False, True]
    for name in ("val_loss", "val_accuracy", "test_accuracy"):
        values, all_values = getattr(seldom, name), getattr(often, name)
        assert [values[n] for n in (0, 3, 5)] == [all_values[n] for n in (0, 3, 5)]
        assert seldom.to_dict()[name][1] is None
    assert seldom.train_loss[1:] == often.train_loss[1:]
    assert seldom.best_round == min((0, 3, 5), key=often.val_loss.__getitem__)
    assert seldom.accuracy == often.test_accuracy[seldom.best_round]


def test_patience_waits_for_the_next_evaluation(images, linear):
    protocol = Protocol(rounds=9, clients=2, optimizer="sgd", lr=1e-12, patience=2, evaluate_every=3)
    history = train(linear, images, protocol, generator=gen())
    assert (history.rounds, history.best_round, history.stopped_early) == (3, 0, True)


@pytest.mark.parametrize("method", ENGINES)
def test_without_validation_the_last_round_is_the_best(images, linear, method):
    protocol = Protocol(rounds=4, clients=3, val_fraction=0, patience=1, optimizer="sgd", lr=1e-9)
    history = train(linear, images, protocol, generator=gen(), test=images, method=method)
    assert sorted(torch.cat([c.train for c in history.clients]).tolist()) == list(range(120))
    assert (history.best_round, history.rounds, history.stopped_early) == (4, 4, False)
    assert all(map(math.isnan, history.val_loss)) and history.to_dict()["val_loss"] == [None] * 5
    assert history.accuracy == history.test_accuracy[4]
    assert history.test_logits is not None and history.test_logits.shape == (120, 3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"val_fraction": 0, "halve_lr_after": 2}, "halve_lr_after must be None without validation"),
        (
            {"halve_lr_after": 3, "evaluate_every": 2},
            "halve_lr_after must be a multiple of evaluate_every, 2",
        ),
        ({"evaluate_every": 0}, "evaluate_every must be an integer of at least 1, got 0"),
        ({"aggregation": "mean"}, r"aggregation must be an Aggregator, such as WeightedMean\(\), got 'mean'"),
    ],
)
def test_protocols_that_contradict_themselves(change, match):
    with pytest.raises(ParameterError, match=match):
        Protocol(**change)


@pytest.mark.parametrize("method", ENGINES)
def test_train_accuracy_is_that_of_each_batch_before_its_step(images, linear, method):
    """One batch per client, so that it is the fresh model's accuracy on the clients' images."""
    history = train(linear, images, Protocol(rounds=2, clients=3), generator=gen(), method=method, keep=(1,))
    index = torch.cat([client.train for client in history.clients])
    x = (images[0][index].float() / 255 - history.mean[0]) / history.std[0]
    for number, weights in ((1, linear.state_dict()), (2, history.snapshots[1])):
        model = copy.deepcopy(linear)
        model.load_state_dict(weights)
        expected = (model(x).argmax(1) == images[1][index]).double().mean().item()
        assert history.train_accuracy[number] == pytest.approx(expected)
    assert math.isnan(history.train_accuracy[0]) and 0 < history.train_accuracy[1] < 1


def test_seconds_of_training_and_of_evaluation_are_told_apart(images, linear):
    def slow(grads):
        time.sleep(0.05)
        return grads

    history = train(linear, images, Protocol(rounds=2, clients=3), generator=gen(), defense=slow)
    assert history.train_seconds[0] == 0 and min(history.train_seconds[1:]) > 0.15
    assert min(history.eval_seconds) > 0 and len(history.eval_seconds) == 3
    assert history.to_dict()["train_seconds"] == history.train_seconds


def test_many_tiny_clients_of_two_classes(images):
    """The protocol of 004 §6-A: ragged clients of 2 to 20 images, ten of a hundred in a round."""
    labels = torch.arange(3000) % 10
    pixels = torch.randint(0, 256, (3000, 1, 6, 6), generator=gen(1)).to(torch.uint8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 10)).double()
    protocol = Protocol(
        rounds=3, clients=100, clients_per_round=10, local_epochs=2, batch_size=20, optimizer="sgd", lr=1e-2,
        val_fraction=0, partition="by_class", evaluate_every=3,
    )  # fmt: skip
    loop, found = (
        train(model, (pixels, labels), protocol, generator=gen(), method=m) for m in ("loop", "stacked")
    )
    sizes = [len(client.train) for client in loop.clients]
    assert min(sizes) <= 4 and max(sizes) >= 17
    assert all(len(labels[client.train].unique()) == 2 for client in loop.clients)
    for name, value in loop.last_state.items():
        torch.testing.assert_close(found.last_state[name], value)
    assert found.train_accuracy[1:] == pytest.approx(loop.train_accuracy[1:])
