"""Hand-filled observations: what does not fit is refused with a sentence, by `check` and so by `invert`."""

import dataclasses
import warnings

import pytest
import torch
from torch import nn

from gleak_lib import models
from gleak_lib.attacks import (
    ATTACKS,
    DISTANCES,
    Known,
    Match,
    check,
    engine,
    gradient_distance,
    invert,
    join,
    loss_at_truth,
    observe,
)
from gleak_lib.attacks.objective import Problem
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.errors import AttackError, GradientError, ParameterError, ShapeError
from gleak_lib.metrics import ssim

IG = ATTACKS["ig"].replace(max_steps=8, lr=0.1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def build(name="lenet", **kw):
    return models.build(name, input_shape=(3, 8, 8), num_classes=5, seed=0, **kw)


PIXELS = torch.rand(4, 3, 8, 8, generator=rng())
LABELS = torch.arange(4)
MODEL = build()
SEEN = observe(MODEL, PIXELS, LABELS, mean=0.5, std=0.25)
NOISY = observe(build(bottlenecks=PRECODE(1, 2)), PIXELS, LABELS, share_noise=True, generator=rng())


def each(change):
    return {name: change(g) for name, g in SEEN.gradients.items()}


def one(name, value):
    return SEEN.gradients | {name: value}


FIRST = next(iter(SEEN.gradients))
BROKEN = [
    ({"gradients": each(torch.Tensor.double)}, GradientError, "is float64 on cpu, and the parameter float32"),
    ({"gradients": each(torch.Tensor.half)}, GradientError, "is float16 on cpu"),
    ({"gradients": each(torch.Tensor.long)}, GradientError, "is int64 on cpu"),
    ({"gradients": one(FIRST, SEEN.gradients[FIRST].double())}, GradientError, f"{FIRST} is float64"),
    ({"gradients": each(torch.zeros_like)}, GradientError, "zero everywhere: there is nothing to match"),
    ({"gradients": each(lambda g: g.numpy())}, ParameterError, r"gradients must be dict\[str, Tensor\]"),
    ({"gradients": list(SEEN.gradients.values())}, ParameterError, r"Tensor\], got list of Tensor"),
    ({"gradients": {}}, GradientError, "lack"),
    ({"gradients": each(lambda g: g[0])}, GradientError, "expected V x"),
    ({"gradients": one(FIRST, SEEN.gradients[FIRST] * torch.nan)}, GradientError, "NaN or infinite"),
    ({"labels": LABELS[:, None] + 5}, ShapeError, r"in \[0, 4\] for this model's 5 logits, got \[5, 8\]"),
    ({"labels": LABELS[:, None] - 1}, ShapeError, r"got \[-1, 2\]"),
    ({"labels": LABELS[:2, None]}, ShapeError, r"labels must be \(4, 1\) class indices .*, got \(2, 1\)"),
    ({"labels": LABELS}, ShapeError, r"got \(4,\) torch.int64"),
    ({"labels": LABELS[:, None] + 0.5}, ShapeError, "torch.float32"),
    ({"labels": [[0], [1], [2], [3]]}, ParameterError, r"labels must be Tensor \| None, got list"),
    ({"batch_size": 2}, ShapeError, r"labels must be \(4, 2\)"),
    ({"batch_size": 0}, ShapeError, "batch_size must be at least 1, got 0"),
    ({"batch_size": 1.0}, ParameterError, "batch_size must be int"),
    ({"input_shape": (3, 8)}, ShapeError, "input_shape must be C, H, W"),
    ({"input_shape": (3, 8, 0)}, ShapeError, "each at least 1"),
    ({"input_shape": (3, 9, 9)}, ShapeError, r"\(3, 9, 9\)|images of shape"),
    ({"mean": (0.5, 0.5)}, ShapeError, "mean must have 3 values"),
    ({"mean": (0.5, 0.5, float("nan"))}, ShapeError, "mean must be finite"),
    ({"mean": 0.5}, ParameterError, r"mean must be tuple\[float, \.\.\.\], got 0.5"),
    ({"std": (0.5, 0.5, 0.0)}, ShapeError, "std must be positive and finite"),
    ({"std": (0.5, 0.5, -1.0)}, ShapeError, "std must be positive"),
    ({"std": (0.5, 0.5, float("inf"))}, ShapeError, "std must be positive and finite"),
    ({"std": (0.5, 0.5, float("nan"))}, ShapeError, "std must be positive and finite"),
    ({"noise": (torch.zeros(4, 2),)}, ShapeError, r"one tensor a bottleneck, N x map each, \[\], got"),
    ({"statistics": {"stage1.0": torch.zeros(4, 2, 8)}}, ShapeError, "'stage1.0' is none of them"),
    ({"model": None}, ParameterError, "model must be Module, got None"),
    ({"model": build("lenet4")}, GradientError, "lack|parameters|expected V"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), BROKEN)
def test_what_does_not_fit_is_refused_before_anything_is_computed(change, error, message):
    with pytest.raises(error, match=message):
        check(dataclasses.replace(SEEN, **change))
    with pytest.raises(error, match=message):
        invert(dataclasses.replace(SEEN, **change), IG)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ((), r"\[\(4, 2\)\], got \[\]"),
        ((torch.zeros(3, 2),), r"got \[\(3, 2\)\]"),
        ((torch.full((4, 2), torch.inf),), "noise must be finite"),
        ((torch.zeros(4, 2).double(),), "torch.float32, as the gradients"),
    ],
)
def test_noise_that_is_not_the_bottlenecks_is_refused(noise, message):
    check(NOISY)
    with pytest.raises(ShapeError, match=message):
        check(dataclasses.replace(NOISY, noise=noise))


