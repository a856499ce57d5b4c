"""Label counts of batches of any size, against closed forms, a slow loop and the truth."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from gleak_lib import datasets, defenses, models
from gleak_lib.attacks import ATTACKS, count_labels, infer, infer_batch, invert, label_accuracy, observe
from gleak_lib.attacks.label_inference import _whole
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import ParameterError


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def perceptron(classes, bias=True, scale=1.0, activation=nn.ReLU):
    torch.manual_seed(0)
    last = nn.Linear(20, classes, bias=bias)
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(scale)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 20), activation(), last).double()


def seen_by_the_server(model, labels, images=None, shape=(3, 4, 4), **options):
    images = torch.rand(*labels.shape, *shape, generator=rng(7)) if images is None else images
    return observe(model, images, labels, share_labels=False, generator=rng(), **options)


def true_counts(labels, classes):
    return torch.stack([torch.bincount(row, minlength=classes) for row in labels])


UNIFORM = [(2, 2, True), (2, 7, True), (5, 3, True), (5, 64, True), (10, 10, True), (100, 30, True)]
UNIFORM += [(5, 3, False), (100, 30, False)]  # without a bias, some class is absent and features are alike


@pytest.mark.parametrize(("classes", "batch", "bias"), UNIFORM)
def test_uniform_probabilities_give_the_counts_exactly(classes, batch, bias):
    """A classifier of zeros says 1/K, so that n = B/K - B b whatever the features are."""
    labels = torch.randint(classes, (6, batch), generator=rng(batch))
    images = None if bias else torch.rand(6, 1, 3, 4, 4, generator=rng(7)).expand(6, batch, 3, 4, 4)
    seen = seen_by_the_server(perceptron(classes, bias, scale=0.0), labels, images)
    assert torch.equal(count_labels(seen), true_counts(labels, classes))
    assert torch.equal(infer_batch(seen), labels.sort(1).values)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("classes", "batch"), [(4, 1), (4, 3), (10, 2), (10, 9), (40, 39)])
def test_equal_images_give_the_counts_exactly(classes, batch, bias):
    """All images of a victim are the same: the rows of the gradient are multiples of one feature."""
    labels = torch.randint(classes, (6, batch), generator=rng(batch))
    images = torch.rand(6, 1, 3, 4, 4, generator=rng(7)).expand(6, batch, 3, 4, 4)
    seen = seen_by_the_server(perceptron(classes, bias), labels, images)
    assert torch.equal(count_labels(seen), true_counts(labels, classes))
    shared = {n: g for n, g in seen.gradients.items() if n != "3.bias"}
    frozen = dataclasses.replace(seen, gradients=shared)
    assert torch.equal(count_labels(frozen), true_counts(labels, classes)), "a bias that is not shared"


def test_two_classes():
    labels = torch.tensor([[0, 0, 0, 0], [1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]])
    seen = seen_by_the_server(perceptron(2), labels)
    assert count_labels(seen).tolist() == [[4, 0], [1, 3], [2, 2], [0, 4]]


def test_two_classes_without_a_bias():
    """The two rows of the gradient are opposite: only dummy images tell how long features are."""
    labels = torch.randint(2, (64, 6), generator=rng())
    seen = seen_by_the_server(perceptron(2, bias=False), labels, mean=0.5, std=0.29)
    found = label_accuracy(infer(seen), labels).mean()
    assert found >= 0.85
    always = label_accuracy(torch.tensor([0, 0, 0, 1, 1, 1]).expand(64, 6), labels).mean()
    assert found > always + 0.05


def test_the_equations_are_those_of_a_slow_loop():
    """Ma et al.'s rule for one batch in numpy, where no quotient has a small divisor."""
    labels = torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 5, 5, 5, 5, 5, 5]])
    model = perceptron(6, scale=4.0)
    seen = seen_by_the_server(model, labels)
    weight, bias = (seen.gradients[f"3.{n}"][0].numpy() for n in ("weight", "bias"))
    own, shift = (p.detach().numpy() for p in model[3].parameters())
    equations, values = [np.ones(6)], [20.0]
    chances = []
    for c in range(6):
        logits = own @ (weight[c] / bias[c]) + shift
        chances.append(np.exp(logits) / np.exp(logits).sum())
    for k in range(6):
        equations.append(np.array([chances[c][k] - (c == k) for c in range(6)]))
        values.append(20 * bias[k])
    by_hand = np.linalg.lstsq(np.array(equations), np.array(values), rcond=None)[0]
    assert count_labels(seen)[0].tolist() == _whole(torch.from_numpy(by_hand)[None], 20)[0].tolist()


