"""Labels read off the gradients, and labels optimized with the image."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from gleak_lib import models
from gleak_lib.attacks import (
    ATTACKS,
    Attack,
    Inferred,
    infer,
    infer_batch,
    infer_single,
    invert,
    label_accuracy,
    observe,
)
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.priors import label_distance
from gleak_lib.bottlenecks import CVB, PRECODE, insert
from gleak_lib.errors import ParameterError, ShapeError, UnknownNameError


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def perceptron(classes=6, bias=True, activation=nn.Sigmoid):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(48, 20), activation(), nn.Linear(20, classes, bias=bias)
    ).double()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.ReLU, nn.Tanh])
def test_one_label_by_the_sign_rule(bias, activation):
    labels = torch.arange(6)
    seen = observe(
        perceptron(bias=bias, activation=activation), torch.rand(6, 3, 4, 4), labels, share_labels=False
    )
    assert seen.labels is None
    assert torch.equal(infer_single(seen), labels[:, None])
    assert torch.equal(infer(seen), infer_batch(seen)), "one image is a batch of one"


def test_one_label_of_two_classes_without_a_bias():
    labels = torch.tensor([0, 1, 1, 0])
    seen = observe(
        perceptron(classes=2, bias=False, activation=nn.ReLU),
        torch.rand(4, 3, 4, 4),
        labels,
        share_labels=False,
    )
    assert torch.equal(infer_single(seen), labels[:, None])


def test_one_label_where_the_features_sum_to_zero():
    """A ViT's classifier has no bias, and LayerNorm centers what it is given."""
    labels = torch.arange(10)
    model = models.build("vit", hidden=64, heads=4, depth=1, mlp=32, seed=0)
    seen = observe(model, torch.rand(10, 3, 32, 32), labels, share_labels=False)
    assert torch.equal(infer_single(seen), labels[:, None])


def test_labels_of_disjoint_batches():
    g = rng(0)
    model = perceptron(classes=20, activation=nn.ReLU)
    labels = torch.stack([torch.randperm(20, generator=g)[:6] for _ in range(8)])
    seen = observe(model, torch.rand(8, 6, 3, 4, 4, generator=g), labels, share_labels=False)
    found = infer_batch(seen, "gradinversion")
    assert torch.equal(found, found.sort(1).values)
    assert label_accuracy(found, labels).mean() > 0.9
    assert torch.equal(infer(seen, "gradinversion"), found)
    chance = torch.stack([torch.randperm(20, generator=g)[:6] for _ in range(8)])
    assert label_accuracy(chance, labels).mean() < 0.6
    repeated = observe(model, torch.rand(1, 3, 3, 4, 4), torch.tensor([[4, 4, 9]]), share_labels=False)
    wrong = infer_batch(repeated, "gradinversion")
    assert label_accuracy(wrong, torch.tensor([[4, 4, 9]])).item() <= 2 / 3
    assert infer_batch(repeated).tolist() == [[4, 4, 9]]


@pytest.mark.parametrize("bottleneck", [(), PRECODE(2, 4), CVB(1, 3)], ids=["plain", "precode", "cvb"])
def test_labels_through_bottlenecks(bottleneck):
    model = models.build("cnn", num_classes=7, bottlenecks=bottleneck, seed=0)
    images, labels = torch.rand(7, 3, 32, 32, generator=rng()), torch.arange(7)
    seen = observe(model, images, labels, generator=rng(), share_labels=False)
    assert torch.equal(infer(seen)[:, 0], labels)


def test_the_classifier_is_the_linear_layer_that_runs_last():
    """An inserted bottleneck is registered behind the classifier; it is no classifier."""
    model = insert(perceptron().float(), after="2", spec=PRECODE(k=4), input_shape=(3, 4, 4), seed=0)
    seen = observe(model, torch.rand(6, 3, 4, 4), torch.arange(6), generator=rng(), share_labels=False)
    assert torch.equal(infer(seen)[:, 0], torch.arange(6))


def test_accuracy_counts_labels_whatever_their_order():
    found, truth = torch.tensor([[0, 1, 1], [2, 3, 4]]), torch.tensor([[1, 0, 2], [4, 2, 3]])
    assert label_accuracy(found, truth).tolist() == [pytest.approx(2 / 3), 1.0]
    assert label_accuracy(torch.tensor([1, 2]), torch.tensor([1, 3])).tolist() == [1.0, 0.0]
    with pytest.raises(ShapeError, match="differ in shape"):
        label_accuracy(found, truth[:1])


