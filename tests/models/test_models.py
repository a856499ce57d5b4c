"""Staged models: parameter counts of SPEC's table, order of groups, and what is refused."""

import pytest
import torch
from torch import distributions
from torch.nn import functional

from gleak_lib import attacks, models
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import ParameterError, ShapeError, UnknownNameError

COUNTS = [  # 001 Tables I, II and VIII; §IV
    ((), 65_962),
    (PRECODE(3, 32), 72_106),
    (PRECODE(2, 16), 104_362),
    (PRECODE(1, 8), 141_226),
    (CVB(1, 3), 68_394),
    (CVB(1, 5), 72_490),
]


@pytest.mark.parametrize(("bottlenecks", "count"), COUNTS)
def test_cnn_has_the_papers_parameter_counts(bottlenecks, count):
    assert models.count_parameters(models.build("cnn", bottlenecks=bottlenecks)) == count


def test_groups_follow_the_data_and_cover_every_parameter():
    model = models.build("cnn", bottlenecks=(PRECODE(3, 4), CVB(1)))
    assert list(model.groups) == [
        "stage1",
        "bottleneck1.encoder",
        "bottleneck1.decoder",
        "stage2",
        "stage3",
        "bottleneck3.encoder",
        "bottleneck3.decoder",
        "head",
    ]
    names = [name for members in model.groups.values() for name in members]
    assert names == [name for name, _ in model.named_parameters()]
    assert models.before_decoder(tuple(model.groups)) == ("stage1", "bottleneck1.encoder")


def test_a_model_without_bottleneck_has_nothing_after_a_decoder():
    groups = tuple(models.build("cnn").groups)
    assert models.before_decoder(groups) == groups


def test_bottlenecks_leave_the_models_own_initial_weights_alone():
    plain = models.build("cnn", seed=3).state_dict()
    guarded = models.build("cnn", seed=3, bottlenecks=CVB(2)).state_dict()
    assert all(torch.equal(plain[name], guarded[name]) for name in plain)


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    a, b, c = (models.build("cnn", seed=s).stage1[0].weight for s in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_run_gives_back_its_noise_and_repeats_with_it():
    model = models.build("cnn", bottlenecks=(PRECODE(3, 4), CVB(1)), seed=0)
    x = torch.rand(2, 3, 32, 32)
    first = model.run(x, generator=torch.Generator().manual_seed(5))
    again = model.run(x, noise=first.noise)
    assert [tuple(n.shape[1:]) for n in first.noise] == list(model.noise_shapes)
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.kl, again.kl)
    assert first.kl.shape == (2,)
    assert not torch.equal(model(x), model(x)), "bottlenecks sample anew at each call"


def test_the_kl_term_is_weighted_by_beta_and_summed():
    torch.manual_seed(0)
    x, noise = torch.rand(2, 3, 32, 32), [torch.zeros(2, 8, 14, 14), torch.zeros(2, 4)]
    one = models.build("cnn", bottlenecks=(CVB(1, beta=0.3), PRECODE(3, 4, beta=0.0)), seed=0)
    two = models.build("cnn", bottlenecks=(CVB(1, beta=0.0), PRECODE(3, 4, beta=0.2)), seed=0)
    both = models.build("cnn", bottlenecks=(CVB(1, beta=0.3), PRECODE(3, 4, beta=0.2)), seed=0)
    kl = [m.run(x, noise).kl for m in (one, two, both)]
    assert kl[0].min() > 0
    torch.testing.assert_close(kl[0] + kl[1], kl[2])


SEVERAL = {
    "dmlp": tuple(PRECODE(p, k=2 + p, beta=10.0**-p) for p in (1, 2, 3, 4)),
    "lenet": (PRECODE(1, k=5, beta=0.5), PRECODE(3, k=3, beta=2e-3)),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_the_loss_of_several_precode_modules_is_the_sum_by_hand(name):
    """000 Eq. 6-7: the loss of the clients' gradients is the model's plus beta_i KL_i of each module."""
    options = {"width": 12} if name == "dmlp" else {"activation": "relu"}
    shape = (3, 32, 32)
    model = models.build(name, input_shape=shape, bottlenecks=SEVERAL[name], seed=0, **options)
    images, labels = torch.rand(3, *shape), torch.tensor([0, 4, 9])
    noise = [torch.randn(3, spec.k) for spec in SEVERAL[name]]
    x, loss, eps = images, torch.zeros(3), iter(noise)
    for position in range(1, model.depth + 1):
        x = model.get_submodule(f"stage{position}")(x)
        for spec in (spec for spec in SEVERAL[name] if spec.position == position):
            module = model.get_submodule(f"bottleneck{position}")
            mu, raw = torch.split(x.flatten(1) @ module.encoder.weight.T, spec.k, dim=1)
            sigma = functional.softplus(raw.clamp(-5, 5))
            kl = distributions.kl_divergence(distributions.Normal(mu, sigma), distributions.Normal(0.0, 1.0))
            loss = loss + spec.beta * kl.sum(1)
            x = ((mu + sigma * next(eps)) @ module.decoder.weight.T).reshape(x.shape)
    run = model.run(images, noise)
    torch.testing.assert_close(run.logits, model.head(x))
    torch.testing.assert_close(run.kl, loss)
    observation = attacks.observe(
        model,
        images,
        labels,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        share_noise=True,
        generator=torch.Generator().manual_seed(0),
    )
    assert observation.noise is not None
    alone = model.run(images[:1], [part[:1] for part in observation.noise])
    expected = torch.autograd.grad(
        functional.cross_entropy(alone.logits, labels[:1]) + alone.kl.sum(), list(model.parameters())
    )
    for (key, _), gradient in zip(model.named_parameters(), expected, strict=True):
        torch.testing.assert_close(observation.gradients[key][0], gradient, rtol=1e-4, atol=1e-6)


def test_input_shape_and_classes_are_free():
    model = models.build("cnn", input_shape=(1, 48, 40), num_classes=7, bottlenecks=(CVB(1), PRECODE(2)))
    assert model(torch.rand(2, 1, 48, 40)).shape == (2, 7)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "cnm"}, UnknownNameError, r"Unknown model 'cnm'. Did you mean 'cnn'\? There is: cnn"),
        ({"bottlenecks": CVB(4)}, ParameterError, "position 4, but this model has positions 1 to 3"),
        ({"bottlenecks": CVB(0)}, ParameterError, "position 0"),
        ({"bottlenecks": (CVB(1), PRECODE(1))}, ParameterError, "Two bottlenecks at position 1"),
        ({"input_shape": (3, 8, 8)}, ShapeError, r"does not accept images of shape \(3, 8, 8\)"),
        ({"num_classes": 0}, ParameterError, "num_classes must be at least 1, got 0"),
        ({"depth": 3}, ParameterError, "no option 'depth'"),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        models.build(**({"name": "cnn"} | arguments))


def test_noise_that_does_not_fit_is_refused():
    model = models.build("cnn", bottlenecks=CVB(1))
    with pytest.raises(ShapeError, match="has 1 bottlenecks, got 0 noise"):
        model.run(torch.rand(1, 3, 32, 32), noise=[])
    with pytest.raises(ShapeError, match="noise must be"):
        model.run(torch.rand(1, 3, 32, 32), noise=[torch.zeros(1, 3)])


def test_groups_of_a_plain_module():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2, bias=False))
    assert models.parameter_groups(net) == {"0": ("0.weight", "0.bias"), "2": ("2.weight",)}
