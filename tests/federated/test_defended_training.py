"""Every defense inside federated training; private training against a loop with Opacus' own parts."""

import copy
import math
import sys

import pytest
import torch
from torch.nn import functional as F

from gleak_lib import federated, models
from gleak_lib.bottlenecks import CVB
from gleak_lib.defenses import DEFENSES, DP, Compression, Defense, Privacy, Soteria, chain, epsilon
from gleak_lib.errors import MissingDependencyError, ParameterError
from gleak_lib.federated import Protocol
from gleak_lib.federated.data import Images
from gleak_lib.federated.local import train_locally
from gleak_lib.federated.partition import Client
from gleak_lib.federated.privacy import spent

PROTOCOL = Protocol(rounds=1, clients=2, batch_size=16)


def train(model, images, protocol=PROTOCOL, **options):
    generator = torch.Generator().manual_seed(0)
    return federated.train(model, images, protocol, generator=generator, **options)


@pytest.fixture
def model():
    return models.build("cnn", input_shape=(1, 29, 29), num_classes=3, bottlenecks=CVB(1), seed=0)


@pytest.fixture
def large(images):
    pixels, labels = images
    return F.interpolate(pixels.float(), (29, 29)).to(torch.uint8)[:64], labels[:64]


@pytest.mark.parametrize("name", sorted(DEFENSES))
def test_every_defense_trains(name, model, large):
    options = {"clip": {"bound": 0.01}, "slices": {"block": 8}}.get(name, {})  # what fits these gradients
    plain, defended = (train(model, large, defense=defense) for defense in (None, DEFENSES[name](**options)))
    assert math.isfinite(defended.val_loss[-1]) and math.isfinite(defended.train_loss[-1])
    changed = [n for n, value in plain.last_state.items() if not torch.equal(value, defended.last_state[n])]
    assert changed, "it does something"
    again = train(model, large, defense=DEFENSES[name](**options))
    assert all(torch.equal(v, again.last_state[n]) for n, v in defended.last_state.items())


def local(model, large, defense):
    data = Images(large, mean=(0.5,), std=(0.25,), like=next(model.parameters()))
    model = copy.deepcopy(model)
    rngs = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    protocol = PROTOCOL.replace(optimizer="sgd", lr=0.1, local_epochs=2)
    index = torch.arange(40)
    options = {"lr": 0.1, "shuffle": rngs[0], "noise": rngs[1], "defense": defense}
    return model, train_locally(model, data, index, protocol, **options)[0]


def test_private_steps_are_opacus_own(large):
    opacus = pytest.importorskip("opacus")
    start = models.build("cnn", input_shape=(1, 29, 29), num_classes=3, seed=0)
    found, loss = local(start, large, DP(0.5, 0.3))
    x, labels = Images(large, mean=(0.5,), std=(0.25,), like=next(start.parameters()))[:]
    wrapped = opacus.GradSampleModule(copy.deepcopy(start))
    shuffle, noise = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    losses = []
    for _ in range(2):
        for rows in torch.randperm(40, generator=shuffle).split(16):
            optimizer = opacus.optimizers.DPOptimizer(
                torch.optim.SGD(wrapped.parameters(), lr=0.1),
                noise_multiplier=0.3,
                max_grad_norm=0.5,
                expected_batch_size=len(rows),
                generator=noise,
            )
            optimizer.zero_grad()
            value = F.cross_entropy(wrapped(x[rows].requires_grad_()), labels[rows])
            value.backward()
            optimizer.step()
            losses += [value.item()] * len(rows)
    for n, p in wrapped._module.named_parameters():
        torch.testing.assert_close(found.get_parameter(n), p, rtol=1e-4, atol=1e-6)
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_a_defense_is_bound_to_the_pass_that_gave_the_gradients(model, large):
    seen = []

    class Probe(Defense):
        def transform(self, grads, generator):
            seen.append(self.batch)
            run = self.batch.model.run(self.batch.x, self.batch.noise)
            loss = (F.cross_entropy(run.logits, self.batch.labels, reduction="none") + run.kl).mean()
            with torch.enable_grad():
                own = torch.autograd.grad(loss, list(self.batch.model.parameters()))
            for (n, g), expected in zip(grads.items(), own, strict=True):
                torch.testing.assert_close(g[0], expected, msg=n)
            return grads

    defended, loss = local(model, large, Probe())
    plain, same = local(model, large, None)
    assert len(seen) == 6 and loss == same
    assert all(torch.equal(a, b) for a, b in zip(defended.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("on", ["step", "update"])
def test_a_defense_that_works_in_place_is_refused(model, large, on):
    class InPlace(Defense):
        def transform(self, grads, generator):
            return {name: g.mul_(0.5) for name, g in grads.items()}

    with pytest.raises(ParameterError, match="given in place.* return new tensors"):
        train(model, large, defense=InPlace(on=on))


def test_each_clients_epsilon(model, large):
    pytest.importorskip("opacus")
    protocol = PROTOCOL.replace(rounds=3, local_epochs=2, clients=3, clients_per_round=2)
    history = train(model, large, protocol, defense=chain(DP(20.0, 1.0, delta=1e-3), Compression(0.5)))
    assert len(history.epsilon) == 3 and history.delta == 1e-3
    # 3 clients of 19 or 20 images to train on: 2 steps an epoch, 4 a round, in 6 places over 3 rounds
    known = {r: epsilon(Privacy(1.0, 1e-3), sample_rate=1 / 2, steps=4 * r) for r in range(4)}
    taken = [next(r for r, value in known.items() if value == found) for found in history.epsilon]
    assert sum(taken) == 6 and max(taken) <= 3
    assert history.to_dict()["epsilon"] == history.epsilon and history.to_dict()["delta"] == 1e-3
    plain = train(model, large, protocol)
    assert plain.epsilon is None and plain.delta is None


def test_epsilon_by_sizes_and_rounds():
    pytest.importorskip("opacus")
    clients = [Client(torch.arange(n), torch.arange(2)) for n in (16, 17, 17, 40)]
    found = spent(Privacy(2.0, 1e-5), clients, [2, 2, 0, 1], PROTOCOL.replace(local_epochs=3))
    expected = [(1.0, 6), (1 / 2, 12), (1 / 2, 0), (1 / 3, 9)]
    assert found == [epsilon(Privacy(2.0, 1e-5), sample_rate=q, steps=n) for q, n in expected]
    assert found[2] == 0


def test_what_private_training_refuses(images, monkeypatch):
    mlp = models.build("mlp", input_shape=(1, 6, 6), num_classes=3, width=8, seed=0)
    with pytest.raises(ParameterError, match="BatchNorm in training mode"):
        train(mlp, images, defense=DP())
    flat = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 6), torch.nn.Flatten())
    with pytest.raises(ParameterError, match="it has none"):
        train(flat, images, defense=Soteria())
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(MissingDependencyError, match="opacus is not installed"):
        train(flat, images, defense=DP())