@pytest.mark.parametrize(
    "values", [torch.zeros(3, 2, 8), torch.full((4, 2, 8), torch.nan), torch.zeros(4, 8)]
)
def test_statistics_that_are_not_the_victims_are_refused(values):
    norm = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 5)).train()
    pairs = PIXELS.repeat(2, 1, 1, 1).unflatten(0, (4, 2))
    seen = observe(norm, pairs, LABELS.repeat(2), share_statistics=True)
    check(seen)
    with pytest.raises(ShapeError, match=r"statistics of 1 must be finite and \(4, 2, 8\)"):
        check(dataclasses.replace(seen, statistics={"1": values}))


def test_updates_on_other_labels_are_not_joined():
    others = observe(MODEL, PIXELS, (LABELS + 1) % 5, mean=0.5, std=0.25)
    with pytest.raises(ParameterError, match=r"other labels, got \[0, 1, 2, 3\] and \[1, 2, 3, 4\]"):
        join([SEEN, others])
    with pytest.raises(ParameterError, match="other labels"):  # filled in by hand
        check(dataclasses.replace(SEEN, later=(others,)))
    unknown = dataclasses.replace(others, labels=None)
    assert join([SEEN, unknown]).later == (unknown,)


def test_a_check_draws_no_random_number_and_changes_no_figure():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    check(NOISY)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_victims_without_a_gradient_are_named():
    gone = each(lambda g: g.index_fill(0, torch.tensor([2]), 0))
    with pytest.warns(UserWarning, match="gradients of victim 2 of 4 are zero everywhere") as said:
        found = invert(dataclasses.replace(SEEN, gradients=gone), IG, generator=rng())
    assert said[0].filename == __file__
    assert not found.failed.any()


def test_an_attack_whose_loss_is_never_finite_fails():
    with pytest.raises(AttackError, match=r"loss of 'ig' was never finite for 4 of 4 victims \(0, 1, 2, 3\)"):
        invert(SEEN, IG.replace(tv=1e308))
    with pytest.raises(AttackError, match="no protection"):
        invert(SEEN, ATTACKS["dlg"].replace(max_steps=2, label_weight=1e308, labels=Known()))


