"""Slices of equal risk, the reservoir, and noise on the chosen ones (004 §4-B, Algorithm 1)."""

import dataclasses
import itertools
import math

import pytest
import scipy.stats
import torch

from gleak_lib import datasets, models
from gleak_lib.client_setup import parse
from gleak_lib.defenses import Layout, LeakageRisk, SlicePerturbation, chain, leakage_risk, slice_layout
from gleak_lib.defenses.slices import estimated_risk, reservoir
from gleak_lib.errors import GradientError, ParameterError, ShapeError, UnknownNameError

SIZES = {"a.weight": 400, "a.bias": 80, "b.weight": 640, "c.weight": 150, "c.bias": 10}  # gcd 160
RISK = LeakageRisk(("a", "b", "c"), (480, 640, 160), (3.0, 0.5, 8.0), (0.0, 0.0, 0.0))


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def risks(*values):
    return dataclasses.replace(RISK, values=values)


def grads(victims=3, seed=0):
    shapes = {
        "a.weight": (20, 4, 5),
        "a.bias": (80,),
        "b.weight": (32, 20),
        "c.weight": (10, 15),
        "c.bias": (10,),
    }
    return {n: torch.randn(victims, *s, generator=gen(seed)) for n, s in shapes.items()}


def test_blocks_are_the_greatest_common_divisor():
    layout = slice_layout(SIZES, 8)
    assert layout.bounds == tuple(range(0, 1281, 160)), "1,280 entries in 8 blocks of 160"
    assert layout.names == tuple(SIZES) and layout.sizes == tuple(SIZES.values()) and layout.slices == 8
    with pytest.raises(ParameterError, match="9 slices need as many blocks, and there are 8 of 160 entries"):
        slice_layout(SIZES, 9)


@pytest.mark.parametrize("last", [7, 9])
def test_sizes_without_a_common_divisor_take_the_stated_block(last):
    sizes = {"a.weight": 16, "b.weight": last}
    with pytest.warns(
        UserWarning, match=rf"\(16, {last}\) have the greatest common divisor 1: blocks have 8"
    ):
        layout = slice_layout(sizes, 4 if last > 8 else 3)
    assert layout.bounds == ((0, 8, 16, 24, 25) if last > 8 else (0, 8, 16, 23)), "the last block is shorter"
    assert slice_layout(sizes, layout.slices, block=8) == layout, "and no warning"


@pytest.mark.parametrize("slices", [1, 2, 5, 13, 40])
@pytest.mark.parametrize("risk", [None, RISK])
def test_slices_weigh_alike_up_to_a_block(slices, risk):
    layout = slice_layout(SIZES, slices, risk=risk, block=8)
    values = (1.0, 1.0, 1.0) if risk is None else RISK.values
    each = torch.cat([torch.full((n,), v) for n, v in zip(RISK.sizes, values, strict=True)]).double()
    weights = [
        float(part.sum()) for part in each.split([b - a for a, b in itertools.pairwise(layout.bounds)])
    ]
    assert sum(weights) == pytest.approx(float(each.sum()))
    assert max(abs(w - sum(weights) / slices) for w in weights) <= 8 * max(values) + 1e-9
    assert all(b % 8 == 0 for b in layout.bounds)
    if risk is not None and slices == 40:
        inside = [
            sum(a < bound <= b for bound in layout.bounds) for a, b in [(0, 480), (480, 1120), (1120, 1280)]
        ]
        assert inside[2] > inside[1], "160 risky entries lie in more slices than 640 others"


def test_every_slice_has_a_block_where_one_layer_holds_all_risk():
    risk = LeakageRisk(RISK.layers, RISK.sizes, (0.0, 0.0, 1.0), RISK.errors)
    for slices in (2, 7, 8):
        layout = slice_layout(SIZES, slices, risk=risk)
        assert layout.slices == slices and all(a < b for a, b in itertools.pairwise(layout.bounds))


def test_rows_and_gradients_are_inverse_and_entries_mark_slices():
    layout, given = slice_layout(SIZES, 5, risk=RISK, block=8), grads()
    rows = layout.rows(given)
    assert rows.shape == (3, 1280)
    back = layout.gradients(rows, dict(reversed(given.items())))
    assert list(back) == list(reversed(given)) and all(torch.equal(back[n], g) for n, g in given.items())
    chosen = torch.tensor([[True, False, False, False, True]])
    inside = layout.entries(chosen)[0].nonzero().flatten().tolist()
    assert inside == [*range(layout.bounds[1]), *range(layout.bounds[4], 1280)]
    with pytest.raises(GradientError, match="of 1280 entries of 5 parameters, got gradients of 1270 .* of 4"):
        layout.rows({n: g for n, g in given.items() if n != "c.bias"})


