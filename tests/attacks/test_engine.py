"""The engine against a plain loop with torch's own optimizer, and everything it promises of its results."""

import dataclasses
import gc

import pytest
import torch
from torch import nn

from gleak_lib import models
from gleak_lib.attacks import (
    ATTACKS,
    Attack,
    Fixed,
    Given,
    Resample,
    engine,
    invert,
    observe,
    total_variation,
)
from gleak_lib.attacks import step as stepping
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.bottlenecks import CVB, PRECODE, insert
from gleak_lib.errors import GradientError, ParameterError, UnknownNameError
from gleak_lib.pixels import normalize

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def small(name="cnn", bottlenecks=(), victims=3, batch=1, dtype=torch.double, seed=0, **kw):
    g = torch.Generator().manual_seed(seed)
    model = models.build(name, num_classes=5, bottlenecks=bottlenecks, seed=seed).to(dtype)
    shape = (victims, 3, 32, 32) if batch == 1 else (victims, batch, 3, 32, 32)
    images = torch.nn.functional.avg_pool2d(
        torch.rand(*shape[:-3], 3, 40, 40, generator=g).flatten(0, -4), 9, 1
    )
    images = ((images - 0.5) * 3 + 0.5).clamp(0, 1).reshape(shape).to(dtype)
    labels = torch.randint(0, 5, shape[:-3], generator=g)
    return observe(model, images, labels, generator=g, mean=MEAN, std=STD, **kw), images


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def plain_attack(observation, attack, dummies, masks=None):
    """The attack of 001 §V-B as one would write it for one victim, with torch's Adam and scheduler."""
    model, results = observation.model, []
    low, high = (normalize(torch.full((3, 1, 1), v).double(), MEAN, STD) for v in (0.0, 1.0))
    for v in range(observation.victims):
        x = dummies[v].clone().requires_grad_()
        adam = torch.optim.Adam([x], lr=attack.optimizer.lr)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            adam,
            factor=attack.schedule.lr_decay,
            patience=attack.schedule.drop_after,
            threshold=attack.schedule.drop_threshold,
            eps=0,
        )
        names = [n for n, _ in model.named_parameters() if masks is None or n in masks]
        target = torch.cat([observation.gradients[n][v].flatten() for n in names])
        best, kept, losses, stale = float("inf"), None, [], 0
        for _ in range(attack.schedule.max_steps):
            adam.zero_grad()
            loss = nn.functional.cross_entropy(model(x), observation.labels[v])
            parameters = dict(model.named_parameters())
            grads = torch.autograd.grad(loss, [parameters[n] for n in names], create_graph=True)
            dummy = torch.cat([g.flatten() for g in grads])
            objective = 1 - dummy @ target / dummy.norm() / target.norm()
            objective = objective + attack.settings["tv"] * total_variation(x[None])[0]
            losses.append(objective.item())
            stale += 1
            if losses[-1] < best:
                best, kept, stale = losses[-1], x.detach().clone(), 0
            if losses[-1] < attack.schedule.stop_below or (
                attack.schedule.stop_after and stale >= attack.schedule.stop_after
            ):
                break
            (x.grad,) = torch.autograd.grad(objective, x)
            if attack.optimizer.signed:
                x.grad.sign_()
            adam.step()
            with torch.no_grad():
                x.copy_(torch.maximum(torch.minimum(x, high), low))
            plateau.step(losses[-1])
        results.append((kept, best, losses))
    return results


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"signed": False, "lr": 0.1, "tv": 0.1},
        {"drop_after": 3, "drop_threshold": 0.05, "lr_decay": 0.5},
        {"stop_after": 2, "lr": 3.0},
        {"stop_below": 0.3},
    ],
    ids=str,
)
def test_engine_equals_a_plain_loop_with_torchs_adam_and_scheduler(changes):
    observation, _ = small()
    attack = ATTACKS["ig"].replace(max_steps=25, **changes)
    found = invert(observation, attack, generator=rng())
    stream = torch.Generator().manual_seed(int(torch.randint(2**62, (1,), generator=rng())))
    dummies = torch.randn((3, 1, 3, 32, 32), dtype=torch.double, generator=stream)
    for v, (kept, best, losses) in enumerate(plain_attack(observation, attack, dummies)):
        assert found.steps[v] == len(losses)
        assert found.loss[v].item() == pytest.approx(best, abs=1e-10)
        torch.testing.assert_close(
            found.trace[: len(losses), v], torch.tensor(losses, dtype=torch.double), atol=1e-9, rtol=0
        )
        assert found.trace[len(losses) :, v].isnan().all()
        torch.testing.assert_close(
            normalize(found.images[v : v + 1], MEAN, STD), kept.clamp(*_box()), atol=1e-8, rtol=0
        )


