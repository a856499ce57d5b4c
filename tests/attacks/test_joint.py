"""The bottlenecks' noise as an unknown: its loss, its priors, its two forms, and what is recovered."""

import dataclasses

import pytest
import torch
from torch import nn

from gleak_lib import gradients, models
from gleak_lib.attacks import (
    ATTACKS,
    Attack,
    Given,
    Optimize,
    Optimized,
    Resample,
    invert,
    join,
    loss_at_truth,
    observe,
    total_variation,
)
from gleak_lib.attacks import noise as noises
from gleak_lib.attacks.match import inverse_deviations
from gleak_lib.attacks.noise import to_noise, to_samples
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.step import Step
from gleak_lib.attacks.unknowns import flatten, unflatten
from gleak_lib.bottlenecks import CVB, PRECODE, insert
from gleak_lib.defenses import AverageNoise
from gleak_lib.errors import ParameterError, ShapeError, UnknownNameError
from gleak_lib.types import ForwardPass

JOINT = ATTACKS["joint"]
TWO = (CVB(1, 3, beta=0.3), PRECODE(2, 3))


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def seen(bottlenecks=TWO, victims=3, batch=1, dtype=torch.double, seed=0, name="lenet", **options):
    model = models.build(name, input_shape=(2, 8, 8), num_classes=4, bottlenecks=bottlenecks, seed=seed).to(
        dtype
    )
    images = torch.rand(victims, batch, 2, 8, 8, generator=rng(0), dtype=dtype)
    labels = (torch.arange(victims * batch) % 4).reshape(victims, batch)
    if batch == 1:
        images, labels = images[:, 0], labels[:, 0]
    kw = {"mean": 0.4, "std": 0.3, "share_noise": True} | options
    return observe(model, images, labels, generator=rng(seed + 5), **kw), images, labels


def correlation(found, true):
    """Victim by victim, over all bottlenecks."""
    rows = [torch.cat([n.flatten(1) for n in noise], 1) for noise in (found, true)]
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*rows, strict=True)])


@pytest.mark.parametrize("form", ["eps", "z"])
@pytest.mark.parametrize("name", ["lenet", "vit"])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_loss_is_zero_at_the_truth(form, name, batch):
    """With the KL term in the dummy's loss, its gradient is the client's to the last digit."""
    if name == "vit":
        observation, images, labels = vit(batch)
    else:
        observation, images, labels = seen(batch=batch)
    attack = JOINT.replace(tv=0.0, noise_weight=0.0, noise_form=form)
    assert loss_at_truth(observation, attack, images, labels, observation.noise).abs().max() < 1e-12
    other = tuple(torch.randn_like(n) for n in observation.noise)
    assert loss_at_truth(observation, attack, images, labels, other).min() > 1e-4


def vit(batch=1):
    model = models.build(
        "vit", input_shape=(2, 8, 8), num_classes=4, hidden=16, heads=4, mlp=8, depth=2, seed=0,
        bottlenecks=CVB(1, 3),
    ).double()  # fmt: skip
    images = torch.rand(2, batch, 2, 8, 8, generator=rng(0), dtype=torch.double)
    labels = torch.arange(2 * batch).reshape(2, batch)
    if batch == 1:
        images, labels = images[:, 0], labels[:, 0]
    return observe(model, images, labels, generator=rng(3), share_noise=True), images, labels


@pytest.mark.parametrize("form", ["eps", "z"])
@pytest.mark.parametrize(
    "changes", [{}, {"noise_prior": "map", "noise_weight": 0.3}, {"weighting": "variance"}]
)
def test_the_gradient_is_that_of_finite_differences(form, changes):
    observation, _, _ = seen(victims=2, batch=2)
    attack = JOINT.replace(signed=False, noise_form=form, **changes)
    names = tuple(observation.gradients)
    objective = Objective(observation, attack, names)
    problem = Problem.of(observation, observation.labels, names, attack.match)
    noise = tuple(
        torch.randn(4, *shape, generator=rng(4)).double() for shape in observation.model.noise_shapes
    )
    start = {"image": torch.randn(2, 2, 2, 8, 8, generator=rng(3)).double()}
    x = objective.with_noise(start, problem.labels, lambda: noise)
    assert set(x) == {"image", "noise0", "noise1"}
    _, gradient = objective.gradient(x, problem, ())
    for name in x:
        along = {n: torch.zeros_like(u) for n, u in x.items()}
        along[name] = torch.randn(x[name].shape, generator=rng(6)).double()
        along = flatten(along) / flatten(along).norm(dim=1, keepdim=True)
        step = 1e-5
        ahead, behind = (
            objective.loss(unflatten(flatten(x) + sign * step * along, x), problem, ()) for sign in (1, -1)
        )
        slope = (flatten(gradient) * along).sum(1)
        torch.testing.assert_close((ahead - behind) / (2 * step), slope, rtol=1e-5, atol=1e-9)


