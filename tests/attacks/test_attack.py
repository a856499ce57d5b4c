"""The description of an attack, its parts, and the client's side."""

import pytest
import torch
from torch import nn

from gleak_lib import attacks, models
from gleak_lib.attacks import (
    ATTACKS,
    DISTANCES,
    LBFGS,
    Attack,
    Known,
    LabelDistance,
    Match,
    Optimize,
    Resample,
    Schedule,
    TotalVariation,
    invert,
    observe,
    select,
    total_variation,
)
from gleak_lib.bottlenecks import CVB
from gleak_lib.errors import GradientError, ParameterError, ShapeError, UnknownNameError


def values(attack, *names):
    return tuple(attack.settings[name] for name in names)


def test_presets_are_those_of_the_paper():
    ig = ATTACKS["ig"]  # 001 §V-B
    assert values(ig, "distance", "tv", "lr", "signed") == ("cosine", 0.01, 1.0, True)
    assert ig.schedule == Schedule(20_000, 400, 0.1, 1e-4, (), 4000, 1e-5)
    assert ATTACKS["ignore"].replace(name="ig", layers="all") == ig
    idlg = ATTACKS["idlg"]  # 001 §V-B and the CVB paper's code
    assert (idlg.match.distance, idlg.optimizer, idlg.priors) == ("l2", LBFGS(0.01, 20, 100), ())
    assert values(idlg, "max_steps", "drop_after", "stop_after", "clip") == (2000, 40, 400, True)
    cpl = ATTACKS["cpl"]
    assert cpl.replace(name="idlg", clip=True, label_weight=0.0) == idlg
    assert cpl.priors == (LabelDistance(0.01, "one-hot"),)
    dga, gia = ATTACKS["dga"], ATTACKS["gia"]  # 004 §6
    assert (dga.match.distance, dga.kind, dga.schedule.max_steps) == ("l2", "lbfgs", 500)
    assert values(gia, "distance", "signed", "max_steps") == ("cosine", True, 1000) and gia.kind == "adam"
    assert ATTACKS["dlg"].replace(name="dga", labels=Known(), max_steps=500) == dga
    joint, told, average = (ATTACKS[name] for name in ("joint", "oracle", "expectation"))
    assert (joint.noise, joint.match) == (Optimize(0.05, "norm", 1e-4, "eps"), Match())
    assert values(joint, "lr", "milestones", "lr_decay", "signed") == (0.1, (0.4, 0.7, 0.9), 0.1, True)
    assert told.replace(name="joint", noise=Optimize()) == joint
    assert (average.noise, average.match.layers) == (Resample(samples=4), "before-decoder")
    assert all(attack.name == name for name, attack in ATTACKS.items())


def test_replace_makes_a_variant_and_attacks_can_be_keys():
    variant = ATTACKS["ig"].replace(tv=0.1, max_steps=500)
    assert (variant.priors, variant.schedule.max_steps) == ((TotalVariation(0.1),), 500)
    assert ATTACKS["ig"].settings["tv"] == 0.01
    assert len({variant, ATTACKS["ig"], ATTACKS["ig"].replace()}) == 2
    bare = variant.replace(tv=0.0)
    assert bare.priors == () and bare.settings["tv"] == 0.0
    assert bare.replace(label_weight=0.3, label_form="paper-code", tv=0.1).priors == (
        TotalVariation(0.1),
        LabelDistance(0.3, "paper-code"),
    )
    other = ATTACKS["joint"].replace(optimizer=LBFGS(), inner_steps=3, lr=0.5, noise_lr=0.2)
    assert (other.optimizer, other.noise.lr) == (LBFGS(0.5, 3), 0.2)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_prints_as_the_code_that_makes_it(name):
    attack = ATTACKS[name]
    assert eval(repr(attack), vars(attacks)) == attack  # noqa: S307
    assert repr(Attack()) == "Attack()"
    assert repr(Attack().replace(tv=0.1)) == "Attack(priors=(TotalVariation(weight=0.1),))"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"step": 3}, ParameterError, "no setting 'step'. Did you mean"),
        ({"sign": True}, ParameterError, "no setting 'sign'. Did you mean 'signed'"),
        ({"inner_steps": 3}, ParameterError, "no setting 'inner_steps'"),
        ({"distance": "cosin"}, UnknownNameError, "Unknown distance 'cosin'. Did you mean 'cosine'"),
        ({"optimizer": "adam"}, ParameterError, "optimizer must be Optimizer, got 'adam'"),
        ({"noise": "resample"}, ParameterError, "noise must be Noise, got 'resample'"),
        ({"layers": "before"}, UnknownNameError, "Unknown value of layers 'before'"),
        ({"max_steps": 0}, ParameterError, "max_steps must be at least 1, got 0"),
        ({"tv": -1.0}, ParameterError, "tv must not be negative, got -1.0"),
        ({"tv": float("nan")}, ParameterError, "tv must not be negative, got nan"),
        ({"milestones": (0.5, 2.0)}, ParameterError, r"shares of max_steps in \(0, 1\), got \(0.5, 2.0\)"),
        ({"optimizer": LBFGS(), "inner_steps": 0}, ParameterError, "inner_steps must be at least 1, got 0"),
        ({"label_weight": -1.0}, ParameterError, "label_weight must not be negative"),
        ({"label_form": "one-hot"}, ParameterError, "LabelDistance: missing a required argument: 'weight'"),
        ({"lr": 0.0}, ParameterError, "lr must be positive, got 0.0"),
        ({"lr_decay": 2.0}, ParameterError, r"lr_decay must be in \(0, 1\], got 2.0"),
    ],
)
def test_what_an_attack_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        ATTACKS["ig"].replace(**changes)