def _box():
    low = normalize(torch.zeros(3, 1, 1).double(), MEAN, STD)
    return low, normalize(torch.ones(3, 1, 1).double(), MEAN, STD)


def test_stopped_victims_leave_the_batch_without_changing_the_others(monkeypatch):
    observation, _ = small(bottlenecks=PRECODE(3, 4), victims=5)
    attack = ATTACKS["ig"].replace(max_steps=120, stop_after=4)
    monkeypatch.setattr(engine, "CHECK_EVERY", 5)
    sizes = []
    plain = stepping.Step.eager

    def spy(self, state, *rest):
        sizes.append(len(state.progress.lr))
        return plain(self, state, *rest)

    monkeypatch.setattr(stepping.Step, "eager", spy)
    compacted = invert(observation, attack, generator=rng())
    assert sizes[0] == 5
    assert sizes[-1] < 5
    monkeypatch.setattr(stepping, "COMPACT_BELOW", 0.0)
    sizes.clear()
    whole = invert(observation, attack, generator=rng())
    assert set(sizes) == {5}
    assert torch.equal(compacted.steps, whole.steps)
    assert len(set(whole.steps.tolist())) > 1, "the case must have victims that stop at different steps"
    torch.testing.assert_close(compacted.images, whole.images, atol=1e-9, rtol=0)
    torch.testing.assert_close(compacted.loss, whole.loss)


def test_the_attack_finds_the_image():
    """Not only a lower loss: a plain CNN's gradients give back what was put in."""
    observation, images = small(victims=4, dtype=torch.float32)
    found = invert(observation, ATTACKS["ig"].replace(max_steps=400, lr=0.3, drop_after=80), generator=rng())
    error = (found.images - images).square().mean((1, 2, 3))
    guess = (images.flip(0) - images).square().mean((1, 2, 3))
    assert (error < 0.2 * guess).all(), (error, guess)


def test_ignore_matches_only_what_precedes_the_decoder():
    observation, _ = small(bottlenecks=CVB(1, 3))
    kept = {n for n in observation.gradients if n.startswith(("stage1", "bottleneck1.encoder"))}
    gradients = {n: g if n in kept else torch.randn_like(g) for n, g in observation.gradients.items()}
    spoiled = dataclasses.replace(observation, gradients=gradients)
    attack = ATTACKS["ignore"].replace(max_steps=5)
    assert torch.equal(
        invert(observation, attack, generator=rng()).images, invert(spoiled, attack, generator=rng()).images
    )
    everything = ATTACKS["ig"].replace(max_steps=5)
    assert not torch.equal(
        invert(observation, everything, generator=rng()).images,
        invert(spoiled, everything, generator=rng()).images,
    )


def test_exclude_equals_the_remaining_groups():
    observation, _ = small(bottlenecks=PRECODE(3, 4))
    some = Attack().replace(max_steps=4, layers=("stage1", "stage2", "stage3", "bottleneck3.encoder", "head"))
    rest = Attack().replace(max_steps=4, exclude=("bottleneck3.decoder",))
    assert torch.equal(
        invert(observation, some, generator=rng()).images, invert(observation, rest, generator=rng()).images
    )


