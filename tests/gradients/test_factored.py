"""Gradients in factors and the patches of convolutions, against what is written out."""

import pytest
import torch
from torch.nn import functional as F

from gleak_lib import gradients
from gleak_lib.attacks import ATTACKS, Match, observe
from gleak_lib.attacks.distances import DISTANCES, squared_norm
from gleak_lib.attacks.objective import Problem
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.gradients.factored import Dyads, Outer, dense, dyads, factors_pay, scaled
from gleak_lib.gradients.unfolding import fold, patches_of


def factors(victims=3, products=2, outputs=4, shape=(4, 2, 3), seed=0):
    g = torch.Generator().manual_seed(seed)
    left = torch.randn(victims, products, outputs, dtype=torch.double, generator=g)
    right = torch.randn(victims, products, shape[1] * shape[2], dtype=torch.double, generator=g)
    return Outer(left, right, shape)


@pytest.mark.parametrize("products", [1, 2, 5])
def test_inner_products_are_those_of_the_gradient_written_out(products):
    one = factors(products=products)
    whole = torch.einsum("vpo,vpi->voi", one.left, one.right).reshape(3, 4, 2, 3)
    target = torch.randn(3, 4, 2, 3, dtype=torch.double)
    torch.testing.assert_close(one.dense(), whole)
    torch.testing.assert_close(one.dot(target), (whole * target).sum((1, 2, 3)))
    torch.testing.assert_close(one.square(), whole.square().sum((1, 2, 3)))
    assert dense(one).equal(one.dense())
    assert dense(target) is target
    assert one.to(torch.float32).dense().dtype == torch.float32


def products_of(shape=(3, 8, 9), dtype=torch.double, seed=0):
    """Gradients that are one outer product each."""
    g = torch.Generator().manual_seed(seed)
    left = torch.randn(shape[:2], dtype=torch.double, generator=g)
    return torch.einsum("vo,vi->voi", left, torch.randn(shape[0], shape[2], generator=g).double()).to(dtype)


@pytest.mark.parametrize("dtype", [torch.double, torch.float32])
def test_dyads_finds_the_factors_of_outer_products(dtype):
    whole = products_of(dtype=dtype)
    whole[1] = 0  # a gradient that vanishes is an outer product, too
    found = dyads(whole)
    assert isinstance(found, Dyads)
    torch.testing.assert_close(found.left[:, :, None] * found.right[:, None], whole)
    torch.testing.assert_close(found.square(), whole.square().sum((1, 2)))
    other = torch.randn(3, 8, 9, dtype=dtype)
    torch.testing.assert_close(found.dot(other), (whole * other).sum((1, 2)))
    dummy = Outer(torch.randn(3, 2, 8, dtype=dtype), torch.randn(3, 2, 9, dtype=dtype), (8, 9))
    torch.testing.assert_close(dummy.dot(found), dummy.dot(whole))


def test_dyads_takes_the_weight_of_a_convolution_with_one_output_pixel():
    found = dyads(products_of((20, 8, 12)).reshape(20, 8, 3, 2, 2))  # more victims than are tried at once
    assert isinstance(found, Dyads) and found.right.shape == (20, 12)


def test_dyads_leaves_all_others_as_they_are():
    mixed = products_of()
    mixed[2] += products_of(seed=1)[2] * 1e-4  # one victim is enough
    nan = products_of()
    nan[0, 0, 0] = torch.nan
    masked = products_of() * (torch.arange(9) % 4 != torch.arange(8)[:, None] % 4)
    for whole in (mixed, nan, masked, products_of((3, 2, 2)), torch.randn(3, 5), torch.zeros(0, 8, 9)):
        assert dyads(whole) is whole


def test_scaled_multiplies_each_victims_gradient_in_either_form():
    one, factor = factors(), torch.tensor([2.0, -1.0, 0.0], dtype=torch.double)
    expected = torch.stack([f * g for f, g in zip(factor, one.dense(), strict=True)])
    torch.testing.assert_close(scaled(one.dense(), factor), expected)
    torch.testing.assert_close(scaled(one, factor).dense(), expected)
    assert scaled(one, None) is one


def test_factors_pay_where_there_are_few_products():
    assert factors_pay(1, 64, 800)  # the last convolution of the cnn: one output pixel
    assert not factors_pay(25, 32, 400)  # its second
    assert Outer(torch.zeros(2, 1, 64), torch.zeros(2, 1, 800), (64, 800)).pays


@pytest.mark.parametrize("name", sorted(DISTANCES))
@pytest.mark.parametrize("products", [1, 3])
def test_distances_of_gradients_in_factors(name, products):
    observed = {"a": factors(seed=1).dense(), "b": torch.randn(3, 5, dtype=torch.double)}
    left, right = (t.requires_grad_() for t in factors(products=products)[:2])
    shared = torch.randn(3, 5, dtype=torch.double)
    values, slopes = [], []
    for form in (lambda g: g, dense):
        dummy = {"a": form(Outer(left, right, (4, 2, 3))), "b": shared}
        value = DISTANCES[name](dummy, observed, squared_norm(observed))
        values.append(value)
        slopes.append(torch.autograd.grad(value.sum(), (left, right)))
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*slopes)
    torch.testing.assert_close(DISTANCES[name](dummy, observed), values[0])


