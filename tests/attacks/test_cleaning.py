"""Attackers who know that slices are perturbed: muting, combining, compensating."""

import dataclasses

import pytest
import torch

from gleak_lib import datasets, models
from gleak_lib.attacks import (
    ATTACKS,
    Cleaning,
    CombineUpdates,
    CompensateUpdates,
    MuteSlices,
    invert,
    join,
    loss_at_truth,
    observe,
)
from gleak_lib.attacks.cleaning import muted, noisy_entries, perturbed_slices
from gleak_lib.defenses import Compression, Defense, Gaussian, SlicePerturbation, chain
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackExperiment, TrainingExperiment, encoding, run

DEFENSE = SlicePerturbation(0.3, slices=20, block=8)
KNOWLEDGE = ("choice", "layout", "variance")


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model():
    return models.build("lenet4", input_shape=(1, 16, 16), num_classes=3, seed=0)


def seen(model, defense: Defense | None = DEFENSE, seed=0, **options):
    images = torch.rand(4, 1, 16, 16, generator=gen(1))
    return observe(model, images, torch.arange(4) % 3, defense=defense, generator=gen(seed), **options)


def flat(gradients):
    return torch.cat([g.flatten(1) for g in gradients.values()], 1)


def test_what_was_perturbed_is_told_only_where_it_is_granted(model):
    plain, granted = seen(model, None), seen(model, share_perturbed=True)
    assert seen(model).perturbed is None and seen(model, None, share_perturbed=True).perturbed is None
    assert granted.perturbed is not None
    same = flat(plain.gradients) == flat(granted.gradients)
    assert torch.equal(flat(granted.perturbed), ~same) and 0.2 < (~same).double().mean() < 0.4


@pytest.mark.parametrize("clip", [None, 0.5])
def test_perturbed_slices_are_found_by_their_entries(model, clip):
    defense = dataclasses.replace(DEFENSE, clip=clip)
    granted = seen(model, defense, share_perturbed=True)
    layout = defense.layout_of(granted.gradients)
    chosen = perturbed_slices(granted.gradients, layout, 6, defense.deviation)
    assert (chosen.sum(1) == 6).all()
    truth = flat(granted.perturbed)
    agree = layout.entries(chosen) == truth
    assert agree.double().mean() > 0.99
    found = flat(noisy_entries(granted.gradients, 64, defense.deviation))
    assert (found == truth).double().mean() > 0.95 and (found & truth).sum() >= 0.999 * truth.sum()


