"""An observation holds the model itself: whoever changes it is told before anything is computed with it."""

import copy
import dataclasses
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gleak_lib import attacks
from gleak_lib.attacks import ATTACKS
from gleak_lib.errors import GradientError
from gleak_lib.types import Observation

SHAPE = (1, 12, 12)
IMAGES = torch.rand(3, 2, *SHAPE, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([[0, 1], [2, 1], [0, 2]])
IG = ATTACKS["ig"].replace(max_steps=2)
CHANGED = "The model has changed since it was observed .0.weight has other values.*copy.deepcopy.model"


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sigmoid(), nn.Flatten(), nn.Linear(400, 3)]
    return nn.Sequential(*layers)


def train(model):
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    F.cross_entropy(model(IMAGES[0]), LABELS[0]).backward()
    optimizer.step()


def single(model):
    return attacks.observe(model.eval(), IMAGES[:, 0], LABELS[:, 0])


DOORS = {
    "invert": lambda seen, found: attacks.invert(seen, IG),
    "invert_together": lambda seen, found: attacks.invert_together([single(network()), seen], IG),
    "check": lambda seen, found: attacks.check(seen),
    "join": lambda seen, found: attacks.join([single(network()), seen]),
    "of a later update": lambda seen, found: attacks.invert(
        dataclasses.replace(single(network()), later=(seen,)), IG
    ),
    "loss_at_truth": lambda seen, found: attacks.loss_at_truth(seen, IG, IMAGES[:, 0], LABELS[:, 0]),
    "gradient_distance": lambda seen, found: attacks.gradient_distance(seen, IG, found),
    "evaluate": lambda seen, found: attacks.evaluate(found, IMAGES[:, 0], seen, attack=IG),
    "infer": lambda seen, found: attacks.infer(seen),
    "infer_batch": lambda seen, found: attacks.infer_batch(seen, "gradinversion"),
    "count_labels": lambda seen, found: attacks.count_labels(seen),
    "combined": lambda seen, found: attacks.CombineUpdates()(dataclasses.replace(seen, later=(seen,))),
    "closed form": lambda seen, found: attacks.invert(seen, attacks.LinearInversion()),
}


@pytest.mark.parametrize("name", DOORS)
def test_a_model_that_was_trained_on_is_refused(name):
    seen = single(network())
    found = attacks.invert(seen, IG)
    train(seen.model)
    with pytest.raises(GradientError, match=CHANGED):
        DOORS[name](seen, found)


def test_a_copy_may_be_observed_in_every_round():
    model, seen = network(), []
    for _ in range(2):
        seen.append(attacks.observe(copy.deepcopy(model), IMAGES, LABELS))
        train(model)
    plain = IG.replace(tv=0.0)
    assert attacks.loss_at_truth(attacks.join(seen), plain, IMAGES, LABELS).abs().max() < 1e-5
    assert not torch.equal(seen[0].model[0].weight, seen[1].model[0].weight)


def test_running_averages_and_modes():
    model = network()
    seen = attacks.observe(model, IMAGES, LABELS)
    assert attacks.invert(seen, IG).images.isfinite().all()
    model.eval()
    with pytest.raises(GradientError, match="it was in training mode"):
        attacks.invert(seen, IG)
    model.train()
    attacks.invert(seen, IG)
    with torch.no_grad():
        model(IMAGES[0])
    with pytest.raises(GradientError, match="1.running_mean has other values"):
        attacks.invert(seen, IG)


@pytest.mark.parametrize("statistics", ["own", "running"])
@pytest.mark.parametrize("name", ["ig", "dlg"])
def test_the_library_itself_changes_no_model(name, statistics):
    attack = ATTACKS[name].replace(max_steps=2, statistics=statistics)
    seen = attacks.observe(network(), IMAGES, LABELS, share_statistics=True)
    for again in (seen, attacks.join([seen, seen])):
        found = attacks.invert(again, attack)
        attacks.evaluate(found, IMAGES, again, attack=attack, labels=LABELS)
        attacks.infer(again)
    assert seen.fingerprint.changed() == ""


def test_received_updates_are_of_the_model_as_it_was():
    model, client = network().eval(), network().eval()
    train(client)
    kinds = {"input_shape": SHAPE, "batch_size": 2, "labels": LABELS[0]}
    received = Observation.from_weights(model, client, lr=0.5, **kinds)
    grads = [g[0] for g in received.gradients.values()]
    for seen in (received, Observation.from_gradients(model, grads, **kinds)):
        attacks.invert(seen, IG)
        state = copy.deepcopy(model.state_dict())
        model.load_state_dict(client.state_dict())  # the next round
        with pytest.raises(GradientError, match=CHANGED):
            attacks.invert(seen, IG)
        model.load_state_dict(state)
        attacks.invert(seen, IG)


def test_replacing_copying_and_storing_keep_what_was():
    seen = single(network())
    model = copy.deepcopy(seen.model)
    copies = [pickle.loads(pickle.dumps(seen)), copy.deepcopy(seen), copy.copy(seen)]  # noqa: S301
    replaced = dataclasses.replace(seen, labels=None)
    train(seen.model)
    for one in (copies[2], replaced, dataclasses.replace(seen, model=seen.model)):
        with pytest.raises(GradientError, match=CHANGED):
            attacks.check(one)
    for one in copies[:2]:
        attacks.check(one)
        train(one.model)
        with pytest.raises(GradientError, match=CHANGED):
            attacks.check(one)
    other = dataclasses.replace(seen, model=model)  # as it was
    attacks.check(other)
    double = {name: g.double() for name, g in seen.gradients.items()}
    attacks.invert(dataclasses.replace(seen, model=copy.deepcopy(model).double(), gradients=double), IG)


def test_the_fingerprint_is_not_shown():
    seen = single(network())
    assert "ingerprint" not in repr(seen) and "sums" not in repr(seen.fingerprint)
