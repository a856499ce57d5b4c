"""Attacks on several weights side by side, against single runs."""

import dataclasses
import warnings

import pytest
import torch
from torch import nn

from gleak_lib import attacks, bottlenecks, models
from gleak_lib.attacks import ATTACKS, LBFGS, Inferred, Optimized
from gleak_lib.errors import ParameterError, UnknownNameError

SHAPE, SEEDS = (2, 12, 12), (0, 1, 2)
TO_THE_END = {"drop_after": 0, "stop_after": 0, "stop_below": 0.0}
IG = ATTACKS["ig"].replace(max_steps=30, lr=0.1, **TO_THE_END)


def network(seed, name="lenet", mode=False, **options):
    options = {"convs": 2} | options if name == "lenet" else {"width": 2} | options
    model = models.build(name, input_shape=SHAPE, num_classes=3, seed=seed, **options).double()
    generator = torch.Generator().manual_seed(seed)
    for buffer in model.buffers():  # running averages that differ as those of trained models do
        if buffer.is_floating_point():
            buffer += torch.rand(buffer.shape, generator=generator)
    return model.train(mode)


def observe(model, seed, batch=1, victims=2, **options):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(victims, batch, *SHAPE, generator=generator, dtype=torch.double)
    labels = torch.randint(3, (victims, batch), generator=generator)
    return attacks.observe(model, images, labels, mean=0.5, std=0.25, generator=generator, **options)


def generators(count=3):
    return [torch.Generator().manual_seed(10 + number) for number in range(count)]


def assert_equal(together, alone):
    for field in ("images", "loss", "trace"):
        one, other = getattr(together, field), getattr(alone, field)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, equal_nan=True)
    for field in ("labels", "steps", "trace_steps"):
        assert torch.equal(getattr(together, field), getattr(alone, field))


@pytest.mark.parametrize(
    ("options", "batch", "attack"),
    [
        ({}, 1, IG),
        ({"activation": "relu"}, 2, IG.replace(distance="l2", signed=False, label_weight=0.1)),
        ({"name": "resnet18", "norm": "batch"}, 1, IG),
        ({"name": "resnet18", "norm": "batch", "mode": True}, 2, IG),
        ({"name": "resnet18", "norm": "group"}, 1, IG.replace(restarts=2)),
        ({}, 1, IG.replace(optimizer=LBFGS(lr=0.1), max_steps=3, labels=Inferred())),
        ({}, 1, IG.replace(labels=Optimized(), distance="layerwise")),
        ({}, 1, IG.replace(max_steps=90, drop_after=3, stop_after=5)),  # victims stop one after the other
    ],
    ids=[
        "cnn",
        "squared error",
        "running averages",
        "own batch",
        "restarts",
        "lbfgs",
        "soft labels",
        "stops",
    ],
)
def test_finds_what_single_runs_find(options, batch, attack):
    seen = [observe(network(seed, **options), seed, batch) for seed in SEEDS]
    together = attacks.invert_together(seen, attack, generators=generators())
    for one, own, found in zip(seen, generators(), together, strict=True):
        assert_equal(found, attacks.invert(one, attack, generator=own))


def test_gradients_that_are_outer_products_stand_beside_some_that_are_not():
    seen = [observe(network(seed), seed) for seed in SEEDS]
    noisy = {name: g + 0.01 * torch.randn_like(g) for name, g in seen[1].gradients.items()}
    seen[1] = dataclasses.replace(seen[1], gradients=noisy)
    together = attacks.invert_together(seen, IG, generators=generators())
    for one, own, found in zip(seen, generators(), together, strict=True):
        assert_equal(found, attacks.invert(one, IG, generator=own))


@pytest.mark.slow  # the compiler takes most of a minute
def test_a_compiled_step_serves_several_models():
    seen, attack = [observe(network(seed), seed) for seed in SEEDS], IG.replace(max_steps=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a step that runs uncompiled says so
        together = attacks.invert_together(seen, attack, generators=generators(), compile=True)
    for one, own, found in zip(seen, generators(), together, strict=True):
        assert_equal(found, attacks.invert(one, attack, generator=own))


def test_one_alone_is_a_single_run():
    seen = observe(network(0), 0)
    (found,) = attacks.invert_together([seen], IG, generators=generators(1))
    alone = attacks.invert(seen, IG, generator=generators(1)[0])
    assert torch.equal(found.images, alone.images)


def test_chunks_and_compaction_do_not_mix_the_models(monkeypatch):
    from gleak_lib.attacks import step

    monkeypatch.setattr(step, "CHUNK", 2)
    seen = [observe(network(seed), seed, victims=3) for seed in SEEDS]
    found = attacks.invert_together(seen, IG, generators=generators())
    assert_equal(found[1], attacks.invert(seen[1], IG, generator=generators()[1]))


class Apart(nn.Module):
    """Weights outside of any layer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 288, dtype=torch.double))

    def forward(self, x):
        return x.flatten(1).sigmoid() @ self.weight.T


def refused():
    plain = observe(network(0), 0)
    noisy = network(0, bottlenecks=bottlenecks.CVB(1))
    joined = attacks.join([plain, observe(network(1), 0)])
    other_loss = dataclasses.replace(plain, loss=lambda logits, _: logits.square().sum(1))
    statistics = IG.replace(statistics_weight=0.1)
    training = [
        observe(network(s, "resnet18", True, norm="batch"), s, 2, share_statistics=True) for s in (0, 1)
    ]
    return {
        "bottlenecks": ([plain, observe(noisy, 0)], IG, "agree in their parameters"),
        "noise": ([observe(noisy, 0), observe(noisy, 1)], IG, "only without bottlenecks"),
        "victims": ([plain, observe(network(1), 1, victims=3)], IG, "agree in their victims, got 2 and 3"),
        "batch": ([plain, observe(network(1), 1, 2)], IG, "agree in their batch size, got 1 and 2"),
        "updates": ([joined, joined], IG, "only if each is one update"),
        "loss": ([plain, other_loss], IG, "all are of one loss"),
        "statistics": (training, statistics, "by attacks that do not match batch statistics"),
        "structure": (
            [plain, observe(network(1, activation="relu"), 1)],
            IG,
            "these differ in their modules or in shapes",
        ),
        "rules": (
            [observe(Apart(), 0), observe(Apart(), 1)],
            IG,
            "gradients of this Apart are taken by vmap",
        ),
    }


@pytest.mark.parametrize("case", refused())
def test_refuses_what_cannot_stand_side_by_side(case):
    seen, attack, message = refused()[case]
    with warnings.catch_warnings(), pytest.raises(ParameterError, match=message):
        warnings.simplefilter("ignore")
        attacks.invert_together(seen, attack)


def test_refuses_nothing_too_few_generators_and_another_precision():
    seen = observe(network(0), 0)
    with pytest.raises(ParameterError, match="pass at least one observation"):
        attacks.invert_together([], IG)
    with pytest.raises(ParameterError, match="a generator for each of 2 observations, got 1"):
        attacks.invert_together([seen, seen], IG, generators=generators(1))
    with pytest.raises(UnknownNameError, match="half"):
        attacks.invert_together([seen], IG, precision="half")