CIFAR_LIKE = [((), 0.99), (CVB(1, 5), 0.99), (PRECODE(3, 32), 0.97)]


@pytest.mark.parametrize(("bottlenecks", "rate"), CIFAR_LIKE, ids=["plain", "cvb", "precode"])
@pytest.mark.parametrize("batch", [2, 8, 50])
def test_a_fresh_cnn_gives_repeated_labels_away(bottlenecks, rate, batch):
    data = datasets.load("digits")
    images, labels = datasets.victims(data, 8, 3, batch_size=batch)
    assert any(len(row.unique()) < batch for row in labels), "labels repeat"
    model = models.build("cnn", input_shape=data.input_shape, bottlenecks=bottlenecks, seed=0)
    seen = seen_by_the_server(model, labels, images, mean=data.mean, std=data.std)
    assert label_accuracy(infer(seen), labels).mean() >= rate


@pytest.mark.parametrize("batch", [3, 12])
def test_a_fresh_vit_has_no_bias_and_gives_them_away(batch):
    labels = torch.randint(4, (4, batch), generator=rng())
    model = models.build(
        "vit", input_shape=(3, 8, 8), num_classes=10, hidden=64, heads=4, depth=2, mlp=64, seed=0
    )
    seen = seen_by_the_server(model, labels, shape=(3, 8, 8))
    assert label_accuracy(infer(seen), labels).mean() >= 0.95


def test_a_batchnorm_in_training_mode_and_a_bottlenecks_draws_leave_the_global_generator_alone():
    labels = torch.randint(5, (3, 4), generator=rng())
    model = models.build(
        "mlp", input_shape=(3, 4, 4), num_classes=5, width=32, bias=False, bottlenecks=PRECODE(4, 8), seed=0
    ).train()
    seen = seen_by_the_server(model, labels)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = count_labels(seen)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(count_labels(seen), first), "dummy images and draws are the same each time"
    assert first.sum(1).eq(4).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [2, 5, 30])
@pytest.mark.parametrize("std", [1e-3, 1e3])
def test_a_blurred_gradient_gives_some_counts_all_the_same(std, batch, bias):
    labels = torch.randint(8, (6, batch), generator=rng())
    blur = defenses.Gaussian(std=std)
    seen = seen_by_the_server(perceptron(8, bias), labels, defense=blur, mean=0.5, std=0.29)
    counts = count_labels(seen)
    assert counts.min() >= 0
    assert counts.sum(1).eq(batch).all()
    assert (label_accuracy(infer(seen), labels).mean() > 0.85) == (std < 1)


def test_a_gradient_of_zeros_is_a_batch_like_the_models_own_answer():
    """Nothing is left of the gradient: counts are B times the classifier's probabilities at zero features."""
    labels = torch.zeros(2, 6).long()
    seen = seen_by_the_server(perceptron(3, scale=0.0), labels)
    zeros = {n: torch.zeros_like(g) for n, g in seen.gradients.items()}
    assert count_labels(dataclasses.replace(seen, gradients=zeros)).tolist() == [[2, 2, 2]] * 2


@pytest.mark.parametrize("total", [1, 3, 6])
def test_rounding_finds_the_nearest_whole_numbers(total):
    counts = 4 * torch.randn(40, 3, generator=rng(), dtype=torch.double) + total / 3
    inside = torch.rand(40, 3, generator=rng(), dtype=torch.double)
    inside = total * inside / inside.sum(1, keepdim=True)
    corners = [c for c in itertools.product(range(total + 1), repeat=3) if sum(c) == total]
    points = torch.tensor(corners, dtype=torch.double)
    for given in (counts, inside):
        found = _whole(given, total)
        assert found.sum(1).eq(total).all()
        assert found.min() >= 0
    nearest = points[torch.cdist(inside, points).argmin(1)].long()
    assert torch.equal(_whole(inside, total), nearest)
    assert torch.equal(_whole(points, total), points.long()), "whole numbers stay"


def test_an_attack_infers_the_labels_of_a_batch_larger_than_the_classes():
    labels = torch.tensor([[0, 0, 2, 1, 1], [2, 2, 2, 2, 0]])
    seen = seen_by_the_server(perceptron(3), labels)
    found = invert(seen, ATTACKS["ig"].replace(max_steps=2), generator=rng())
    assert torch.equal(found.labels, labels.sort(1).values)


def test_a_model_without_a_linear_classifier_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 6, 4), nn.Flatten())
    seen = seen_by_the_server(net, torch.zeros(2, 3).long())
    with pytest.raises(ParameterError, match="this model has none: pass labels"):
        count_labels(seen)