def test_where_it_fails_for_some_victims_these_are_named_and_nothing_is_shown_of_them():
    huge = each(lambda g: g * torch.tensor([1, 1e25, 1, 1]).view(-1, *[1] * (g.dim() - 1)))
    with pytest.warns(UserWarning, match="never finite for victim 1 of 4") as said:
        found = invert(dataclasses.replace(SEEN, gradients=huge), IG.replace(distance="l2"), generator=rng())
    assert said[0].filename == __file__
    assert found.failed.tolist() == [False, True, False, False]
    assert found.images[1].isnan().all() and found.images[0].isfinite().all() and found.loss[1].isnan()
    plain = invert(SEEN, IG.replace(distance="l2"), generator=rng())
    assert torch.equal(found.images[[0, 2, 3]], plain.images[[0, 2, 3]])
    with pytest.raises(ShapeError, match="NaN"):
        ssim(torch.nn.functional.interpolate(found.images, (16, 16)), torch.zeros(4, 3, 16, 16))


@pytest.mark.parametrize("distance", ["cosine", "layerwise"])
@pytest.mark.parametrize("factor", [2.0**-80, 2.0**-47, 2.0**50, 2.0**66])
def test_distances_without_a_scale_have_none(distance, factor):
    attack = IG.replace(distance=distance, max_steps=12)
    scaled = dataclasses.replace(SEEN, gradients=each(lambda g: g * factor))
    whole, found = (invert(seen, attack, generator=rng(1)) for seen in (SEEN, scaled))
    assert torch.equal(found.images, whole.images) and torch.equal(found.loss, whole.loss)
    assert torch.equal(gradient_distance(scaled, attack, whole), gradient_distance(SEEN, attack, whole))
    assert torch.equal(
        loss_at_truth(scaled, attack, PIXELS, LABELS), loss_at_truth(SEEN, attack, PIXELS, LABELS)
    )


def test_only_what_would_leave_the_range_of_floats_is_scaled():
    kept = Problem.of(SEEN, SEEN.labels, None, IG.match)
    assert all(kept.target[name] is g for name, g in SEEN.gradients.items())
    far = dataclasses.replace(SEEN, gradients=each(lambda g: g * 2.0**66))
    for match in (Match("l2"), Match(estimate="clipping"), None):  # the scale matters there
        assert Problem.of(far, far.labels, None, match).target[FIRST] is far.gradients[FIRST]
    # a new distance has a scale or has none: say so
    assert set(DISTANCES) == {"cosine", "layerwise", "l2", "mean-l2"}


class Scaled(nn.Module):
    """A model with a parameter that is a single number, as CLIP's logit scale."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.scale * self.body(x)


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("changes", [{}, {"estimate": "clipping"}, {"weighting": "none"}], ids=str)
def test_a_parameter_may_be_a_single_number(distance, changes):
    seen = observe(Scaled(), PIXELS, LABELS)
    assert seen.gradients["scale"].shape == (4,)
    found = invert(seen, IG.replace(distance=distance, **changes), generator=rng())
    assert found.loss.isfinite().all()
    exact = loss_at_truth(seen, IG.replace(distance=distance, tv=0.0, **changes), PIXELS, LABELS)
    assert exact.abs().max() < 1e-5


def test_steps_without_end_take_no_memory_before_they_are_made(monkeypatch):
    found = invert(SEEN, IG.replace(max_steps=10**12, stop_below=10.0), generator=rng())
    assert found.steps.tolist() == [1] * 4
    few = invert(SEEN, IG.replace(max_steps=60), generator=rng())
    monkeypatch.setattr(engine, "ROOM", 25)
    grown = invert(SEEN, IG.replace(max_steps=60), generator=rng())
    assert torch.equal(few.trace, grown.trace) and len(grown.trace) == 60


def test_the_truth_must_be_pixels():
    with pytest.raises(ShapeError, match="images must be finite"):
        loss_at_truth(SEEN, IG, PIXELS * torch.nan, LABELS)


def test_nothing_is_said_of_what_fits():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        invert(SEEN, IG, generator=rng())
