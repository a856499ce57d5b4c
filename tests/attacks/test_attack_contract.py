"""What every attack of the registry promises, on every kind of model."""

import dataclasses

import pytest
import torch
from torch import nn

from gleak_lib import metrics, models
from gleak_lib.attacks import ATTACKS, Attack, invert, observe
from gleak_lib.bottlenecks import CVB, PRECODE, insert
from gleak_lib.errors import GradientError, ParameterError
from gleak_lib.types import Observation

SHAPE = (1, 29, 29)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
ITERATIVE = sorted(name for name, attack in ATTACKS.items() if isinstance(attack, Attack))


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def cnn(*bottlenecks):
    return models.build("cnn", input_shape=SHAPE, num_classes=5, bottlenecks=bottlenecks, seed=0)


def mlp(bottleneck=False, size=29 * 29):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(size, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU())
    net = nn.Sequential(*net, nn.Linear(16, 5))
    return insert(net, after="2", spec=PRECODE(k=4), input_shape=SHAPE, seed=0) if bottleneck else net


def groupnorm(bottleneck=False):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.GroupNorm(2, 4), nn.ReLU(inplace=True), nn.Flatten())
    net = nn.Sequential(*net, nn.Linear(4 * 81, 5))
    return insert(net, after="2", spec=CVB(kernel_size=3), input_shape=SHAPE, seed=0) if bottleneck else net


MODELS = {
    "cnn": cnn,
    "cnn+precode": lambda: cnn(PRECODE(2, 4)),
    "cnn+cvb": lambda: cnn(CVB(1, 3)),
    "mlp": mlp,
    "mlp+precode": lambda: mlp(True),
    "groupnorm": groupnorm,
    "groupnorm+cvb": lambda: groupnorm(True),
}


def truth(batch=1, victims=3):
    shape = (victims, *SHAPE) if batch == 1 else (victims, batch, *SHAPE)
    labels = torch.stack([torch.randperm(5, generator=rng(v))[:batch] for v in range(victims)])
    return torch.rand(shape, generator=rng(0)), labels.reshape(shape[:-3])


def seen_by_the_server(model, batch=1, **options) -> Observation:
    """Noise is shared, for those attacks that may use it."""
    images, labels = truth(batch)
    device = next(model.parameters()).device
    return observe(
        model, images.to(device), labels, generator=rng(), mean=0.5, std=0.25, share_noise=True, **options
    )