def test_what_inference_refuses():
    images = torch.rand(2, 3, 3, 4, 4)
    batch = observe(perceptron(), images, torch.zeros(2, 3).long(), share_labels=False)
    with pytest.raises(ParameterError, match="one label from one image, this batch has 3: use infer_batch"):
        infer_single(batch)
    two = observe(perceptron(classes=2), images, torch.zeros(2, 3).long(), share_labels=False)
    with pytest.raises(ParameterError, match="3 images cannot have them among 2: use rule='counts', or pass"):
        infer_batch(two, "gradinversion")
    with pytest.raises(UnknownNameError, match="label rule 'count'. Did you mean 'counts'"):
        infer(two, "count")
    conv = nn.Sequential(nn.Conv2d(3, 6, 4), nn.Flatten())
    seen = observe(conv, torch.rand(2, 3, 4, 4), torch.tensor([0, 1]), share_labels=False)
    with pytest.raises(ParameterError, match="this model has none: pass labels"):
        invert(seen, ATTACKS["ig"])
    inner = nn.Sequential(nn.Flatten(), nn.Linear(48, 12), nn.Unflatten(1, (3, 2, 2)), nn.AvgPool2d(2))
    seen = observe(
        nn.Sequential(inner, nn.Flatten()), torch.rand(2, 3, 4, 4), torch.tensor([0, 1]), share_labels=False
    )
    with pytest.raises(ParameterError, match="does not give this model's 3 logits"):
        infer(seen)


class Heads(nn.Module):
    """Two heads on the same features; `logits` makes the model's of theirs. The second runs last."""

    def __init__(self, logits):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.Sigmoid())
        self.head, self.aux, self.logits = nn.Linear(20, 6), nn.Linear(20, 6), logits

    def forward(self, x):
        features = self.body(x)
        return self.logits(self.head(features), self.aux(features))