@pytest.mark.parametrize(("s", "d"), [(10, 1), (10, 3), (10, 10), (25, 7), (4, 2)])
def test_every_slice_is_drawn_with_probability_d_of_s(s, d):
    stream, draws = gen(s * d), 4000
    found = [reservoir(s, d, stream) for _ in range(draws)]
    assert all(len(set(one)) == d and min(one) >= 0 and max(one) < s for one in found)
    counts = torch.bincount(torch.tensor(found).flatten(), minlength=s)
    if d == s:
        assert counts.tolist() == [draws] * s
        return
    # without replacement counts spread (s - d) / (s - 1) as far as those of draws with it
    statistic = float((counts - draws * d / s).square().sum() / (draws * d / s)) * (s - 1) / (s - d)
    assert scipy.stats.chi2.sf(statistic, s - 1) > 0.001


def test_all_sets_of_slices_are_equally_likely():
    stream = gen(3)
    found = [tuple(sorted(reservoir(5, 2, stream))) for _ in range(5000)]
    counts = [found.count(pair) for pair in itertools.combinations(range(5), 2)]
    assert scipy.stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize(
    ("slices", "share", "d"),
    [(10, 0.2, 2), (10, 0.3, 3), (10, 0.05, 1), (10, 1.0, 10), (100, 0.29, 29), (100, 0.57, 57),
     (7, 0.5, 3), (3, 0.1, 1)],
)  # fmt: skip
def test_how_many_slices_are_perturbed(slices, share, d):
    defense = SlicePerturbation(share, slices=slices, variance=0.04)
    assert defense.perturbed_slices == d
    assert defense.entry_variance == pytest.approx(d / slices * 0.04)
    zeros = {"w": torch.zeros(20, slices * 8)}
    noisy = SlicePerturbation(share, slices=slices, variance=0.04, block=8)(zeros, generator=gen())["w"]
    assert (noisy.unflatten(1, (slices, 8)).ne(0).all(2).sum(1) == d).all()
    assert (noisy.unflatten(1, (slices, 8)).ne(0).any(2).sum(1) == d).all()


def test_noise_has_the_stated_variance_and_nothing_else_changes():
    layout, given = slice_layout(SIZES, 5, risk=RISK, block=8), grads(4000)
    defense = SlicePerturbation(0.4, 0.09, 5).with_layout(layout)
    after = defense(given, generator=gen())
    difference = layout.rows(after) - layout.rows(given)
    noisy = layout.rows(defense.perturbed(given, after)).bool()
    sure = torch.tensor([layout.entries(row[list(layout.bounds[:-1])][None])[0].tolist() for row in noisy])
    assert torch.equal(noisy, sure), "slices are noisy as a whole"
    assert scipy.stats.kstest(difference[noisy][:20_000].numpy(), scipy.stats.norm(0, 0.3).cdf).pvalue > 0.001
    assert difference.var().item() == pytest.approx(defense.entry_variance, rel=0.03)


def test_without_noise_it_is_the_identity():
    given = grads()
    after = SlicePerturbation(variance=0.0, slices=4)(given)
    assert list(after) == list(given) and all(torch.equal(after[n], g) for n, g in given.items())


def test_clipping_scales_gradient_and_noise():
    given, bound = grads(500), 2.0
    layout = slice_layout(SIZES, 8)
    defense = SlicePerturbation(0.5, 0.01, 8, clip=bound)
    after = defense(given, generator=gen())
    rows = layout.rows(given)
    clipped = rows / (rows.norm(dim=1, keepdim=True) / bound).clamp_min(1)
    noise = layout.rows(after) - clipped
    chosen = noise.abs() > 1e-6
    assert 0.45 < chosen.double().mean() < 0.55
    assert noise[chosen].std().item() == pytest.approx(0.1 * bound, rel=0.01)
    assert defense.entry_variance == pytest.approx(0.5 * 0.01 * bound**2)
    small = {n: 1e-3 * g for n, g in given.items()}
    off = SlicePerturbation(variance=0.0, slices=8, clip=bound)(small)
    assert all(torch.equal(off[n], g) for n, g in small.items()), "a short gradient stays"
    told = layout.rows(defense.perturbed(given, after))
    assert 0.45 < told.double().mean() < 0.55, "clipping alone is no noise"