@pytest.mark.parametrize("window", [2, 5, 8, 200])
def test_noisy_entries_by_a_slow_loop(window):
    gradients = {"a": torch.randn(2, 4, 5, generator=gen(2)), "b": 3 * torch.randn(2, 30, generator=gen(3))}
    rows = flat(gradients)
    expected = torch.zeros_like(rows, dtype=torch.bool)
    length = min(window, 50)
    for row, marks in zip(rows, expected, strict=True):
        for start in range(50 - length + 1):
            steps = row[start : start + length].diff().abs().sort().values
            ratio = steps[len(steps) // 2] / (0.6745 * 2**0.5 * 1.5)
            if 0.5 < ratio < 2:
                marks[start : start + length] = True
    found = noisy_entries(gradients, window, 1.5)
    assert torch.equal(flat(found), expected) and found["a"].shape == (2, 4, 5)
    assert expected.any() and (window == 200 or not expected.all())


@pytest.mark.parametrize("clip", [0.5, None])
def test_loud_noise_is_found_whole_without_the_layout(model, clip):
    variance = DEFENSE.variance * (1 if clip else 1e4)
    granted = seen(model, dataclasses.replace(DEFENSE, clip=clip, variance=variance), share_perturbed=True)
    found = flat(MuteSlices("variance", 64)(granted).gradients) == 0
    truth = flat(granted.perturbed)
    assert found[truth].all() and found[~truth].double().mean() < 0.03


@pytest.mark.parametrize("knows", KNOWLEDGE)
def test_muted_entries_are_zero_and_no_others(model, knows):
    plain, granted = seen(model, None), seen(model, share_perturbed=True)
    clean = MuteSlices(knows)(granted)
    assert clean.perturbed is None and clean.defense == DEFENSE
    zero = flat(clean.gradients) == 0
    assert (zero == flat(granted.perturbed)).double().mean() > 0.95
    kept = ~zero & ~flat(granted.perturbed)
    torch.testing.assert_close(flat(clean.gradients)[kept], flat(plain.gradients)[kept])
    mask = {"a": torch.tensor([[True, False, False]])}
    tiny = muted({"a": torch.tensor([[3.0, 0.0, -2.0]])}, mask)["a"]
    assert tiny.tolist() == [[0.0, pytest.approx(3e-12), -2.0]], "a zero that is matched is not a muted one"


def test_the_truth_has_no_loss_where_the_noise_is_muted(model):
    attack = ATTACKS["ig"].replace(estimate="sparsity", tv=0.0, max_steps=2)
    images = torch.rand(4, 1, 16, 16, generator=gen(1))
    noisy = seen(model, share_perturbed=True)
    losses = [
        loss_at_truth(one, attack, images, torch.arange(4) % 3, ())
        for one in (noisy, MuteSlices("choice")(noisy))
    ]
    assert (losses[0] > 0.05).all() and (losses[1] < 1e-5).all()
    found = invert(MuteSlices("choice")(noisy), attack, generator=gen())
    assert found.images.shape == images.shape


def test_updates_of_the_same_weights_are_combined(model):
    plain = seen(model, None)
    several = join([seen(model, seed=seed, share_perturbed=True) for seed in range(5)])
    errors = {}
    for by in ("mean", "median"):
        one = CombineUpdates(by)(several)
        assert one.later == () and one.perturbed is None and one.victims == 4
        errors[by] = float((flat(one.gradients) - flat(plain.gradients)).square().mean())
    assert errors["mean"] == pytest.approx(DEFENSE.entry_variance / 5, rel=0.15)
    stack = torch.stack([flat(p.gradients) for p in (several, *several.later)])
    torch.testing.assert_close(flat(CombineUpdates("median")(several).gradients), stack.median(0).values)
    assert errors["median"] < errors["mean"] / 4
    same = flat(CombineUpdates("median")(several).gradients) == flat(plain.gradients)
    mostly = torch.stack([~flat(p.perturbed) for p in (several, *several.later)]).sum(0) >= 3
    assert same[mostly].all(), "what was left alone by most is known"
    alone = CombineUpdates("median")(seen(model))
    assert torch.equal(flat(alone.gradients), flat(seen(model).gradients))
    other = models.build("lenet4", input_shape=(1, 16, 16), num_classes=3, seed=1)
    with pytest.raises(ParameterError, match="only if they were computed with the same weights"):
        CombineUpdates()(join([seen(model), seen(other)]))


def test_a_clients_update_is_compensated_as_the_server_does_it(model):
    noisy, plain = seen(model, dataclasses.replace(DEFENSE, share=1.0)), seen(model, None)
    clean = CompensateUpdates()(noisy)
    before, after = (float((flat(o.gradients) - flat(plain.gradients)).norm()) for o in (noisy, clean))
    assert after < 0.7 * before
    several = join([seen(model, seed=seed) for seed in range(4)])
    both = CompensateUpdates(updates=4)(CombineUpdates()(several))
    assert float((flat(both.gradients) - flat(plain.gradients)).norm()) < before


BAD = [
    (lambda m: MuteSlices("all"), UnknownNameError, "Unknown knowledge 'all'"),  # type: ignore[arg-type]
    (lambda m: MuteSlices(window=0), ParameterError, "window must be at least 2, got 0"),
    (lambda m: CombineUpdates("max"), UnknownNameError, "Unknown statistic 'max'"),  # type: ignore[arg-type]
    (lambda m: CompensateUpdates(0.5), ParameterError, "must be at least 1, got 0.5"),
    (lambda m: CompensateUpdates(updates=0), ParameterError, "updates must be at least 1, got 0"),
    (lambda m: MuteSlices()(seen(m, None)), ParameterError, r"must be slices\(...\), got None"),
    (lambda m: MuteSlices()(seen(m, Gaussian())), ParameterError, r"must be slices\(...\), got gaussian"),
    (lambda m: MuteSlices("choice")(seen(m)), ParameterError, "share_perturbed=True"),
]


@pytest.mark.parametrize(("make", "error", "match"), BAD)
def test_bad_cleanings(model, make, error, match):
    with pytest.raises(error, match=match):
        make(model)


def test_slices_are_found_in_a_chain(model):
    noisy = seen(model, chain(DEFENSE, Compression(0.1)))
    assert (flat(MuteSlices()(noisy).gradients) == 0).double().mean() > 0.25


def test_cells_hold_and_run_them(store):
    root = datasets.RootSet("digits", 4)
    attack = ATTACKS["ig"].replace(max_steps=2, estimate="sparsity")
    plain = AttackExperiment(
        TrainingExperiment("digits", "lenet4"),
        attack=attack,
        victims=2,
        defense=SlicePerturbation(0.3, root=root, slices=20, block=8),
    )
    cells = [
        plain,
        dataclasses.replace(plain, cleaning=(MuteSlices("choice"),)),
        dataclasses.replace(plain, cleaning=(MuteSlices("layout"),)),
        dataclasses.replace(plain, updates=3, cleaning=(CombineUpdates(), CompensateUpdates(updates=3))),
    ]
    assert len({cell.key for cell in cells}) == 4
    assert all(encoding.decode(encoding.encode(cell)) == cell for cell in cells)
    assert "defense slices(share=0.3" in cells[2].describe() and cells[2].describe().endswith(
        "after mute_slices(), seed 0"
    )
    results = run(cells, store, device="cpu", progress=False)
    losses = [sum(result.figures["loss_at_truth"]) for result in results]
    assert losses[1] < 0.1 * losses[0] and losses[2] < 0.5 * losses[0]
    with pytest.raises(ParameterError, match=r"mute_slices\(\) needs an attack with estimate='sparsity'"):
        dataclasses.replace(cells[1], cleaning=(MuteSlices(),), attack=ATTACKS["ig"])


def test_cleanings_derive_from_one_class():
    assert all(issubclass(cls, Cleaning) for cls in (MuteSlices, CombineUpdates, CompensateUpdates))
    with pytest.raises(TypeError, match="abstract"):
        Cleaning()  # type: ignore[abstract]
