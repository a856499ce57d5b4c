"""Training on all of the training split, validated on a split of its own, as the CVB paper's code does."""

import pytest
import torch

from gleak_lib.errors import DataError, ParameterError, UnknownNameError
from gleak_lib.federated import Protocol, clients_of, evaluate, train
from gleak_lib.federated.partition import deal

SPLIT = Protocol(rounds=2, clients=3, batch_size=16, validation="split")


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def val(images):
    pixels, labels = images
    return pixels[:30].flip(0), labels[:30].flip(0)


@pytest.mark.parametrize("method", ["loop", "threads"])
def test_clients_train_on_all_images_and_the_split_is_measured(images, val, linear, method):
    history = train(linear, images, SPLIT, generator=gen(), val=val, keep=(0, 1), method=method)
    assert sorted(torch.cat([c.train for c in history.clients]).tolist()) == list(range(120))
    assert history.to_dict()["client_sizes"] == [[40, 0]] * 3
    for number in (0, 1):
        linear.load_state_dict(history.snapshots[number])
        expected = evaluate(linear, val, mean=history.mean, std=history.std, generator=gen())
        measured = (history.val_loss[number], history.val_accuracy[number])
        assert measured == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("protocol", [SPLIT, SPLIT.replace(validation="clients", val_fraction=0.2)])
@pytest.mark.parametrize("partition", ["iid", "by_class"])
def test_clients_are_known_without_training(images, val, linear, protocol, partition):
    protocol = protocol.replace(rounds=0, partition=partition, samples_per_class=(5, 10))
    held = val if protocol.validation == "split" else None
    trained = train(linear, images, protocol, generator=gen(4), val=held).clients
    found = clients_of(images[1], protocol, generator=gen(4))
    for one, other in zip(trained, found, strict=True):
        assert torch.equal(one.train, other.train) and torch.equal(one.val, other.val)
    others = clients_of(images[1], protocol, generator=gen(5))
    assert not torch.equal(found[0].train, others[0].train)


def test_what_is_held_out_is_held_out_of_the_same_part(images):
    whole = deal(images[1], SPLIT, gen())
    kept = deal(images[1], SPLIT.replace(validation="clients"), gen())
    for part, client in zip(whole, kept, strict=True):
        assert set(part.train.tolist()) == {*client.train.tolist(), *client.val.tolist()}
        assert len(client.val) == 4 and len(part.val) == 0


def test_what_it_refuses(images, val, linear):
    with pytest.raises(ParameterError, match="such as dataset.val.* got validation='split' without val"):
        train(linear, images, SPLIT, generator=gen())
    with pytest.raises(ParameterError, match="got validation='clients' with val"):
        train(linear, images, SPLIT.replace(validation="clients"), generator=gen(), val=val)
    nothing = (images[0][:0], images[1][:0])
    with pytest.raises(DataError, match="The validation split has no images"):
        train(linear, images, SPLIT, generator=gen(), val=nothing)
    with pytest.raises(UnknownNameError, match="Unknown validation 'splt'. Did you mean 'split'"):
        SPLIT.replace(validation="splt")


def test_a_protocol_without_rounds_deals_the_same_images():
    protocol = SPLIT.replace(lr=0.5, patience=None, samples_per_class=(2, 3))
    assert protocol.untrained() == Protocol(rounds=0, clients=3, validation="split", samples_per_class=(2, 3))
    assert Protocol().untrained() == Protocol(rounds=0)