def test_the_layout_belongs_to_a_model_and_is_no_part_of_the_value():
    data, root = datasets.load("digits"), datasets.RootSet("digits", 6, seed=2)
    model = models.build("lenet4", input_shape=data.input_shape, num_classes=10, seed=0)
    bare = SlicePerturbation(0.3, root=root, slices=12, block=8)
    defense = bare.prepare(model, data)
    assert defense == bare and hash(defense) == hash(bare) and repr(defense) == repr(bare)
    assert bare.layout is None and defense.layout is not None
    images, labels = root.draw(data)
    risk = leakage_risk(model, images, labels, mean=data.mean, std=data.std, generator=gen(2))
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    assert defense.layout == slice_layout(sizes, 12, risk=risk, block=8)
    first, _ = chain(bare, SlicePerturbation(slices=4, block=8)).prepare(model, data).parts
    assert isinstance(first, SlicePerturbation) and first.layout == defense.layout
    by_size = SlicePerturbation(slices=12, block=8).prepare(model, data)
    assert by_size.layout == slice_layout(sizes, 12, block=8) != defense.layout
    given = {n: torch.zeros(1, *p.shape) for n, p in model.named_parameters()}
    with pytest.raises(ParameterError, match=r"call defense.prepare\(model, dataset\) first"):
        bare(given)
    with pytest.raises(ParameterError, match="has 12 slices, and the layout 4"):
        bare.with_layout(slice_layout(SIZES, 4))
    with pytest.raises(GradientError, match="made for another model"):
        defense(grads())
    with pytest.raises(ParameterError, match="names images of mnist, got the image set digits"):
        SlicePerturbation(root=datasets.RootSet("mnist")).prepare(model, data)
    with pytest.raises(ShapeError, match="does not take root images"):
        bare.prepare(models.build("lenet4", input_shape=(1, 8, 8), num_classes=10, seed=0), data)


def test_texts():
    text = 'slices(share=0.3, root=root_set(dataset="digits", images=20, bias=0.4), clip=1)'
    setup = parse(text)
    root = datasets.RootSet("digits", 20, bias=0.4)
    assert setup.defense == SlicePerturbation(0.3, root=root, clip=1) and str(setup) == text
    assert repr(setup.defense).startswith("SlicePerturbation(share=0.3, root=RootSet(")
    assert repr(root) in repr(setup.defense)
    assert str(parse("slices()").defense) == "slices()"
    with pytest.raises(UnknownNameError, match="Unknown value 'rootset'. Did you mean 'root_set'"):
        parse("slices(root=rootset())")
    with pytest.raises(ParameterError, match="root must be RootSet"):
        parse("slices(root=3)")
    with pytest.raises(UnknownNameError, match="Unknown value 'dp'"):
        parse("slices(root=dp())")


BAD = [
    (lambda: SlicePerturbation(0.0), r"share of perturbed slices must be in \(0, 1\], got 0"),
    (lambda: SlicePerturbation(1.1), r"must be in \(0, 1\], got 1.1"),
    (lambda: SlicePerturbation(math.nan), r"must be in \(0, 1\], got nan"),
    (lambda: SlicePerturbation(variance=-1.0), "variance must be finite and not negative, got -1"),
    (lambda: SlicePerturbation(variance=math.inf), "variance must be finite and not negative, got inf"),
    (lambda: SlicePerturbation(slices=0), "at least 1, got slices=0"),
    (lambda: SlicePerturbation(block=0), "got slices=10, block=0"),
    (lambda: SlicePerturbation(clip=0.0), "clipping bound must be positive and finite, got 0"),
    (lambda: SlicePerturbation(norm=0.5), "must be at least 1, got 0.5"),
    (lambda: SlicePerturbation(root="digits"), "root must be RootSet"),  # type: ignore[arg-type]
    (lambda: SlicePerturbation(slices=9)(grads()), "9 slices need as many blocks"),
    (lambda: slice_layout(SIZES, 0), "got slices=0"),
    (lambda: slice_layout({"d.weight": 32}, 2, risk=RISK), "risk is of the layers a, b, c, .* of d:"),
    (lambda: slice_layout(SIZES, 2, risk=risks(0.0, 0.0, 0.0)), "not all zero"),
    (lambda: slice_layout(SIZES, 2, risk=risks(1.0, math.nan, 1.0)), "must be finite"),
    (lambda: reservoir(3, 4), "Of 3 slices 1 to 3 can be drawn, got 4"),
    (lambda: reservoir(3, 0), "got 0"),
    (lambda: Layout(("a",), (4,), (0, 3)), "rise from 0 to the 4 entries"),
    (lambda: Layout(("a",), (4,), (0, 2, 2, 4)), "rise from 0"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "match"), BAD)
def test_bad_settings(make, match):
    with pytest.raises(ParameterError, match=match):
        make()


def test_the_risk_is_estimated_once_for_the_same_model(monkeypatch):
    data, root = datasets.load("digits"), datasets.RootSet("digits", 3, seed=77)
    calls = []
    monkeypatch.setattr(
        "gleak_lib.defenses.slices.leakage_risk",
        lambda model, *_, **__: (
            calls.append(model) or LeakageRisk(("a",), (1,), (float(len(calls)),), (0.0,))
        ),
    )

    def risk(**options):
        model = models.build(options.pop("name", "lenet4"), input_shape=data.input_shape, seed=0, **options)
        return estimated_risk(model.train(), data, root)

    first = risk()
    assert risk() == first and len(calls) == 1
    assert risk(activation="relu") != first and len(calls) == 2, "the same weights in another network"
    risk(name="convnet8", width=2)  # has counters of batches
    assert len(calls) == 3