SURE = {
    "auxiliary head last": lambda z, aux: z,
    "shifted": lambda z, aux: z - z.amax(1, keepdim=True),
    "log-softmax": lambda z, aux: z.log_softmax(1),
}
UNSURE = {
    "mean of two": lambda z, aux: (z + aux) / 2,
    "difference": lambda z, aux: z - aux,
    "scaled": lambda z, aux: 10 * z,
    "scaled in place": lambda z, aux: z.mul_(10),
    "negated": lambda z, aux: -z,
    "permuted": lambda z, aux: z.flip(1),
    "softmax": lambda z, aux: z.softmax(1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SURE)
def test_the_classifier_is_the_layer_that_gives_the_logits(name, dtype):
    labels = torch.arange(6)
    seen = observe(Heads(SURE[name]).to(dtype), torch.rand(6, 3, 4, 4), labels, share_labels=False)
    assert torch.equal(infer(seen)[:, 0], labels)
    together = observe(Heads(SURE[name]).to(dtype), torch.rand(1, 6, 3, 4, 4), labels[None])
    assert label_accuracy(infer(together), labels[None]).item() > 0.8


@pytest.mark.parametrize("name", UNSURE)
def test_logits_that_no_layer_gives_are_refused(name):
    model, images = Heads(UNSURE[name]), torch.rand(2, 3, 4, 4)
    seen = observe(model, images, torch.tensor([0, 5]), share_labels=False)
    with pytest.raises(ParameterError, match="layer, aux, does not give this model's 6 logits as they leave"):
        infer(seen)
    with pytest.raises(ParameterError, match="does not give .* pass labels"):
        invert(seen, ATTACKS["ig"])
    for attack in ("ig", "dlg"):  # known and optimized labels need no classifier
        known = dataclasses.replace(seen, labels=torch.tensor([[0], [5]]))
        assert invert(known, ATTACKS[attack].replace(max_steps=2)).images.shape == images.shape


def test_attacks_take_known_labels_or_infer_them():
    model = models.build("cnn", num_classes=5, seed=0)
    images, labels = torch.rand(3, 3, 32, 32), torch.tensor([1, 4, 0])
    seen = observe(model, images, labels)
    wrong = dataclasses.replace(seen, labels=torch.tensor([[0], [0], [2]]))
    attack = ATTACKS["ig"].replace(max_steps=2)
    assert invert(wrong, attack).labels.tolist() == [0, 0, 2]
    assert invert(wrong, attack.replace(labels=Inferred())).labels.tolist() == [1, 4, 0]
    assert invert(dataclasses.replace(seen, labels=None), attack).labels.tolist() == [1, 4, 0]


@pytest.mark.parametrize("method", ["fast", "vmap"])
def test_a_soft_label_moves_by_its_gradient(monkeypatch, method):
    from gleak_lib import gradients

    plain = gradients.per_victim_gradients
    monkeypatch.setattr(gradients, "per_victim_gradients", lambda *a, **k: plain(*a, **k, method=method))
    seen = observe(perceptron(), torch.rand(2, 2, 3, 4, 4), torch.tensor([[0, 5], [1, 2]]))
    attack = ATTACKS["dlg"].replace(label_weight=0.3)
    objective = Objective(seen, attack, tuple(seen.gradients))
    problem = Problem.of(seen, seen.labels)
    x = torch.rand(2, 2, 3, 4, 4).double().requires_grad_()
    label = torch.randn(2, 2, 6).double().requires_grad_()

    def of(x, label):
        return objective.loss({"image": x, "label": label}, problem, ())

    assert torch.autograd.gradcheck(of, (x, label), atol=1e-5)


def test_dlg_finds_the_label_without_being_told():
    model = perceptron(activation=nn.Sigmoid)
    images = torch.rand(4, 3, 4, 4, generator=rng(0))
    seen = observe(model, images, torch.tensor([0, 3, 5, 2]), share_labels=False)
    found = invert(seen, ATTACKS["dlg"].replace(max_steps=60, restarts=3), generator=rng())
    solved = found.loss < 1e-6
    assert solved.sum() >= 2
    assert torch.equal(found.labels[solved], torch.tensor([0, 3, 5, 2])[solved])
    assert (found.images - images)[solved].abs().max() < 0.05


def test_the_label_term_by_hand():
    logits, labels = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([2])
    assert label_distance(logits, labels).item() == 1 + 4 + 9
    assert label_distance(logits, labels, "paper-code").item() == pytest.approx(math.sqrt(1 + 0 + 4))
    soft = torch.tensor([[0.0, 0.5, 0.5]])
    assert label_distance(logits, soft).item() == 1 + 2.25 + 12.25
    assert label_distance(logits, soft, "paper-code").item() == pytest.approx(math.sqrt(0 + 1 + 9))


def test_the_papers_label_term_is_torchs_distance_to_the_broadcast_index():
    """SPEC §13: `torch.dist(logits, label, 2)`, not squared; of a batch, each image on its own."""
    logits = torch.randn(5, 7, generator=rng(), dtype=torch.double).requires_grad_()
    labels = torch.tensor([0, 6, 3, 3, 1])
    found = label_distance(logits, labels, "paper-code")
    expected = [torch.dist(logits[i : i + 1], labels[i : i + 1], 2) for i in range(5)]
    torch.testing.assert_close(found, torch.stack(expected))
    (ours,) = torch.autograd.grad(found.sum(), logits)
    torch.testing.assert_close(ours, torch.autograd.grad(sum(expected), logits)[0])


def test_the_papers_label_term_has_a_gradient_where_it_is_zero():
    logits = torch.full((2, 4), 3.0, requires_grad=True)
    value = label_distance(logits, torch.tensor([3, 1]), "paper-code")
    assert value.tolist() == [0.0, 4.0]
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert gradient[0].eq(0).all()
    torch.testing.assert_close(gradient[1], torch.full((4,), 0.5))


@pytest.mark.parametrize("term", ["one-hot", "paper-code"])
def test_cpl_adds_the_term_to_the_distance(term):
    seen = observe(perceptron(), torch.rand(2, 3, 3, 4, 4), torch.tensor([[0, 5, 1], [1, 2, 2]]))
    attack = ATTACKS["cpl"].replace(label_form=term)
    x = {"image": torch.rand(2, 3, 3, 4, 4).double()}
    problem = Problem.of(seen, seen.labels)

    def loss(attack: Attack):
        return Objective(seen, attack, tuple(seen.gradients)).loss(x, problem, ())

    logits = seen.model(x["image"].flatten(0, 1))
    expected = label_distance(logits, seen.labels.flatten(), term).reshape(2, 3).mean(1)
    torch.testing.assert_close(loss(attack) - loss(attack.replace(label_weight=0.0)), 0.01 * expected)