def short(name, **changes):
    """A few steps of the preset; the mask that needs a decoder keeps everything where there is none."""
    attack = ATTACKS[name]
    steps = 2 if attack.kind == "lbfgs" else 5
    if not isinstance(attack, Attack):
        return attack
    inner = {"inner_steps": 3} if attack.kind == "lbfgs" else {}
    return attack.replace(max_steps=steps, **inner, **changes)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_every_attack_on_every_model(name, model, device):
    refusal = {"analytic": "given the pixels", "patches": "embeds patches"}.get(name)
    if refusal and not (name == "analytic" and model.startswith("mlp")):
        with pytest.raises(ParameterError, match=refusal):
            invert(seen_by_the_server(MODELS[model]()), ATTACKS[name])
        return
    network = MODELS[model]().to(device)
    observation = seen_by_the_server(network)
    weights = {n: p.clone() for n, p in network.state_dict().items()}
    attack = short(name)
    first = invert(observation, attack, generator=rng())
    again = invert(observation, attack, generator=rng())
    assert first.images.shape == (3, *SHAPE)
    assert first.images.dtype == torch.float32
    assert first.images.device.type == device
    assert 0 <= first.images.min() <= first.images.max() <= 1
    assert first.labels.shape == first.loss.shape == first.steps.shape == (3,)
    assert not first.labels.is_floating_point()
    assert first.loss.isfinite().all()
    assert first.trace.shape == (len(first.trace_steps), 3)
    assert (first.steps <= 5).all()
    for field in ("images", "labels", "loss", "steps", "trace"):
        assert torch.equal(getattr(first, field), getattr(again, field)), f"{field}: same seed, same result"
    assert all(torch.equal(weights[n], p) for n, p in network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    if name != "analytic":
        assert torch.equal(first.loss, first.trace.nan_to_num(torch.inf).min(0).values)
        assert not torch.equal(first.images, invert(observation, attack, generator=rng(2)).images)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_no_attack_sees_the_truth(name):
    network = mlp(bottleneck=True)
    images, labels = truth()
    options = {"share_labels": False, "share_noise": name == "oracle"}
    observation = observe(network, images, labels, generator=rng(), mean=0.5, std=0.25, **options)
    held = [v for v in vars(observation).values() if isinstance(v, torch.Tensor)]
    assert not held, "an observation holds gradients, and neither images nor labels"
    if name == "patches":
        return  # it is no attack on this model
    first = invert(observation, short(name), generator=rng())
    images.fill_(torch.nan)
    labels.fill_(-7)
    assert torch.equal(first.images, invert(observation, short(name), generator=rng()).images)


@pytest.mark.parametrize("name", ITERATIVE)
def test_restarts_and_draws_work_with_every_attack(name):
    observation = seen_by_the_server(cnn(CVB(1, 3)))
    attack, source = short(name, noise_samples=2), rng()
    singles = [invert(observation, attack, generator=source) for _ in range(2)]
    best = invert(observation, attack.replace(restarts=2), generator=rng())
    losses = torch.stack([s.loss for s in singles])
    assert torch.equal(best.loss, losses.min(0).values), "picked by loss"
    for v, winner in enumerate(losses.argmin(0)):
        assert torch.equal(best.images[v], singles[winner].images[v])
        assert best.labels[v] == singles[winner].labels[v]
        if best.noise is not None:
            pair = [found.noise[0].reshape(3, 2, -1)[v] for found in (best, singles[winner])]
            assert torch.equal(*pair), "both draws"


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("share_labels", [True, False], ids=["known", "inferred"])
def test_batches_with_every_attack(name, share_labels):
    images, labels = truth(batch=3)
    observation = seen_by_the_server(mlp(), batch=3, share_labels=share_labels)
    found = invert(observation, short(name), generator=rng())
    assert found.images.shape == images.shape
    assert found.labels.shape == labels.shape
    frame = metrics.score(found, images, scaling="none")
    assert len(frame) == 9
    mixed = dataclasses.replace(found, images=found.images[:, [2, 0, 1]])
    assert metrics.score(mixed, images, scaling="none").equals(frame), "their order is not the attack's"


@pytest.mark.parametrize("name", ITERATIVE)
def test_stopped_victims_leave_without_changing_the_others(name, monkeypatch):
    from gleak_lib.attacks import engine, step

    monkeypatch.setattr(engine, "CHECK_EVERY", 2)
    observation = seen_by_the_server(cnn())
    whole = ATTACKS[name].replace(max_steps=8, stop_after=0)
    whole = whole.replace(inner_steps=4) if whole.kind == "lbfgs" else whole
    losses = invert(observation, whole, generator=rng()).trace
    # the loss that the first victim to get there reaches half-way: it stops there, the others go on
    stop = float(losses[:4].min()) * (1 + 1e-6)
    attack = whole.replace(stop_below=stop)
    left = invert(observation, attack, generator=rng())
    monkeypatch.setattr(step, "COMPACT_BELOW", 0.0)
    stayed = invert(observation, attack, generator=rng())
    assert torch.equal(left.steps, stayed.steps)
    assert left.steps.min() < left.steps.max()
    torch.testing.assert_close(left.images, stayed.images, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_every_attack_refuses_gradients_that_are_not_finite(name):
    observation = seen_by_the_server(mlp())
    gradients = {n: g.clone() for n, g in observation.gradients.items()}
    gradients["3.bias"][0, 0] = torch.inf
    with pytest.raises(GradientError, match=r"The gradient of 3.bias has NaN or infinite entries"):
        invert(dataclasses.replace(observation, gradients=gradients), ATTACKS[name])


def test_muted_does_not_see_the_layer_that_is_left_out():
    observation = seen_by_the_server(groupnorm())
    head = {n: torch.randn_like(g) for n, g in observation.gradients.items() if n.startswith("4.")}
    assert head
    spoiled = dataclasses.replace(observation, gradients=observation.gradients | head)
    for name, same in [("muted", True), ("ig", False)]:
        pair = [invert(o, short(name), generator=rng()).images for o in (observation, spoiled)]
        assert torch.equal(*pair) == same