def random_grads(seed):
    g = torch.Generator().manual_seed(seed)
    return {n: torch.randn(3, *s, generator=g).double() for n, s in [("a", (4, 5)), ("b", (7,))]}


def test_distances_against_torch():
    a, b = random_grads(0), random_grads(1)
    flat = [torch.cat([g.flatten(1) for g in grads.values()], 1) for grads in (a, b)]
    torch.testing.assert_close(DISTANCES["cosine"](a, b), 1 - nn.functional.cosine_similarity(*flat))
    torch.testing.assert_close(DISTANCES["l2"](a, b), (flat[0] - flat[1]).square().sum(1))


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_contract_every_distance(name):
    a, b = random_grads(0), random_grads(1)
    distance = DISTANCES[name]
    assert distance(a, b).shape == (3,)
    assert distance(b, b).abs().max() < 1e-12
    assert distance(a, b).min() > 0

    def of(x, y):
        return distance({"a": x, "b": y}, b)

    assert torch.autograd.gradcheck(of, tuple(t.requires_grad_() for t in a.values()))


def test_cosine_of_a_zero_gradient_is_one():
    zero = {n: torch.zeros_like(g) for n, g in random_grads(0).items()}
    assert torch.equal(DISTANCES["cosine"](zero, random_grads(1)), torch.ones(3).double())


def test_total_variation_by_hand():
    image = torch.tensor([[[[[0.0, 1.0], [3.0, 7.0]]]]])
    # down: |3-0|, |7-1| -> mean 4.5; across: |1-0|, |7-3| -> mean 2.5
    assert total_variation(image).tolist() == [7.0]
    two = torch.cat([image, torch.zeros_like(image)], 1)
    assert total_variation(two).tolist() == [3.5]


def test_select_keeps_the_models_order():
    groups = models.build("cnn", bottlenecks=CVB(1)).groups
    assert select(("head", "stage1"), (), groups) == groups["stage1"] + groups["head"]
    assert select("all", ("head",), groups) == tuple(n for g, ns in groups.items() if g != "head" for n in ns)


def test_the_classifier_is_excluded_by_its_place():
    groups = models.build("cnn", bottlenecks=CVB(1)).groups
    assert select("all", ("last",), groups) == select("all", ("head",), groups)


def test_milestones_lower_the_learning_rate():
    schedule = Schedule(drop_after=0, stop_after=0, milestones=(0.25, 0.5), max_steps=8, lr_decay=0.5)
    progress, rates = schedule.start(1.0, torch.zeros(1)), []
    for _ in range(8):
        rates.append(progress.lr.item())
        progress, _ = schedule.advance(progress, torch.ones(1))
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]


def test_plateau_equals_torchs_scheduler_for_each_victim():
    schedule = Schedule(drop_after=2, drop_threshold=0.1, lr_decay=0.5, stop_after=0, stop_below=0.0)
    losses = torch.rand(60, 4, generator=torch.Generator().manual_seed(0)).double().cumsum(0).flip(0) / 10
    losses[:, 3] = 1.0
    progress, rates = schedule.start(1.0, losses[0]), []
    for loss in losses:
        progress, _ = schedule.advance(progress, loss)
        rates.append(progress.lr)
    for v in range(4):
        sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
            sgd, factor=0.5, patience=2, threshold=0.1, eps=0
        )
        for t, loss in enumerate(losses[:, v]):
            reference.step(loss.item())
            assert rates[t][v].item() == sgd.param_groups[0]["lr"], (v, t)


def test_observe_in_chunks_equals_observe_at_once(monkeypatch):
    from gleak_lib.attacks import observe as module

    model = models.build("cnn", bottlenecks=CVB(1), seed=0).double()
    images, labels = torch.rand(5, 2, 3, 32, 32).double(), torch.randint(0, 10, (5, 2))
    whole = observe(model, images, labels, generator=torch.Generator().manual_seed(0))
    import sys

    monkeypatch.setattr(sys.modules["gleak_lib.attacks.observe"], "CHUNK", 2)
    assert module is not None
    parts = observe(model, images, labels, generator=torch.Generator().manual_seed(0))
    for name, gradient in whole.gradients.items():
        torch.testing.assert_close(parts.gradients[name], gradient)
    assert whole.victims == 5
    assert whole.batched


