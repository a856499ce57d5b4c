"""What holds for every model of the registry, with no bottleneck and with each kind at each position."""

import math

import pytest
import torch

from gleak_lib import gradients, models
from gleak_lib.bottlenecks import CVB, PRECODE

KINDS = {
    "none": None,
    "precode": lambda position: PRECODE(position, 3),
    "cvb": lambda position: CVB(position, 3),
}


def variants(small, name: str, kind: str):
    """Models with one bottleneck of a kind, at each position in turn; the plain one for `none`."""
    if kind == "none":
        yield 0, small(name).eval()
        return
    for position in range(1, small(name).depth + 1):
        yield position, small(name, bottlenecks=KINDS[kind](position)).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", models.MODELS)
def test_forward_noise_groups_and_gradients(name, kind, small):
    torch.manual_seed(0)
    for position, model in variants(small, name, kind):
        x = torch.randn(4, *model.input_shape)
        run = model.run(x, generator=torch.Generator().manual_seed(1))
        assert run.logits.shape == (4, 3)
        assert run.kl.shape == (4,)
        assert [tuple(n.shape) for n in run.noise] == [(4, *s) for s in model.noise_shapes]
        assert len(run.noise) == (position > 0)
        torch.testing.assert_close(model.run(x, noise=run.noise).logits, run.logits)
        if position:
            other = model.run(x, noise=[n + 1 for n in run.noise]).logits
            assert not torch.equal(other, run.logits), "the noise goes into the logits"

        stages = [f"stage{p}" for p in range(1, model.depth + 1)]
        expected = stages[:position]
        expected += [f"bottleneck{position}.{part}" for part in ("encoder", "decoder") if position]
        expected += [*stages[position:], "head"]
        assert list(model.groups) == expected
        names = [n for members in model.groups.values() for n in members]
        assert names == [n for n, _ in model.named_parameters()]

        prepared = gradients.prepare(model, 2)
        assert gradients.supports_fast(prepared)
        labels = torch.tensor([0, 1, 2, 0])
        grads, _ = gradients.per_victim_gradients(
            prepared, x, labels, victims=2, noise=run.noise or None, method="fast"
        )
        gradients.check(grads, model)
        assert all(g.shape[0] == 2 for g in grads.values())


@pytest.mark.parametrize("name", models.MODELS)
def test_bottlenecks_at_every_position_at_once(name, small):
    depth = small(name).depth
    specs = [PRECODE(p, 2) if p % 2 else CVB(p, 1) for p in range(1, depth + 1)]
    model = small(name, bottlenecks=specs).eval()
    run = model.run(torch.randn(2, *model.input_shape))
    assert len(run.noise) == depth
    assert torch.isfinite(run.logits).all()
    decoders = [g for g in model.groups if g.endswith(".decoder")]
    assert models.before_decoder(tuple(model.groups)) == ("stage1", "bottleneck1.encoder")
    assert len(decoders) == depth


@pytest.mark.parametrize("name", models.MODELS)
def test_a_bottleneck_adds_the_papers_number_of_parameters(name, small):
    """001 §IV: 2 k_E^2 c K_E + K_E c for the CVB, 3 K times the features for PRECODE."""
    plain = small(name).eval()
    x, features = torch.zeros(1, *plain.input_shape), []
    for position in range(1, plain.depth + 1):
        x = plain.get_submodule(f"stage{position}")(x)
        features.append(tuple(x.shape[1:]))
    count = models.count_parameters(plain)
    for position, shape in enumerate(features, start=1):
        kernels = round(shape[0] / 2)
        with_cvb = models.count_parameters(small(name, bottlenecks=CVB(position, 3)))
        with_precode = models.count_parameters(small(name, bottlenecks=PRECODE(position, 4)))
        assert with_cvb - count == 2 * 9 * shape[0] * kernels + kernels * shape[0]
        assert with_precode - count == 3 * 4 * math.prod(shape)


@pytest.mark.parametrize("name", models.MODELS)
def test_seed_alone_decides_the_models_own_weights(name, small):
    plain, again = small(name).state_dict(), small(name, bottlenecks=CVB(1, 1)).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in plain.items())
    other = small(name, seed=1).state_dict()
    assert any(not torch.equal(tensor, other[key]) for key, tensor in plain.items())


@pytest.mark.parametrize("name", models.MODELS)
def test_shapes_and_classes_are_free(name, small):
    model = small(name, input_shape=(1, 36, 40), num_classes=5).eval()
    assert model(torch.rand(2, 1, 36, 40)).shape == (2, 5)


@pytest.mark.parametrize("name", models.MODELS)
def test_a_state_dict_loads_into_a_model_of_another_seed(name, small):
    one, two = small(name, bottlenecks=CVB(1, 1)).eval(), small(name, bottlenecks=CVB(1, 1), seed=1).eval()
    two.load_state_dict(one.state_dict())
    x = torch.rand(2, *one.input_shape)
    noise = one.run(x).noise
    assert torch.equal(one.run(x, noise).logits, two.run(x, noise).logits)