@pytest.mark.parametrize("name", [name for name, one in DISTANCES.items() if one.by_products])
@pytest.mark.parametrize("in_factors", [True, False])
def test_distances_from_outer_products(name, in_factors):
    observed = {"a": products_of(), "b": torch.randn(3, 5, dtype=torch.double)}
    prepared = DISTANCES[name].prepared(observed)
    assert isinstance(prepared["a"], Dyads) and prepared["b"] is observed["b"]
    left = torch.randn(3, 2, 8, dtype=torch.double, requires_grad=True)
    outer = Outer(left, torch.randn(3, 2, 9, dtype=torch.double), (8, 9))
    dummy = {"a": outer if in_factors else outer.dense(), "b": torch.randn(3, 5, dtype=torch.double)}
    values = [DISTANCES[name](dummy, one, squared_norm(one)) for one in (prepared, observed)]
    torch.testing.assert_close(*values)
    slopes = [torch.autograd.grad(value.sum(), left, retain_graph=True) for value in values]
    torch.testing.assert_close(*slopes)
    torch.testing.assert_close(DISTANCES[name](dummy, prepared), values[1])


@pytest.mark.parametrize(("attack", "found"), [("ig", True), ("muted", True), ("idlg", False)])
def test_steps_read_a_single_images_gradient_as_vectors(small, attack, found):
    model = small("mlp", width=16).eval()
    images, labels = torch.rand(3, *model.input_shape), torch.arange(3)
    seen, match = observe(model, images, labels), ATTACKS[attack].match
    problem = Problem.of(seen, seen.labels, match=match)
    prepared = problem.prepared(match)
    assert any(isinstance(target, Dyads) for target in prepared.target.values()) == found
    dummy = {name: g + torch.randn_like(g) for name, g in problem.target.items()}
    values = [match.apart(dummy, one.target, one.square) for one in (problem, prepared)]
    torch.testing.assert_close(*values)
    assert bool((values[0] > 0.01).all())


def test_estimates_of_a_defense_see_the_gradient_as_it_is():
    match, target = Match(estimate="sparsity"), {"a": products_of()}
    assert match.prepared(target) is target
    assert isinstance(Match().prepared(target)["a"], Dyads)


def test_distances_that_need_more_than_products_get_gradients_as_they_are():
    observed = {"a": products_of()}
    for name, one in DISTANCES.items():
        assert one.by_products or one.prepared(observed) is observed, name


@pytest.mark.parametrize(
    ("name", "bottlenecks", "batch"),
    [("cnn", (), 1), ("cnn", CVB(1, 3), 2), ("mlp", PRECODE(1, 3), 1)],
)
def test_factored_gradients_of_a_model(small, name, bottlenecks, batch):
    options = {"width": 32} if name == "mlp" else {}
    model = gradients.prepare(small(name, bottlenecks=bottlenecks, **options).double().eval(), batch)
    x = torch.randn(2 * batch, *model.input_shape, dtype=torch.double)
    labels = torch.randint(0, 3, (2 * batch,))
    noise = [torch.randn(len(x), *s, dtype=torch.double) for s in model.noise_shapes]
    found, _ = gradients.factored_gradients(model, x, labels, victims=2, noise=noise)
    plain, _ = gradients.per_victim_gradients(model, x, labels, victims=2, noise=noise, method="loop")
    assert list(found) == list(plain)
    for parameter, gradient in found.items():
        torch.testing.assert_close(dense(gradient), plain[parameter])
    assert any(isinstance(g, Outer) for g in found.values())


def test_without_a_fast_rule_nothing_is_in_factors():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.rand(2))

        def forward(self, x):
            return x * self.scale

    model, x, labels = Scaled(), torch.randn(2, 2), torch.zeros(2).long()
    found, _ = gradients.factored_gradients(model, x, labels, victims=2)
    plain, _ = gradients.per_victim_gradients(model, x, labels, victims=2, method="loop")
    torch.testing.assert_close(found, plain)


@pytest.mark.parametrize(
    "geometry", [{}, {"stride": 2}, {"padding": 2, "stride": 2}, {"dilation": 2, "padding": (1, 0)}]
)
def test_patches_and_their_derivatives_are_those_of_unfold(geometry):
    conv = torch.nn.Conv2d(2, 3, (3, 2), **geometry)
    x = torch.randn(2, 2, 9, 8, dtype=torch.double, requires_grad=True)
    sizes = (conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    expected = F.unfold(x, *sizes)
    assert patches_of(conv, x).equal(expected)
    weights = torch.randn_like(expected)
    found = []
    for patches in (patches_of(conv, x), F.unfold(x, *sizes)):
        (slope,) = torch.autograd.grad((patches.square() * weights).sum(), x, create_graph=True)
        found.append((slope, torch.autograd.grad(slope.square().sum(), x)[0]))
    torch.testing.assert_close(*found)
    assert torch.autograd.gradgradcheck(lambda x: patches_of(conv, x) ** 2, x)


def test_fold_is_an_operation_that_compilers_may_trust():
    patches = torch.randn(2, 12, 12)
    args = (patches, 7, 5, [3, 2], [1, 1], [0, 0], [2, 1])
    assert fold(*args).equal(F.fold(patches, (7, 5), (3, 2), 1, 0, (2, 1)))
    torch.library.opcheck(fold, args)