def test_priors_by_hand():
    first = torch.tensor([[3.0, 4.0], [1.0, 1.0], [0.0, 0.0], [2.0, 0.0]])  # squares per entry 12.5, 1, 0, 2
    second = torch.tensor([[2.0], [0.0], [1.0], [3.0]])  # 4, 0, 1, 9
    norm = [(11.5 + 0) / 2 + (3 + 1) / 2, (1 + 1) / 2 + (0 + 8) / 2]
    density = [(6.25 + 0.5) / 2 + (2 + 0) / 2, (0 + 1) / 2 + (0.5 + 4.5) / 2]
    assert noises.prior((first, second), "norm", 2).tolist() == norm
    assert noises.prior((first, second), "map", 2).tolist() == density


def test_the_loss_is_its_parts():
    observation, images, labels = seen()
    other = tuple(torch.randn(n.shape, generator=rng(8)).double() for n in observation.noise)
    given = loss_at_truth(observation, Attack().replace(noise=Given(), tv=0.2), images, labels, other)
    for prior in ("norm", "map"):
        attack = Attack().replace(noise=Optimize(), tv=0.2, noise_weight=0.7, noise_prior=prior)
        expected = given + 0.7 * noises.prior(other, prior, 3)
        torch.testing.assert_close(loss_at_truth(observation, attack, images, labels, other), expected)


def test_the_two_forms_are_one_another():
    observation, images, _ = seen()
    model, x = gradients.prepare(observation.model, 1), images
    samples = to_samples(model, x, observation.noise)
    back = to_noise(model, x, samples)
    torch.testing.assert_close(back, observation.noise)
    mu, sigma = model.bottleneck1.encode(model.stage1(x))
    torch.testing.assert_close(samples[0], mu + sigma * observation.noise[0])
    elsewhere = gradients.forward(model, x.flip(0), to_noise(model, x.flip(0), samples))
    seen_by_decoder = []
    model.bottleneck2.decoder.register_forward_pre_hook(lambda _m, inputs: seen_by_decoder.append(inputs[0]))
    gradients.forward(model, x.flip(0), elsewhere.noise)
    torch.testing.assert_close(seen_by_decoder[0], samples[1])  # z stays where it is, whatever the image


def test_bottlenecks_inserted_in_another_order_keep_their_noise():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6), nn.Linear(6, 4))
    model = insert(net, after="3", spec=PRECODE(k=2), input_shape=(2, 8, 8), seed=0)
    model = insert(model, after="1", spec=CVB(kernel_size=3), input_shape=(2, 8, 8), seed=0).double()
    x = torch.rand(2, 2, 8, 8, generator=rng(0)).double()
    observation = observe(model, x, torch.tensor([0, 1]), generator=rng(), share_noise=True)
    samples = to_samples(model, x, observation.noise)
    assert [s.shape for s in samples] == [n.shape for n in observation.noise]
    torch.testing.assert_close(to_noise(model, x, samples), observation.noise)
    found = invert(observation, JOINT.replace(max_steps=3, noise_form="z"), generator=rng())
    assert [n.shape for n in found.noise] == [n.shape for n in observation.noise]


class _OwnNoise(nn.Module):
    """A model with noise of its own making."""

    noise_shapes = ((4,),)
    groups = {"head": ("head.weight",)}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3, bias=False)

    def forward(self, x):
        return self.run(x).logits

    def run(self, x, noise=None, generator=None):
        noise = (torch.randn(len(x), 4, generator=generator),) if noise is None else noise
        return ForwardPass(self.head(x.flatten(1) + noise[0]), x.new_zeros(len(x)), tuple(noise))


def test_samples_need_bottlenecks_that_are_known():
    observation = observe(_OwnNoise(), torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), generator=rng())
    found = invert(observation, JOINT.replace(max_steps=2), generator=rng())
    assert found.noise[0].shape == (2, 4)
    with pytest.raises(ParameterError, match="has 1 of which 0 are: use noise_form='eps'"):
        invert(observation, JOINT.replace(max_steps=2, noise_form="z"), generator=rng())


