"""Clients that freeze parameters share no gradients of them, and attacks match what is shared."""

import pytest
import torch
from torch import nn

from gleak_lib import attacks, gradients
from gleak_lib.defenses import DEFENSES
from gleak_lib.errors import GradientError, ParameterError, ShapeError

PIXELS, LABELS = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1])
IG = attacks.ATTACKS["ig"].replace(max_steps=3)


def generator():
    return torch.Generator().manual_seed(0)


def test_what_is_frozen_is_not_shared_and_not_matched(small):
    model = small("lenet")
    whole = attacks.observe(model, PIXELS, LABELS)
    first = next(iter(attacks.match.parameter_groups(model)))
    model.get_submodule(first).requires_grad_(False)
    seen = attacks.observe(model, PIXELS, LABELS)
    assert list(seen.gradients) == [n for n in whole.gradients if not n.startswith(f"{first}.")]
    for name, g in seen.gradients.items():
        assert torch.equal(g, whole.gradients[name])
    assert IG.matched(seen) == tuple(seen.gradients)
    found = attacks.invert(seen, IG, generator=generator())
    masked = attacks.invert(whole, IG.replace(exclude=(first,)), generator=generator())
    assert torch.equal(found.images, masked.images) and torch.equal(found.loss, masked.loss)
    torch.testing.assert_close(
        attacks.gradient_distance(seen, IG, found), attacks.gradient_distance(seen, IG, masked)
    )
    with pytest.raises(ParameterError, match="layer mask keeps no gradients"):
        attacks.invert(seen, IG.replace(layers=(first,)))


def test_a_server_that_holds_a_frozen_model_may_attack_what_it_received(small):
    model = small("lenet")
    seen = attacks.observe(model, PIXELS, LABELS)
    before = attacks.invert(seen, IG, generator=generator())
    model.requires_grad_(False)
    assert torch.equal(attacks.invert(seen, IG, generator=generator()).images, before.images)
    with pytest.raises(ParameterError, match="Every parameter of the model is frozen"):
        attacks.observe(model, PIXELS, LABELS)
    with pytest.raises(GradientError, match="There are no gradients"):
        gradients.check({}, model)


@pytest.mark.parametrize("name", ["dp", "average_noise", "gaussian", "soteria"])
def test_defenses_transform_what_is_shared(small, name):
    model = small("lenet")
    model.stage1.requires_grad_(False)
    seen = attacks.observe(model, PIXELS, LABELS, defense=DEFENSES[name](), generator=generator())
    assert list(seen.gradients) == [n for n, p in model.named_parameters() if p.requires_grad]


def test_closed_forms_and_labels_need_what_is_frozen():
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 6), nn.ReLU(), nn.Linear(6, 3))
    model[3].weight.requires_grad_(False)
    seen = attacks.observe(model, PIXELS, LABELS, share_labels=False)
    with pytest.raises(
        ParameterError, match="gradient of 3, which clients freeze and do not share: pass labels"
    ):
        attacks.invert(seen, IG.replace(labels=attacks.Inferred()))
    model[3].weight.requires_grad_(True)
    model[1].weight.requires_grad_(False)
    seen = attacks.observe(model, PIXELS, LABELS)
    with pytest.raises(
        ParameterError, match="gradient of 1, which clients freeze and do not share: use an iter"
    ):
        attacks.invert(seen, attacks.ATTACKS["analytic"])


def test_patches_need_the_position_embedding(small):
    model = small("vit")
    seen = attacks.observe(model, PIXELS, LABELS)
    position = attacks.patch_embedding.find(seen).position
    model.get_parameter(position).requires_grad_(False)
    seen = attacks.observe(model, PIXELS, LABELS)
    with pytest.raises(ParameterError, match=f"reads the gradient of {position}, which clients freeze"):
        attacks.invert(seen, attacks.ATTACKS["patches"])


def test_models_without_gradients_or_classes():
    for model in (nn.Flatten(), nn.Sequential(nn.Flatten(), nn.ReLU())):
        with pytest.raises(ParameterError, match="The model has no parameters"):
            attacks.observe(model, PIXELS, LABELS)
    for width in (nn.Linear(128, 1), nn.Sequential(nn.Linear(128, 3), nn.Unflatten(1, (3, 1, 1)))):
        with pytest.raises(ShapeError, match="must return N x K logits, K at least 2, and returns"):
            attacks.observe(nn.Sequential(nn.Flatten(), width), PIXELS, torch.zeros(3).long())


def test_an_unused_layer_has_gradient_zero():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.out, self.never = nn.Linear(128, 3), nn.Linear(5, 5)

        def forward(self, x):
            return self.out(x.flatten(1))

    seen = attacks.observe(Unused(), PIXELS, LABELS)
    assert seen.gradients["never.weight"].shape == (3, 5, 5) and not seen.gradients["never.weight"].any()
    assert torch.isfinite(attacks.invert(seen, IG, generator=generator()).loss).all()