def test_noise_given_fixed_and_resampled():
    observation, _ = small(bottlenecks=CVB(1, 3), share_noise=True)
    for noise, constant in [(Given(), True), (Fixed(), True), (Resample(), False)]:
        attack = Attack().replace(
            noise=noise, max_steps=3, lr=1e-12, tv=0.0, clip=False
        )  # the dummy stands still
        spread = invert(observation, attack, generator=rng()).trace.std(0).max().item()
        assert (spread < 1e-9) == constant, (noise, spread)
    blind = dataclasses.replace(observation, noise=None)
    with pytest.raises(ParameterError, match="grants the noise"):
        invert(blind, Attack().replace(noise=Given(), max_steps=1), generator=rng())


def test_loss_is_zero_at_the_truth_with_the_true_noise():
    observation, images = small(bottlenecks=(CVB(1, 3), PRECODE(3, 4)), share_noise=True)
    attack = Attack().replace(tv=0.0)
    objective = Objective(observation, attack, tuple(observation.gradients))
    x = {"image": normalize(images, MEAN, STD)[:, None]}
    problem = Problem.of(observation, observation.labels)
    assert objective.loss(x, problem, observation.noise).abs().max() < 1e-12
    other = tuple(torch.randn_like(n) for n in observation.noise)
    assert objective.loss(x, problem, other).min() > 1e-3


def test_draws_average_the_dummy_gradient():
    observation, images = small(bottlenecks=CVB(1, 3), victims=2)
    x = normalize(images, MEAN, STD)[:, None]
    problem = Problem.of(observation, observation.labels)
    noise = torch.randn(2, 3, 8, 14, 14, dtype=torch.double)
    names = tuple(observation.gradients)
    averaged = Objective(observation, Attack().replace(noise_samples=3, distance="l2", tv=0.0), names).loss(
        {"image": x}, problem, (noise.flatten(0, 1),)
    )
    from gleak_lib.gradients import per_victim_gradients, prepare

    single = [
        per_victim_gradients(
            prepare(observation.model, 1), x[:, 0], observation.labels[:, 0], victims=2, noise=(noise[:, i],)
        )[0]
        for i in range(3)
    ]
    mean = {n: sum(s[n] for s in single) / 3 for n in names}
    expected = sum((mean[n] - observation.gradients[n]).flatten(1).square().sum(1) for n in names)
    torch.testing.assert_close(averaged, expected)


def test_trials_keep_the_lowest_loss_of_each_victim():
    observation, _ = small()
    attack = ATTACKS["ig"].replace(max_steps=5)
    source = rng()
    singles = [invert(observation, attack, generator=source) for _ in range(3)]
    best = invert(observation, attack.replace(restarts=3), generator=rng())
    losses = torch.stack([s.loss for s in singles])
    torch.testing.assert_close(best.loss, losses.min(0).values)
    for v, winner in enumerate(losses.argmin(0)):
        assert torch.equal(best.images[v], singles[winner].images[v])


def test_keep_next_returns_the_iterate_a_step_further():
    observation, _ = small()
    evaluated = invert(observation, Attack().replace(max_steps=1), generator=rng())
    further = invert(observation, Attack().replace(max_steps=1, keep="next"), generator=rng())
    assert torch.equal(evaluated.loss, further.loss)
    assert not torch.equal(evaluated.images, further.images)


def test_batches_come_back_as_batches():
    observation, images = small(victims=2, batch=3, bottlenecks=CVB(1, 3))
    found = invert(observation, ATTACKS["ignore"].replace(max_steps=3, noise_samples=2), generator=rng())
    assert found.images.shape == images.shape
    assert found.labels.shape == (2, 3)


@pytest.mark.parametrize("name", ["ig", "idlg"])
def test_a_compiled_step_equals_the_plain_one(name):
    observation, _ = small(bottlenecks=CVB(1, 3), dtype=torch.float32, victims=2)
    attack = ATTACKS[name].replace(max_steps=3)
    attack = attack.replace(inner_steps=3) if name == "idlg" else attack
    plain = invert(observation, attack, generator=rng())
    fused = invert(observation, attack, generator=rng(), compile=True)
    torch.testing.assert_close(fused.trace, plain.trace, atol=1e-4, rtol=1e-4)