@pytest.mark.parametrize("form", ["eps", "z"])
def test_the_noise_is_recovered_better_than_by_chance(form):
    observation, images, labels = seen(CVB(1, 3), victims=4, dtype=torch.float32)
    blind = dataclasses.replace(observation, noise=None)
    attack = JOINT.replace(max_steps=120, tv=0.0, noise_form=form)  # these images are not smooth
    found = invert(blind, attack, generator=rng())
    assert correlation(found.noise, observation.noise).min() > 0.5
    ignoring = invert(blind, attack.replace(noise=Resample()), generator=rng())
    errors = [(r.images - images).square().mean() for r in (found, ignoring)]
    assert errors[0] < 0.7 * errors[1]
    at_found = loss_at_truth(observation, attack, found.images, labels, found.noise)
    torch.testing.assert_close(at_found, found.loss, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("form", ["eps", "z"])
def test_victims_together_are_victims_one_by_one(form):
    """Nothing that belongs to one victim reaches another."""
    observation, _, _ = seen()
    attack = JOINT.replace(max_steps=6, signed=False, noise_form=form, weighting="variance")
    names = tuple(observation.gradients)
    x = torch.randn(3, 1, 2, 8, 8, generator=rng(3)).double()
    noise = tuple(torch.randn(3, *s, generator=rng(4)).double() for s in observation.model.noise_shapes)

    def run(rows):
        part = dataclasses.replace(
            observation, gradients={n: g[rows] for n, g in observation.gradients.items()}
        )
        step = Step(part, attack, names)
        problem = Problem.of(part, observation.labels[rows], names, attack.match)
        own = tuple(n[rows] for n in noise)
        state = step.start(step.objective.with_noise({"image": x[rows]}, problem.labels, lambda: own))
        for t in range(1, 7):
            state, loss = step(state, problem, (), t)
        return state.unknowns, loss

    whole, losses = run([0, 1, 2])
    for v in range(3):
        alone, loss = run([v])
        torch.testing.assert_close(alone, {n: u[[v]] for n, u in whole.items()}, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(loss, losses[[v]])


def test_learning_rates_of_image_and_noise():
    observation, _, _ = seen()
    path = []

    def watch(_step, _victims, unknowns, noise):
        path.append((unknowns["image"], unknowns["noise0"]))
        torch.testing.assert_close(unknowns["noise0"].flatten(0, 1), noise[0])

    attack = JOINT.replace(max_steps=10, lr=0.2, noise_lr=0.03, clip=False, milestones=(0.5,))
    invert(observation, attack, generator=rng(), callback=watch)
    for i, length in enumerate((0.2, 0.03)):  # the first step of Adam on a sign is one learning rate long
        torch.testing.assert_close((path[1][i] - path[0][i]).abs().max().item(), length, rtol=1e-6, atol=0)
        late = (path[-1][i] - path[-2][i]).abs().max()
        assert late < 0.2 * length


def test_a_watch_sees_noise_and_not_samples():
    observation, _, _ = seen()
    shown = []
    attack = JOINT.replace(max_steps=2, noise_form="z")
    found = invert(observation, attack, generator=rng(), callback=lambda *a: shown.append(a[3]))
    assert [n.shape for n in shown[0]] == [n.shape for n in found.noise]
    start = torch.cat([n.flatten() for n in shown[0]])
    assert 0.8 < start.std() < 1.2, "it starts as a draw from N(0, 1)"


def test_joint_without_bottlenecks_is_the_attack_on_the_image():
    observation, _, _ = seen(())
    pair = [
        invert(observation, JOINT.replace(max_steps=5, noise=noise), generator=rng())
        for noise in (Optimize(), Resample())
    ]
    assert torch.equal(pair[0].images, pair[1].images)
    assert pair[0].noise is None


def test_restricted_to_the_layers_before_the_decoder():
    observation, _, _ = seen()
    spoiled = {n: torch.randn_like(g) if "stage3" in n else g for n, g in observation.gradients.items()}
    attack = JOINT.replace(max_steps=3, layers="before-decoder")
    pair = [
        invert(dataclasses.replace(observation, gradients=g), attack, generator=rng())
        for g in (observation.gradients, spoiled)
    ]
    assert torch.equal(pair[0].images, pair[1].images)
    assert torch.equal(pair[0].noise[0], pair[1].noise[0])


def test_weights_are_inverse_deviations_over_the_noise():
    observation, _, _ = seen(PRECODE(2, 3))
    names = tuple(observation.gradients)
    factors = inverse_deviations(observation, names)
    model, x = gradients.prepare(observation.model, 1), torch.randn(4, 2, 8, 8, generator=rng(9)).double()
    many = []
    for seed in range(60):
        noise = [torch.randn(4, *s, generator=rng(seed)).double() for s in model.noise_shapes]
        grads, _ = gradients.per_victim_gradients(model, x, torch.arange(4), victims=4, noise=noise)
        many.append(grads)
    deviation = {n: torch.stack([g[n] for g in many]).var(0).mean().sqrt() for n in names}
    product = torch.stack([factors[n][0] * deviation[n] for n in names])
    assert product.max() / product.min() < 2.5, "the same but for the draws"
    assert max(f[0] for f in factors.values()) == 1
    plain, _, _ = seen(())
    assert all(f.eq(1).all() for f in inverse_deviations(plain, tuple(plain.gradients)).values())


def test_weighted_distances_by_hand():
    observation, images, labels = seen()
    attack = Attack().replace(distance="l2", tv=0.0, noise=Given(), weighting="variance")
    zero = tuple(torch.zeros_like(n) for n in observation.noise)
    model = gradients.prepare(observation.model, 1)
    grads, _ = gradients.per_victim_gradients(model, (images - 0.4) / 0.3, labels, victims=3, noise=zero)
    factors = inverse_deviations(observation, tuple(grads))
    parts = [
        (factors[n][0] * (g - observation.gradients[n])).flatten(1).square().sum(1) for n, g in grads.items()
    ]
    torch.testing.assert_close(loss_at_truth(observation, attack, images, labels, zero), sum(parts))


def test_several_updates_share_the_image_and_not_the_noise():
    parts = [seen(CVB(1, 3), seed=seed) for seed in range(3)]
    images, labels = parts[0][1:]
    together = join([part[0] for part in parts])
    noise = tuple(n for part in parts for n in part[0].noise)
    for attack in (JOINT.replace(tv=0.0, noise_weight=0.0), JOINT.replace(noise_form="z")):
        losses = [
            loss_at_truth(part[0], attack.replace(noise_weight=0.0), images, labels, part[0].noise)
            for part in parts
        ]
        prior = attack.noise.weight * noises.prior(noise, "norm", 3)
        torch.testing.assert_close(
            loss_at_truth(together, attack, images, labels, noise),
            sum(losses) / 3 + prior,
            atol=1e-12,
            rtol=1e-9,
        )
    found = invert(together, JOINT.replace(max_steps=4), generator=rng())
    assert [n.shape for n in found.noise] == [n.shape for n in noise]
    given = invert(together, ATTACKS["oracle"].replace(max_steps=4), generator=rng())
    assert given.noise is None
    one = dataclasses.replace(parts[1][0], noise=None)
    with pytest.raises(ParameterError, match="grants the noise"):
        invert(join([parts[0][0], one]), ATTACKS["oracle"], generator=rng())


def test_two_updates_tell_more_than_one():
    parts = [seen(CVB(1, 3), victims=4, seed=seed, dtype=torch.float32) for seed in range(2)]
    attack = JOINT.replace(max_steps=100, tv=0.0)
    errors = [
        (invert(seen_, attack, generator=rng()).images - parts[0][1]).square().mean()
        for seen_ in (parts[0][0], join([p[0] for p in parts]))
    ]
    assert errors[1] < errors[0]


def test_updates_that_do_not_belong_together():
    one, other = seen()[0], seen(victims=2)[0]
    with pytest.raises(ParameterError, match="agree in their victims, got 3 and 2"):
        join([one, other])
    with pytest.raises(ParameterError, match="agree in their parameters"):
        join([one, seen(())[0]])
    with pytest.raises(ParameterError, match="no updates to join"):
        join([])
    assert len(join([join([one, one]), one]).later) == 2


@pytest.mark.parametrize("name", sorted(n for n, a in ATTACKS.items() if isinstance(a, Attack)))
def test_the_loss_at_the_truth_is_what_the_attack_minimises(name):
    """A dummy that stands on the truth, and steps that do not move it, have that loss."""
    observation, images, labels = seen()
    attack = ATTACKS[name].replace(noise=Given(), max_steps=1, noise_samples=2)
    at_truth = loss_at_truth(observation, attack, images, labels, observation.noise)
    names = attack.matched(observation)
    objective = Objective(observation, attack, names)
    unknowns = {"image": ((images - 0.4) / 0.3)[:, None]}
    if attack.labels == Optimized():
        unknowns["label"] = 200 * nn.functional.one_hot(labels, 4).double()[:, None]
    twice = tuple(n.repeat_interleave(2, 0) for n in observation.noise)
    problem = Problem.of(observation, labels[:, None], names)
    torch.testing.assert_close(objective.loss(unknowns, problem, twice), at_truth)


@pytest.mark.parametrize("form", ["eps", "z"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("updates", [1, 2])
def test_the_draws_that_the_client_averaged_over_are_unknowns(form, batch, updates):
    """At the true images and all true noise maps the priors alone are left."""
    parts, drawn = [], []
    for seed in range(updates):
        observation, images, labels = seen(batch=batch, seed=seed, defense=AverageNoise(3))
        stream, count = rng(seed + 5), 3 * batch
        shapes = observation.model.noise_shapes
        own = [torch.randn(count, *s, generator=stream, dtype=torch.double) for s in shapes]
        for first, shape in zip(own, shapes, strict=True):
            more = [torch.randn(count, *shape, generator=stream, dtype=torch.double) for _ in range(2)]
            by_victim = [n.reshape(3, batch, *shape) for n in (first, *more)]
            drawn.append(torch.cat(by_victim, 1).flatten(0, 1))
        parts.append(observation)
    noise, together = tuple(drawn), join(parts)
    attack = JOINT.replace(noise_samples=3, noise_form=form, tv=0.2, noise_weight=0.3)
    x = ((images - 0.4) / 0.3).reshape(3, batch, 2, 8, 8)
    expected = 0.2 * total_variation(x) + 0.3 * noises.prior(noise, "norm", 3)
    found = loss_at_truth(together, attack, images, labels, noise)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    wrong = tuple(torch.randn(n.shape, generator=rng(9), dtype=torch.double) for n in noise)
    bare = attack.replace(tv=0.0, noise_weight=0.0)
    assert loss_at_truth(together, bare, images, labels, noise).abs().max() < 1e-12
    assert loss_at_truth(together, bare, images, labels, wrong).min() > 1e-4


@pytest.mark.parametrize("form", ["eps", "z"])
def test_several_draws_are_searched_for(form):
    observation, _, labels = seen(CVB(1, 3), batch=2, dtype=torch.float32, defense=AverageNoise(2))
    blind = dataclasses.replace(observation, noise=None)
    attack = JOINT.replace(noise_samples=2, max_steps=40, tv=0.0, noise_form=form)
    found = invert(blind, attack, generator=rng())
    assert [n.shape for n in found.noise] == [(3 * 2 * 2, *observation.model.noise_shapes[0])]
    assert (found.loss < 0.7 * found.trace[0]).all()
    at_found = loss_at_truth(observation, attack, found.images, labels, found.noise)
    torch.testing.assert_close(at_found, found.loss, atol=1e-6, rtol=1e-3)
    halves = found.noise[0].reshape(3, 2, -1)
    assert not torch.allclose(halves[:, 0], halves[:, 1]), "each draw is its own"


def test_what_the_loss_at_the_truth_refuses():
    observation, images, labels = seen()
    with pytest.raises(ParameterError, match="'analytic' is a closed form: it has no loss"):
        loss_at_truth(observation, ATTACKS["analytic"], images, labels, observation.noise)
    with pytest.raises(ShapeError, match=r"images must be \(3, 1, 2, 8, 8\)"):
        loss_at_truth(observation, JOINT, images[:2], labels, observation.noise)
    with pytest.raises(ShapeError, match=r"noise must be 2 tensors with 3 rows, got \[3\]"):
        loss_at_truth(observation, JOINT, images, labels, observation.noise[:1])
    twice = tuple(torch.cat([n, n]) for n in observation.noise)
    for draws in (1, 3):
        with pytest.raises(ShapeError, match=r"noise must be 2 tensors with 3 rows, got \[6, 6\]"):
            loss_at_truth(observation, JOINT.replace(noise_samples=draws), images, labels, twice)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"noise_lr": 0.0}, ParameterError, "noise_lr must be positive, got 0.0"),
        ({"noise_weight": -1.0}, ParameterError, "noise_weight must not be negative"),
        ({"noise_prior": "nrom"}, UnknownNameError, "Did you mean 'norm'"),
        ({"noise_form": "x"}, UnknownNameError, "Unknown value of noise_form 'x'"),
        ({"weighting": "varience"}, UnknownNameError, "Did you mean 'variance'"),
    ],
)
def test_what_joint_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        JOINT.replace(**changes)