def test_observe_leaves_the_model_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    observe(model, torch.rand(2, 3, 3, 4, 4), torch.zeros(2, 3).long())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert model.training


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (torch.rand(3, 4, 4), torch.zeros(3), {}, "must be V x C x H x W or V x B x C x H x W"),
        (torch.rand(0, 3, 4, 4), torch.zeros(0).long(), {}, "no image to observe"),
        (torch.rand(2, 3, 4, 4) * 3 - 1.0, torch.tensor([0, 1]), {}, r"in \[0, 1\], got \[-"),
        (torch.full((2, 3, 4, 4), torch.nan), torch.tensor([0, 1]), {}, r"got \[nan"),
        (torch.rand(2, 3, 4, 4), torch.tensor([0.0, 1.0]), {}, "class indices, got"),
        (torch.rand(2, 3, 4, 4), torch.tensor([0]), {}, "labels must be 2 x 1 class indices"),
        (
            torch.rand(2, 3, 4, 4),
            torch.tensor([0, 5]),
            {},
            r"in \[0, 4\] for this model's 5 logits, got \[0, 5\]",
        ),
        (torch.rand(2, 3, 4, 4), torch.tensor([-1, 0]), {}, r"got \[-1, 0\]"),
        (torch.rand(2, 3, 4, 4), torch.tensor([0, 1]), {"mean": (0.5, 0.5)}, "mean must be one value or 3"),
        (torch.rand(2, 3, 4, 4), torch.tensor([0, 1]), {"std": 0.0}, "std must be positive"),
    ],
)
def test_what_observe_refuses(images, labels, options, message):
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    with pytest.raises(ShapeError, match=message):
        observe(model, images, labels, **options)


def test_observe_refuses_gradients_that_are_not_finite():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    nn.init.constant_(model[1].weight, torch.inf)
    with pytest.raises(GradientError, match="NaN or infinite"):
        observe(model, torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))


def test_layerwise_is_the_mean_of_torchs_cosine_over_tensors():
    a, b = random_grads(0), random_grads(1)
    parts = [1 - nn.functional.cosine_similarity(a[n].flatten(1), b[n].flatten(1)) for n in a]
    torch.testing.assert_close(DISTANCES["layerwise"](a, b), sum(parts) / 2)
    scaled = {"a": 1e-3 * a["a"], "b": 1e3 * a["b"]}
    torch.testing.assert_close(DISTANCES["layerwise"](scaled, b), sum(parts) / 2)


def test_layerwise_does_not_lose_small_gradients_in_single_precision():
    a, b = ({n: (1e-12 * g).float() for n, g in random_grads(seed).items()} for seed in (0, 1))
    torch.testing.assert_close(
        DISTANCES["layerwise"](a, b).double(), DISTANCES["layerwise"](random_grads(0), random_grads(1))
    )


@pytest.mark.parametrize("zero", ["dummy", "observed", "both"])
def test_a_tensor_that_is_zero_is_at_distance_one_and_pulls_nowhere(zero):
    a, b = ({n: g.float() for n, g in random_grads(seed).items()} for seed in (0, 1))
    rest = 1 - nn.functional.cosine_similarity(a["a"].flatten(1), b["a"].flatten(1))
    if zero != "observed":
        a["b"] = torch.zeros_like(a["b"])
    if zero != "dummy":
        b["b"] = torch.zeros_like(b["b"])
    given = [g.requires_grad_() for g in a.values()]
    distance = DISTANCES["layerwise"](a, b)
    torch.testing.assert_close(distance, (rest + 1) / 2)
    pulls = torch.autograd.grad(distance.sum(), given)
    assert pulls[0].isfinite().all() and pulls[0].abs().max() > 0
    assert not pulls[1].any()


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_every_distance_drives_an_attack_and_can_be_traced(distance, small, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)  # the tracing alone
    model = small("cnn").eval().double()
    images = torch.rand(2, *model.input_shape, generator=torch.Generator().manual_seed(0)).double()
    observation = observe(model, images, torch.tensor([0, 1]), mean=0.5, std=0.25)
    attack = ATTACKS["ig"].replace(distance=distance, max_steps=12, lr=0.1, tv=0.0)
    plain, traced = (
        invert(observation, attack, generator=torch.Generator().manual_seed(1), compile=compiled)
        for compiled in (False, True)
    )
    torch.testing.assert_close(traced, plain, equal_nan=True)
    assert (plain.loss < 0.8 * plain.trace[0]).all()
