"""Models as users have them: what is supported, and what a sentence says of the rest."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gleak_lib import attacks, defenses
from gleak_lib.errors import GradientError, ParameterError, ShapeError
from gleak_lib.types import Observation

SHAPE = (1, 8, 8)
IMAGES = torch.rand(3, 2, *SHAPE, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([[0, 1], [2, 1], [0, 2]])
IG = attacks.ATTACKS["ig"].replace(max_steps=3)


def network(*middle):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), *middle, nn.Sigmoid(), nn.Flatten(), nn.Linear(144, 3))


def assert_ordinary(seen, model, loss=F.cross_entropy):
    """Every victim's gradients are those of an ordinary backward pass."""
    for v, (images, labels) in enumerate(zip(IMAGES, LABELS, strict=True)):
        own = copy.deepcopy(model)
        loss(own(images), labels).backward()
        for name, p in own.named_parameters():
            if p.requires_grad:
                expected = torch.zeros_like(p) if p.grad is None else p.grad
                torch.testing.assert_close(seen.gradients[name][v], expected, rtol=1e-4, atol=1e-6)
    found = attacks.invert(seen, IG, generator=torch.Generator().manual_seed(0))
    assert found.images.shape == IMAGES.shape


def test_batchnorm_in_training_mode():
    model = network(nn.BatchNorm2d(4))
    assert_ordinary(attacks.observe(model, IMAGES, LABELS), model)
    assert not model[1].running_mean.any(), "the model itself is left alone"


def test_frozen_and_unused_parameters():
    body = network()
    body[0].weight.requires_grad_(False)
    model = _Unused(body)
    seen = attacks.observe(model, IMAGES, LABELS)
    assert "body.0.weight" not in seen.gradients and not seen.gradients["never.weight"].any()
    assert_ordinary(seen, model)


