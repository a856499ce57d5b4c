"""A distance, a prior, a kind of unknown and an optimizer from outside the package, each in a few lines."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from gleak_lib.attacks import ATTACKS, Attack, Match, Optimizer, TotalVariation, Variables, invert, observe
from gleak_lib.attacks.flat import flat
from gleak_lib.errors import ParameterError, ShapeError, StoreError
from gleak_lib.experiments import encoding
from gleak_lib.pixels import normalize

IG = ATTACKS["ig"].replace(max_steps=8, lr=0.1)


def taxicab(dummy, observed):
    return sum((dummy[name] - observed[name]).abs().flatten(1).sum(1) for name in dummy)


def paleness(images):
    return 0.5 * images.square().flatten(1).mean(1)


@dataclass(frozen=True)
class Paleness:
    weight: float = 0.5

    def __call__(self, images):
        return self.weight * images.square().flatten(1).mean(1)


@dataclass(frozen=True)
class LatentCode(Variables):
    generator: nn.Module
    size: int

    def start(self, observation, generator):
        shape = (observation.victims, observation.batch_size, self.size)
        return {"z": torch.randn(shape, generator=generator, device=observation.like.device)}

    def images(self, unknowns, observation):
        pixels = self.generator(unknowns["z"].flatten(0, 1)).sigmoid()
        shape = (-1, observation.batch_size, *observation.input_shape)
        return normalize(pixels.reshape(shape), observation.mean, observation.std)


@dataclass(frozen=True)
class Descent(Optimizer):
    lr: float = 0.1

    def init(self, x, max_steps):
        return ()

    def step(self, x, evaluate, memory, lr, t):
        loss, grad = evaluate(x, None)
        rate = {n: lr[n].view(-1, *[1] * (u.dim() - 1)) for n, u in x.items()}
        return {n: u - rate[n] * grad[n] for n, u in x.items()}, memory, loss


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def seen(batch=1, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(144, 3))
    shape = (3, 1, 8, 8) if batch == 1 else (3, batch, 1, 8, 8)
    images = torch.rand(shape, generator=rng(0))
    return observe(model, images, torch.arange(3 * batch) % 3, mean=0.4, std=0.3, **options)


def test_a_distance():
    found = invert(seen(), IG.replace(distance=taxicab, tv=0.0), generator=rng())
    assert (found.loss < found.trace[0]).all()
    grads = seen().gradients
    twice = {n: 2 * g for n, g in grads.items()}
    expected = sum(g.abs().flatten(1).sum(1) for g in grads.values())
    torch.testing.assert_close(Match(taxicab).measure(twice, grads), expected)
    assert repr(IG.replace(distance=taxicab).match) == "Match(distance=taxicab)"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"distance": lambda d, o: sum((d[n] - o[n]).square().sum() for n in d)},
            ShapeError,
            r"A distance must return one value per victim, \(3,\), got \(\): sum",
        ),
        (
            {"distance": lambda d, o: taxicab({n: g.detach() for n, g in d.items()}, o)},
            ParameterError,
            "A distance must be differentiable .*leave out detach",
        ),
        (
            {"priors": (lambda x: x.mean((2, 3, 4)),)},
            ShapeError,
            r"A prior must return one value per victim, \(3,\), got \(3, 1\)",
        ),
        ({"priors": (lambda x: 0.1,)}, ShapeError, "A prior must .*got float"),
    ],
)
def test_what_is_no_distance_and_no_prior(changes, error, message):
    with pytest.raises(error, match=message):
        invert(seen(), IG.replace(**changes))


def test_a_prior():
    plain, one, two, other = (
        invert(seen(), IG.replace(priors=priors), generator=rng())
        for priors in ((), (paleness,), (Paleness(),), (TotalVariation(0.01), Paleness()))
    )
    assert torch.equal(one.images, two.images) and not torch.equal(one.images, plain.images)
    assert not torch.equal(one.loss, other.loss)
    start = torch.randn(3, 1, 1, 8, 8, generator=torch.Generator().manual_seed(_seed()))
    torch.testing.assert_close(one.trace[0] - plain.trace[0], paleness(start))
    attack = Attack(priors=(Paleness(0.1),))
    assert attack.replace(weight=0.3).priors == (Paleness(0.3),)
    with pytest.raises(ParameterError, match="Pale and Paleness both have a setting 'weight'"):
        attack.replace(priors=(Pale(), Paleness())).replace(weight=0.3)


class Pale(Paleness):
    pass


def _seed():
    return int(torch.randint(2**62, (1,), generator=rng()))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_kind_of_unknown(batch):
    torch.manual_seed(1)
    generator = nn.Linear(5, 64)
    torch.manual_seed(2)
    true = torch.randn(3 * batch, 5)
    pixels = generator(true).sigmoid().reshape(3, batch, 1, 8, 8).detach()
    model = seen().model
    observation = observe(model, pixels, torch.arange(3 * batch).reshape(3, batch) % 3, mean=0.4, std=0.3)
    names = []
    attack = ATTACKS["ig"].replace(
        variables=LatentCode(generator, 5), max_steps=150, lr=0.05, tv=0.0, drop_after=20
    )
    found = invert(observation, attack, generator=rng(), callback=lambda _t, _v, x, _n: names.append(set(x)))
    assert names[0] == {"z"}
    assert found.images.shape == pixels.shape and 0 <= found.images.min() <= found.images.max() <= 1
    assert (found.loss < 0.2 * found.trace[0]).all()
    if batch == 1:
        error, guess = ((x - pixels).square().mean() for x in (found.images, pixels.flip(0)))
        assert error < 0.2 * guess


def test_an_optimizer_is_what_a_plain_loop_does():
    attack = Attack(optimizer=Descent(0.5), priors=(), match=Match("l2")).replace(max_steps=5, clip=False)
    observation = seen()
    found = invert(observation, attack, generator=rng())
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(_seed()))
    for t in range(5):
        for v in range(3):
            one = x[v : v + 1].clone().requires_grad_()
            loss = nn.functional.cross_entropy(observation.model(one), observation.labels[v])
            grads = torch.autograd.grad(loss, list(observation.model.parameters()), create_graph=True)
            pairs = zip(grads, observation.gradients.values(), strict=True)
            value = sum((g - o[v]).square().sum() for g, o in pairs)
            torch.testing.assert_close(found.trace[t, v], value.detach())
            x[v] -= 0.5 * torch.autograd.grad(value, one)[0][0]
    assert attack.replace(lr=0.2).optimizer == Descent(0.2) and attack.kind == "descent"


def test_what_has_no_flat_form_is_stored_part_by_part(monkeypatch):
    attack = IG.replace(priors=(TotalVariation(0.1), Paleness(0.2)), optimizer=Descent(0.3))
    assert flat(attack) is None
    with pytest.raises(ParameterError, match=r"cannot hold Paleness\(weight=0.2\)"):
        encoding.encode(attack)
    monkeypatch.setattr(encoding, "TYPES", {**encoding.TYPES, "Paleness": Paleness, "Descent": Descent})
    stored = encoding.encode(attack)
    assert stored["type"] == "AttackOfParts" and encoding.decode(stored) == attack
    monkeypatch.undo()
    with pytest.raises(StoreError, match="no storable class 'Paleness': import the module that"):
        encoding.decode(stored)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_what_the_package_has_is_stored_flat(name):
    stored = encoding.encode(ATTACKS[name])
    assert stored["type"] == "Attack" and list(stored)[1:4] == ["name", "distance", "tv"]
    assert encoding.decode(stored) == ATTACKS[name]
