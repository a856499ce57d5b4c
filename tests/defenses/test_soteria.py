"""Soteria: a case worked by hand, the Jacobian of a slow loop, probes, layers, refusals, and who mutes it."""

import pytest
import torch
from torch import nn

from gleak_lib import attacks, models
from gleak_lib.attacks import ATTACKS, observe
from gleak_lib.bottlenecks import CVB, sample_noise
from gleak_lib.defenses import Batch, Compression, Soteria, chain
from gleak_lib.defenses.soteria import sensitivity
from gleak_lib.errors import ParameterError


def examples(model, count=4):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(count, *model.input_shape, generator=g)
    labels = torch.randint(3, (count,), generator=g)
    return Batch(model, x, labels, 2, sample_noise(model, count, x, g))


def test_by_hand():
    # r = relu(A x) for one pixel pair x = (1, 1): rows of A give r and |J| below.
    first, last = nn.Linear(2, 4, bias=False), nn.Linear(4, 2)
    rows = torch.tensor([[3.0, 4.0], [6.0, -5.9], [-1.0, -1.0], [0.3, 0.4]])
    first.weight.data = rows
    model = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)
    batch = Batch(model, torch.ones(1, 1, 1, 2), torch.tensor([0]))
    features, sizes = sensitivity(batch)
    # |J_i| is the row's length where r_i > 0, and zero where the unit is dead
    torch.testing.assert_close(features, torch.tensor([[7.0, 0.1, 0.0, 0.7]]))
    torch.testing.assert_close(sizes, torch.tensor([[5.0, rows[1].norm().item(), 0.0, 0.5]]))
    # scores 5 / 7.1 = 0.70, 8.4 / 0.2 = 42, 0, 0.5 / 0.8 = 0.63: half of four are columns 2 and 3
    grads = {n: torch.ones(1, *p.shape) for n, p in model.named_parameters()}
    found = Soteria(p=0.5).bind(batch)(grads)
    assert found["3.weight"].tolist() == [[[1.0, 1.0, 0.0, 0.0]] * 2]
    assert all(torch.equal(found[n], grads[n]) for n in ("1.weight", "3.bias"))
    for p, left in [(0.0, 4), (0.25, 3), (0.6, 2), (0.75, 1), (0.99, 1)]:
        assert Soteria(p).bind(batch)(grads)["3.weight"][0, 0].sum() == left


@pytest.mark.parametrize("options", [{}, {"bottlenecks": (CVB(1),)}])
def test_against_a_loop_over_images_and_features(small, options):
    model = small("cnn", **options)
    batch = examples(model)
    inputs = []
    model.head[-1].register_forward_pre_hook(lambda _m, given: inputs.append(given[0]))

    def representation(image, row):
        inputs.clear()
        model.run(image[None], [n[row : row + 1] for n in batch.noise])
        return inputs[0][0]

    features, sizes = sensitivity(batch)
    for row, image in enumerate(batch.x):
        jacobian = torch.autograd.functional.jacobian(lambda x, row=row: representation(x, row), image)
        torch.testing.assert_close(sizes[row], jacobian.flatten(1).norm(dim=1), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(features[row], representation(image, row))
    weight = f"{next(n for n, m in model.named_modules() if m is model.head[-1])}.weight"
    grads = {n: torch.ones(2, *p.shape) for n, p in model.named_parameters()}
    found = Soteria(0.8).bind(batch)(grads)[weight]
    for v in range(2):
        score = sum(sizes[r] / (features[r].abs() + 0.1) for r in (2 * v, 2 * v + 1))
        count = int(0.8 * len(score))
        kept = score > score.sort().values[count - 1]
        assert torch.equal(found[v], kept.float().expand_as(found[v]))


def test_probes_estimate_the_norms(small):
    batch = examples(small("cnn", bottlenecks=(CVB(1),)))
    features, exact = sensitivity(batch)
    same, found = sensitivity(batch, probes=2000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(same, features)
    torch.testing.assert_close(found, exact, rtol=0.15, atol=1e-6)  # sqrt(2 / 2000) / 2 is 1.6 %
    grads = {n: torch.ones(2, *p.shape) for n, p in batch.model.named_parameters()}
    one, two = (
        Soteria(probes=4).bind(batch)(grads, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert all(torch.equal(one[n], two[n]) for n in one)


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_every_model(name, small):
    model = small(name)
    images = torch.rand(2, 2, *model.input_shape, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1], [2, 0]])
    plain = observe(model, images, labels).gradients
    for probes in (None, 2):
        rng = torch.Generator().manual_seed(0)
        seen = observe(model, images, labels, defense=Soteria(0.5, probes=probes), generator=rng)
        weight = seen.defense.targets(model)[0]
        columns = (seen.gradients[weight] == 0).all(1)
        assert (columns.sum(1) >= columns.shape[1] // 2).all()
        assert all(torch.equal(g, plain[n]) for n, g in seen.gradients.items() if n != weight)


def test_another_layer(small):
    model = small("mcmahan_cnn")
    batch = examples(model)
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    assert len(names) == 2
    grads = {n: torch.ones(2, *p.shape) for n, p in model.named_parameters()}
    for defense, layer in [(Soteria(), names[1]), (Soteria(layer=names[0]), names[0])]:
        found = defense.bind(batch)(grads)
        assert [n for n in grads if not torch.equal(found[n], grads[n])] == [f"{layer}.weight"]
        assert defense.targets(model) == (f"{layer}.weight", f"{layer}.bias")


def test_what_it_refuses(small):
    convolutions = nn.Sequential(nn.Conv2d(2, 3, 4), nn.Flatten())
    x = torch.zeros(1, 2, 4, 4)
    with pytest.raises(ParameterError, match=r"it has none \(linear: none\)"):
        Soteria().bind(Batch(convolutions, x, torch.tensor([0])))
    with pytest.raises(ParameterError, match="'heda' is none .*linear: head"):
        Soteria(layer="heda").bind(examples(small("cnn")))
    vit = small("vit")
    tokens = next(n for n, m in vit.named_modules() if isinstance(m, nn.Linear))
    grads = {n: torch.ones(2, *p.shape) for n, p in vit.named_parameters()}
    with pytest.raises(ParameterError, match=r"features N x F, and the input of \S+ is \(4, .*name another"):
        Soteria(layer=tokens).bind(examples(vit))(grads)


def test_muted_leaves_out_the_layer_that_the_defense_targets(small):
    model = small("mcmahan_cnn")
    images, labels = torch.rand(2, *model.input_shape), torch.tensor([0, 1])
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    for defense in (Soteria(layer=names[0]), chain(Soteria(layer=names[0]), Compression(0.5))):
        seen = observe(model, images, labels, defense=defense)
        left = ATTACKS["muted"].matched(seen)
        assert set(seen.gradients) - set(left) == {f"{names[0]}.weight", f"{names[0]}.bias"}
        assert ATTACKS["ig"].matched(seen) == tuple(seen.gradients)
    seen = observe(model, images, labels, defense=Compression(0.5))
    last = list(model.groups.values())[-1]
    assert set(seen.gradients) - set(ATTACKS["muted"].matched(seen)) == set(last)


def test_muted_sees_nothing_of_soteria(small):
    model = small("cnn")
    images, labels = torch.rand(2, *model.input_shape), torch.tensor([0, 1])
    attack = ATTACKS["muted"].replace(max_steps=3)
    found = [
        attacks.invert(
            observe(model, images, labels, defense=defense),
            attack,
            generator=torch.Generator().manual_seed(0),
        ).images
        for defense in (None, Soteria(0.9))
    ]
    assert torch.equal(*found)