class _Unused(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.never = body, nn.Linear(2, 2)

    def forward(self, x):
        return self.body(x)


def test_dropout_is_refused_until_it_is_off():
    model = network(nn.Dropout(0.5))
    with pytest.raises(
        ParameterError, match="Layer 1 is active dropout: call model.eval.., or set its p to 0"
    ):
        attacks.observe(model, IMAGES, LABELS)
    assert_ordinary(attacks.observe(model.eval(), IMAGES, LABELS), model)


class Several(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.body, self.kind = network(), kind

    def forward(self, x):
        return self.kind(logits=self.body(x), features=x)


class Logits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)["logits"]


def test_of_several_outputs_a_wrapper_picks_the_logits():
    for kind, name in ((dict, "dict"), (lambda **parts: tuple(parts.values()), "tuple")):
        model = Several(kind)
        with pytest.raises(
            ParameterError, match=f"returned a {name}: wrap it in a module whose forward picks"
        ):
            attacks.observe(model, IMAGES, LABELS)
    wrapped = Logits(Several(dict))
    assert_ordinary(attacks.observe(wrapped, IMAGES, LABELS), wrapped)


WEIGHTED = nn.CrossEntropyLoss(label_smoothing=0.2, reduction="none")


def squares(logits, labels):
    """A loss of a user's own; its labels may be probabilities."""
    target = labels if labels.is_floating_point() else F.one_hot(labels, logits.shape[-1])
    return (logits.softmax(-1) - target).square().sum(-1)


@pytest.mark.parametrize("loss", [WEIGHTED, squares])
def test_a_loss_of_ones_own(loss):
    model = network()
    seen = attacks.observe(model, IMAGES, LABELS, loss=loss)
    assert_ordinary(seen, model, lambda logits, labels: loss(logits, labels).mean())
    usual = attacks.observe(model, IMAGES, LABELS)
    assert not torch.allclose(seen.gradients["3.bias"], usual.gradients["3.bias"])
    assert attacks.loss_at_truth(seen, IG.replace(tv=0.0), IMAGES, LABELS).abs().max() < 1e-5
    assert attacks.loss_at_truth(usual, IG.replace(tv=0.0), IMAGES, LABELS).abs().max() < 1e-5
    dlg = attacks.ATTACKS["dlg"].replace(max_steps=2, inner_steps=2)
    assert attacks.invert(seen, dlg).images.isfinite().all()
    received = Observation.from_gradients(model, seen.gradients, input_shape=SHAPE, batch_size=2, loss=loss)
    with pytest.raises(ParameterError, match="a loss of their own: pass labels"):
        attacks.invert(received, IG)
    with pytest.raises(ParameterError, match="a loss of their own: pass labels"):
        attacks.count_labels(received)


def indices_only(logits, labels):
    return F.nll_loss(logits.log_softmax(1), labels, reduction="none")


def no_slope(logits, labels):
    return F.cross_entropy(logits, labels if labels.dim() == 1 else labels.argmax(1), reduction="none")


def of_entries(logits, labels):
    return indices_only(logits, labels) if labels.dim() == 1 else (logits - labels).square()


REFUSED = {
    indices_only: "it fails: [^\n]+",
    no_slope: "it has no derivative by them",
    of_entries: r"it returns \(2, 3\) values instead of \(2,\)",
}


@pytest.mark.parametrize("loss", REFUSED)
def test_a_loss_that_takes_class_indices_only(loss):
    seen = attacks.observe(network(), IMAGES, LABELS, loss=loss)
    dlg = attacks.ATTACKS["dlg"].replace(max_steps=2, inner_steps=2)
    refusal = rf"optimizes labels, N x K .* the loss does not take them .{REFUSED[loss]}.: observe with one"
    for door in (
        lambda: attacks.invert(seen, dlg),
        lambda: attacks.invert(attacks.join([attacks.observe(network(), IMAGES, LABELS), seen]), dlg),
        lambda: attacks.loss_at_truth(seen, dlg, IMAGES, LABELS),
    ):
        with pytest.raises(ParameterError, match=refusal):
            door()
    for attack in (IG, dlg.replace(labels=attacks.Known())):
        assert attacks.invert(seen, attack).images.isfinite().all()


def test_defenses_that_compute_gradients_anew_know_the_loss():
    model = network()
    plain = attacks.observe(model, IMAGES, LABELS, loss=squares)
    for defense in (defenses.DP(max_grad_norm=1e6, noise_multiplier=0.0), defenses.AverageNoise(2)):
        seen = attacks.observe(model, IMAGES, LABELS, loss=squares, defense=defense)
        for name, g in plain.gradients.items():
            torch.testing.assert_close(seen.gradients[name], g, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_a_mean_already():
    with pytest.raises(
        ShapeError, match=r"loss must return one value per image, \(2,\), got \(\).*reduction"
    ):
        attacks.observe(network(), IMAGES, LABELS, loss=F.cross_entropy)
    seen = dataclasses.replace(attacks.observe(network(), IMAGES, LABELS), loss=F.cross_entropy)
    with pytest.raises(ShapeError, match="loss must return one value per image, .* got ..: make it"):
        attacks.invert(seen, attacks.ATTACKS["ig"])


HALF = r"0.weight is {}, .* would fail, which is no protection.*to float32 \(model.float\(\)\)"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_and_float32_is_not(kind):
    model, refusal = network().to(kind), HALF.format(str(kind).removeprefix("torch."))
    grads = [torch.randn_like(p) for p in model.parameters()]
    sizes = {"input_shape": SHAPE, "batch_size": 2, "labels": LABELS[0]}
    doors = [
        lambda: attacks.observe(model, IMAGES, LABELS),
        lambda: Observation.from_gradients(model, grads, **sizes),
        lambda: Observation.from_gradients(model, [g.float() for g in grads], **sizes),
        lambda: Observation.from_weights(model, network().to(kind), lr=0.1, **sizes),
        lambda: attacks.conditioning(model, IMAGES[:, 0], LABELS[:, 0]),
    ]
    for door in doors:
        with pytest.raises(ParameterError, match=refusal):
            door()
    model.float()
    seen = Observation.from_gradients(model, grads, **sizes)  # those that the clients sent
    assert seen.like.dtype == torch.float32
    found = attacks.invert(seen, IG)
    assert found.images.dtype == torch.float32 and found.images.isfinite().all()
    with pytest.raises(ParameterError, match=refusal):
        dataclasses.replace(seen, model=copy.deepcopy(model).to(kind))
    model.to(kind)
    with pytest.raises(GradientError, match="is float32 on cpu, and the parameter"):
        attacks.invert(seen, IG)


def test_opacus_hooks():
    private = pytest.importorskip("opacus").GradSampleModule(network())
    for hooked in (private, private._module):
        with pytest.raises(ParameterError, match="Opacus' hooks.*to_standard_module"):
            attacks.observe(hooked, IMAGES, LABELS)
    plain = private.to_standard_module()
    assert_ordinary(attacks.observe(plain, IMAGES, LABELS), plain)
