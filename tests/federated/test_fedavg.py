"""The averaging itself, against a slow and independent re-implementation."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gleak_lib import models
from gleak_lib.bottlenecks import CVB
from gleak_lib.federated import Protocol, train
from gleak_lib.federated.server import average


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def adam_by_hand(weight, bias, x, y, order, batch, lr, epochs):
    """Adam on softmax regression in numpy, gradients in closed form."""
    theta = np.concatenate([weight, bias[:, None]], 1)
    m, v, t = np.zeros_like(theta), np.zeros_like(theta), 0
    for epoch in range(epochs):
        for start in range(0, len(order[epoch]), batch):
            rows = order[epoch][start : start + batch]
            xs = np.concatenate([x[rows], np.ones((len(rows), 1))], 1)
            z = xs @ theta.T
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(rows)), y[rows]] -= 1
            g = p.T @ xs / len(rows)
            t += 1
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            theta = theta - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return theta[:, :-1], theta[:, -1]


@pytest.mark.parametrize("weighted", [True, False])
def test_a_round_is_the_average_of_clients_trained_by_hand(images, linear, weighted):
    pixels, labels = images
    model = linear.double()
    # batches as large as a client, so that the order within a client cannot matter; 118 images make
    # clients of unequal size: 40, 39, 39
    protocol = Protocol(rounds=1, clients=3, batch_size=64, local_epochs=2, weighted=weighted, lr=0.01)
    pixels, labels = pixels[:118], labels[:118]
    history = train(model, (pixels, labels), protocol, generator=gen(), mean=0.4, std=0.2, keep=(0, 1))

    x = ((pixels.double() / 255 - 0.4) / 0.2).flatten(1).numpy()
    w, b = model[1].weight.detach().numpy(), model[1].bias.detach().numpy()
    results, sizes = [], []
    for client in history.clients:
        order = [client.train.numpy()] * 2
        results.append(adam_by_hand(w, b, x, labels.numpy(), order, 64, 0.01, 2))
        sizes.append(len(client.train) if weighted else 1)
    assert sizes == ([36, 35, 35] if weighted else [1, 1, 1])
    for position, name in enumerate(("1.weight", "1.bias")):
        expected = sum(s * r[position] for s, r in zip(sizes, results, strict=True)) / sum(sizes)
        np.testing.assert_allclose(history.snapshots[1][name].numpy(), expected, atol=1e-6)
        np.testing.assert_array_equal(history.snapshots[0][name], model.state_dict()[name])


def test_several_batches_and_noise_against_a_plain_loop(images):
    """One client with shuffled batches and a bottleneck: the streams are replayed by hand."""
    pixels, labels = images
    model = models.build("cnn", input_shape=(1, 32, 32), num_classes=3, bottlenecks=CVB(1), seed=1).double()
    big = F.interpolate(pixels.double() / 255, 32)
    protocol = Protocol(rounds=1, clients=1, batch_size=50, optimizer="sgd", lr=0.05)
    history = train(model, (big, labels), protocol, generator=gen(3), mean=0.4, std=0.2)

    seeds = torch.randint(2**62, (7,), generator=gen(3)).tolist()
    shuffle, noise = gen(seeds[2]), gen(seeds[3])
    index = history.clients[0].train
    order = index[torch.randperm(len(index), generator=shuffle)]
    plain = copy.deepcopy(model)
    for start in range(0, len(order), 50):
        rows = order[start : start + 50]
        out = plain.run((big[rows] - 0.4) / 0.2, generator=noise)
        plain.zero_grad()
        (F.cross_entropy(out.logits, labels[rows]) + out.kl.mean()).backward()
        with torch.no_grad():
            for p in plain.parameters():
                p -= 0.05 * p.grad
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(history.last_state[name], value, atol=1e-6, rtol=0)


def test_buffers_by_size_and_integers_among_them():
    start = {"w": torch.zeros(2), "n": torch.tensor(0), "mask": torch.tensor([-torch.inf, 0.0])}
    states = [{"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(4)},
              {"w": torch.tensor([5.0, 2.0]), "n": torch.tensor(1)}]  # fmt: skip
    mean = average(states, [3, 1], start)
    assert mean["w"].tolist() == [2.0, 2.0]
    assert mean["n"].item() == 3 and mean["n"].dtype == torch.int64  # 13 / 4, rounded
    assert mean["mask"].tolist() == [-torch.inf, 0.0]


def test_batchnorm_statistics_are_averaged_too(images):
    pixels, labels = images
    bn = nn.BatchNorm2d(1, affine=False, momentum=1.0)  # its running mean is the last batch's
    model = nn.Sequential(bn, nn.Flatten(), nn.Linear(36, 3)).double()
    protocol = Protocol(rounds=1, clients=3, batch_size=64)
    history = train(model, (pixels, labels), protocol, generator=gen(), mean=0.0, std=1.0)
    x = pixels.double() / 255
    expected = sum(len(c.train) * x[c.train].mean() for c in history.clients)
    expected = expected / sum(len(c.train) for c in history.clients)
    assert history.last_state["0.running_mean"].item() == pytest.approx(expected.item(), abs=1e-9)
    assert history.last_state["0.num_batches_tracked"].item() == 1
    assert bn.num_batches_tracked.item() == 0  # the given model is not changed


def test_frozen_parameters_stay_bit_for_bit(images, linear, small):
    linear[1].bias.requires_grad_(False)
    history = train(linear, images, small, generator=gen())
    assert torch.equal(history.last_state["1.bias"], linear[1].bias)
    assert not torch.equal(history.last_state["1.weight"], linear[1].weight)


def test_only_the_participants_of_a_round_train(images, linear):
    seen = []
    protocol = Protocol(rounds=3, clients=6, clients_per_round=2, batch_size=64)
    train(linear, images, protocol, generator=gen(), defense=lambda g: seen.append(1) or g)
    assert len(seen) == 3 * 2  # one step a participant


def test_a_defense_replaces_the_gradients_of_every_step(images, linear, small):
    names = []

    def erase(grads):
        names.append(set(grads))
        return {name: torch.zeros_like(g) for name, g in grads.items()}

    history = train(linear, images, small.replace(optimizer="sgd"), generator=gen(), defense=erase)
    assert torch.equal(history.last_state["1.weight"], linear[1].weight)
    assert names == [{"1.weight", "1.bias"}] * (2 * 3 * 3)  # rounds x clients x batches of 36


def test_a_defense_of_the_registry_sees_one_update_with_a_leading_axis(images, linear, small):
    """Compression of a whole layer: as a plain function on the same gradients, pruned by hand."""
    from gleak_lib.defenses import Compression

    def by_hand(grads):
        pruned = {}
        for name, g in grads.items():
            flat = g.flatten().clone()
            flat[flat.abs().argsort()[: int(0.5 * flat.numel())]] = 0
            pruned[name] = flat.reshape(g.shape)
        return pruned

    seed = torch.Generator().manual_seed
    found = train(linear, images, small, generator=seed(0), defense=Compression(0.5))
    expected = train(linear, images, small, generator=seed(0), defense=by_hand)
    for name, value in expected.last_state.items():
        torch.testing.assert_close(found.last_state[name], value)


def test_a_last_batch_of_one_image_is_left_out_with_batchnorm(images):
    """Each client trains on 36 images: 35 and one, which BatchNorm could not take."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    protocol = Protocol(rounds=1, clients=3, batch_size=35)
    history = train(net, images, protocol, generator=torch.Generator().manual_seed(0))
    assert len(history.clients[0].train) == 36
    assert history.train_loss[1] == history.train_loss[1]  # a number, not NaN