def test_without_a_compiler_the_step_runs_plainly_and_says_so_once(monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("no compiler found")

    monkeypatch.setattr(torch, "compile", broken)
    observation, _ = small(dtype=torch.float32)
    attack = ATTACKS["ig"].replace(max_steps=3)
    with pytest.warns(UserWarning, match="runs uncompiled: no compiler found") as seen:
        fused = invert(observation, attack, generator=rng(), compile=True)
    assert len(seen) == 1
    assert torch.equal(fused.images, invert(observation, attack, generator=rng()).images)


def test_a_users_module_with_an_inserted_bottleneck():
    net = nn.Sequential(nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))
    model = insert(net, after="1", spec=CVB(kernel_size=3), input_shape=(3, 32, 32), seed=0)
    images, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 4])
    observation = observe(model, images, labels, generator=rng())
    found = invert(observation, ATTACKS["ignore"].replace(max_steps=3), generator=rng())
    assert found.images.shape == images.shape


def test_progress_bar_shows_what_is_left(capsys):
    observation, _ = small(dtype=torch.float32)
    invert(observation, ATTACKS["ig"].replace(max_steps=3), generator=rng(), progress=True)
    shown = capsys.readouterr().err
    assert "ig" in shown
    assert "victims=3" in shown
    assert "loss=" in shown
    assert "step/s" in shown or "s/step" in shown


def test_a_victim_whose_loss_is_not_finite_stops_alone():
    observation, _ = small(dtype=torch.float32)
    step = stepping.Step(observation, Attack(), tuple(observation.gradients))
    x = torch.randn(3, 1, 3, 32, 32)
    x[1] = torch.nan
    state = step.start({"image": x})
    problem = Problem.of(observation, observation.labels)
    state, _ = step(state, problem, (), 1)
    assert state.progress.active.tolist() == [True, False, True]
    assert torch.isfinite(state.unknowns["image"][[0, 2]]).all()


def test_no_tensor_is_kept_a_step():
    observation, _ = small()
    alive = {}

    def count(step, *_):
        if step in (30, 130):
            alive[step] = sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    endless = ATTACKS["ig"].replace(max_steps=130, stop_after=0, stop_below=0.0)
    found = invert(observation, endless, generator=rng(), callback=count)
    assert alive[30] == alive[130]
    assert found.trace.shape == (130, 3) and torch.isfinite(found.trace).all()


def test_what_invert_refuses():
    observation, _ = small(bottlenecks=PRECODE(3, 4))
    gradients = observation.gradients
    nan = dataclasses.replace(
        observation, gradients=gradients | {"head.1.bias": torch.full((3, 5), torch.nan)}
    )
    with pytest.raises(GradientError, match="head.1.bias has NaN"):
        invert(nan, ATTACKS["ig"])
    renamed = dataclasses.replace(observation, gradients={f"x{n}": g for n, g in gradients.items()})
    with pytest.raises(GradientError, match="The gradients lack"):
        invert(renamed, ATTACKS["ig"])
    with pytest.raises(UnknownNameError, match="Unknown parameter group 'stage9'. Did you mean 'stage"):
        invert(observation, Attack().replace(layers=("stage9",)))
    with pytest.raises(ParameterError, match="mask keeps no gradients: choose among stage1"):
        invert(observation, Attack().replace(layers=()))
    with pytest.raises(ParameterError, match="mask keeps no gradients"):
        invert(observation, Attack().replace(layers=("stage1",), exclude=("stage1",)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_no_step_waits_for_the_host():
    observation, _ = small(bottlenecks=CVB(1, 3), dtype=torch.float32)
    model = observation.model.cuda()
    gradients = {n: g.cuda() for n, g in observation.gradients.items()}
    labels = observation.labels.cuda()
    there = dataclasses.replace(observation, model=model, gradients=gradients, labels=labels)
    attack = ATTACKS["ig"]
    step = stepping.Step(there, attack, tuple(gradients))
    generator = torch.Generator("cuda").manual_seed(0)
    state = step.start({"image": torch.randn(3, 1, 3, 32, 32, device="cuda")})
    problem = stepping.Problem.of(there, labels)
    noise = tuple(torch.randn(3, *s, device="cuda", generator=generator) for s in model.noise_shapes)
    state, _ = step(state, problem, noise, 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(state, problem, noise, 2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
