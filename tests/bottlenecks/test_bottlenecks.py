"""Bottlenecks against closed forms, and their insertion into a module of the user's own."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_kl

from gleak_lib import models
from gleak_lib.bottlenecks import (
    CVB,
    PRECODE,
    Bottleneck,
    Bottlenecked,
    encodings,
    insert,
    kl_divergence,
    sigma_from,
)
from gleak_lib.errors import ParameterError, ShapeError, UnknownNameError
from gleak_lib.models import before_decoder, parameter_groups


def test_exact_kl_equals_that_of_torch_distributions():
    mu, sigma = torch.randn(5, 7, dtype=torch.double), torch.rand(5, 7, dtype=torch.double) + 0.1
    expected = reference_kl(Normal(mu, sigma), Normal(torch.zeros(1), torch.ones(1))).sum(1)
    torch.testing.assert_close(kl_divergence(mu, sigma, "exact"), expected)


def test_encodings_are_what_each_bottleneck_makes_of_its_features():
    model = models.build("cnn", bottlenecks=(PRECODE(3, k=4), CVB(1)), seed=0)
    x, noise = torch.randn(2, 3, 32, 32), [torch.randn(2, *shape) for shape in model.noise_shapes]
    first, second = encodings(model, x, noise)
    features = model.stage1(x)
    torch.testing.assert_close(first, model.bottleneck1.encode(features))
    features = model.stage3(model.stage2(model.bottleneck1(features, noise[0]).features))
    torch.testing.assert_close(second, model.bottleneck3.encode(features))
    assert encodings(nn.Flatten(), x, []) == []


def test_paper_code_kl_by_hand():
    # -1/2 (1 + sigma - mu^2 - e^sigma) for mu = (1, 0), sigma = (0.5, 1): exp(0.5) = 1.6487, e = 2.7183
    value = kl_divergence(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 1.0]]), "paper-code")
    expected = -0.5 * (1 + 0.5 - 1 - 1.648721271) - 0.5 * (1 + 1 - 0 - 2.718281828)
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_kl_minima_sigma_one_for_the_exact_form_the_smallest_for_the_papers():
    sigma = torch.linspace(0.05, 3, 60)[:, None]
    at = {
        form: sigma[kl_divergence(torch.zeros_like(sigma), sigma, form).argmin()].item()
        for form in ("exact", "paper-code")
    }
    assert at["exact"] == pytest.approx(1.0, abs=0.05)
    assert at["paper-code"] == pytest.approx(0.05, abs=1e-6)


def test_kl_of_maps_sums_channels_and_averages_places():
    mu, sigma = torch.randn(2, 3, 4, 5), torch.rand(2, 3, 4, 5) + 0.1
    places = torch.stack(
        [kl_divergence(mu[:, :, i, j], sigma[:, :, i, j]) for i in range(4) for j in range(5)]
    )
    torch.testing.assert_close(kl_divergence(mu, sigma), places.mean(0))


def test_kl_refuses_an_unknown_form():
    with pytest.raises(UnknownNameError, match="KL term 'paper'. Did you mean 'paper-code'.*bits, exact"):
        kl_divergence(torch.zeros(1, 1), torch.ones(1, 1), "paper")  # type: ignore[arg-type]


def test_kl_in_bits_is_the_exact_one_over_ln_2():
    mu, sigma = torch.randn(5, 7, dtype=torch.double), torch.rand(5, 7, dtype=torch.double) + 0.1
    nats = reference_kl(Normal(mu, sigma), Normal(torch.zeros(1), torch.ones(1))).sum(1)
    torch.testing.assert_close(kl_divergence(mu, sigma, "bits"), nats / 0.6931471805599453)
    # by hand: mu = 2, sigma = 1/2 is (4 + 1/4 - 1) / 2 + ln 2 nats, and ln 2 nats are one bit
    by_hand = kl_divergence(torch.tensor([[2.0]]), torch.tensor([[0.5]]), "bits").item()
    assert by_hand == pytest.approx(1.625 / math.log(2) + 1)


@pytest.mark.parametrize("spec", [PRECODE(1, 6), CVB(1, 3), CVB(1, 5, scale=0.25)])
@pytest.mark.parametrize("shape", [(8, 6, 6), (4, 16), (16,)])
def test_shapes_parameters_and_sampling(spec, shape):
    module = spec.build(shape)
    features = torch.randn(3, *shape)
    mu, sigma = module.encode(features)
    out = module(features, torch.full_like(mu, 2.0))
    assert out.features.shape == features.shape
    assert mu.shape[1:] == module.noise_shape
    assert all(p.dim() > 1 for p in module.parameters()), "bottlenecks have no biases"
    torch.testing.assert_close(out.features.reshape(3, -1), module.decoder(mu + 2 * sigma).reshape(3, -1))
    size, channels = features[0].numel(), shape[0]
    kernels = max(1, round(getattr(spec, "scale", 0) * channels))
    expected = (
        3 * spec.k * size
        if isinstance(spec, PRECODE)
        else 2 * spec.kernel_size**2 * channels * kernels + kernels * channels
    )
    assert sum(p.numel() for p in module.parameters()) == expected


def test_sigma_is_a_clipped_softplus():
    raw = torch.tensor([-100.0, -5.0, 0.0, 5.0, 100.0])
    expected = torch.log1p(torch.exp(torch.tensor([-5.0, -5.0, 0.0, 5.0, 5.0])))
    torch.testing.assert_close(sigma_from(raw), expected)
    with pytest.raises(UnknownNameError, match="form of sigma 'softpls'. Did you mean 'softplus'"):
        sigma_from(raw, "softpls")  # type: ignore[arg-type]


def test_sigma_without_the_clip():
    raw = torch.tensor([-100.0, -7.0, 0.0, 7.0, 30.0], dtype=torch.double)
    torch.testing.assert_close(sigma_from(raw, "softplus"), torch.log1p(raw.exp()))
    assert sigma_from(raw, "softplus")[4].item() == pytest.approx(30)


RELEASE = {"bias": True, "sigma": "softplus", "kl": "bits"}


def test_precode_as_its_own_release_has_it():
    """SPEC §13: linear layers with bias, softplus without a clip, KL over ln 2, mean over the batch."""
    module = PRECODE(1, 6, **RELEASE).build((4, 5, 5)).double()
    assert sum(p.numel() for p in module.parameters()) == 3 * 6 * 100 + 2 * 6 + 100
    features = 30 * torch.randn(8, 4, 5, 5, dtype=torch.double)
    noise = torch.randn(8, 6, dtype=torch.double)
    enc, dec = module.encoder, module.decoder
    statistics = features.flatten(1) @ enc.weight.T + enc.bias
    mu, raw = statistics[:, :6], statistics[:, 6:]
    assert raw.max() > 5 and raw.min() < -5, "the clip would count here"
    sigma = torch.log1p(raw.exp())
    out = module(features, noise)
    b = mu + noise * sigma
    expected = (b @ dec.weight.T + dec.bias).reshape(features.shape)
    torch.testing.assert_close(out.features, expected)
    nats = reference_kl(Normal(mu, sigma), Normal(torch.zeros(1), torch.ones(1))).sum(1)
    torch.testing.assert_close(out.kl.mean(), nats.mean() / math.log(2))


def test_the_releases_precode_in_a_model():
    spec = PRECODE(2, 5, beta=0.3, **RELEASE)
    model = models.build("mlp", input_shape=(3, 4, 4), width=9, bottlenecks=spec).eval()
    x = torch.rand(4, 3, 4, 4)
    with torch.no_grad():
        run = model.run(x)
        by_hand = model.bottleneck2(model.stage2(model.stage1(x)), run.noise[0])
    torch.testing.assert_close(run.kl, 0.3 * by_hand.kl)
    assert [n for n, _ in model.named_parameters() if n.startswith("bottleneck2")] == [
        f"bottleneck2.{part}.{kind}" for part in ("encoder", "decoder") for kind in ("weight", "bias")
    ]


def test_statistics_of_the_draw():
    module = PRECODE(1, 4).build((10,))
    features = torch.randn(1, 10).expand(20_000, 10)
    noise = module(features, generator=torch.Generator().manual_seed(0)).noise
    assert noise.mean().abs() < 0.01
    assert abs(noise.std() - 1) < 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PRECODE(k=0), "k must be at least 1, got 0"),
        (lambda: CVB(kernel_size=4), "kernel_size must be odd and positive, got 4"),
        (lambda: CVB(scale=0), "scale must be positive and finite, got 0"),
        (lambda: PRECODE(kl="bit"), "form of the KL term 'bit'. Did you mean 'bits'"),
        (lambda: CVB(kl="extract"), "form of the KL term 'extract'. Did you mean 'exact'"),
        (lambda: PRECODE(sigma="clipped"), "form of sigma 'clipped'.*There is: clipped-softplus, softplus"),
    ],
)
def test_specifications_refuse(make, message):
    with pytest.raises((ParameterError, UnknownNameError), match=message):
        make()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="square number of features, got 15"):
        CVB().build((4, 15))
    module = CVB().build((4, 8, 8))
    with pytest.raises(ShapeError, match=r"built for features of shape \(4, 8, 8\), got \(4, 9, 9\)"):
        module(torch.zeros(1, 4, 9, 9))
    with pytest.raises(ShapeError, match="noise must be"):
        module(torch.zeros(1, 4, 8, 8), torch.zeros(1, 3, 8, 8))


class Net(nn.Module):
    """A user's model whose registration order is not its forward order."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(inplace=True))
        self.layer2 = nn.Conv2d(4, 6, 3)

    def forward(self, x):
        return self.head(self.layer2(self.layer1(x)).mean((2, 3)))


def test_insert_puts_a_bottleneck_behind_a_submodule():
    net = Net()
    model = insert(net, after="layer1", spec=CVB(kernel_size=3), input_shape=(3, 12, 12), seed=0)
    x = torch.rand(2, 3, 12, 12)
    run = model.run(x, generator=torch.Generator().manual_seed(0))
    by_hand = model.bottlenecks["bottleneck1"](net.layer1(x), run.noise[0])
    torch.testing.assert_close(run.logits, net.head(net.layer2(by_hand.features).mean((2, 3))))
    torch.testing.assert_close(run.kl, 0.1 * by_hand.kl)
    assert torch.equal(net(x), net(x)), "the user's own module is left as it was"
    assert model.noise_shapes == ((2, 5, 5),)


def test_groups_after_insert_follow_the_forward_pass():
    model = insert(Net(), "layer1", PRECODE(k=4), input_shape=(3, 12, 12))
    assert list(model.groups) == [
        "base.layer1.0",
        "bottleneck1.encoder",
        "bottleneck1.decoder",
        "base.layer2",
        "base.head",
    ]
    assert {n for g in model.groups.values() for n in g} == {n for n, _ in model.named_parameters()}
    assert before_decoder(tuple(parameter_groups(model))) == ("base.layer1.0", "bottleneck1.encoder")


def test_what_builds_no_bottleneck_is_refused():
    class Plain(Bottleneck):
        def build(self, shape):
            return nn.Identity()

    message = "Plain.build must return a VariationalBottleneck, as self.around.* does, got Identity"
    with pytest.raises(ParameterError, match=message):
        insert(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "0", Plain(), input_shape=(1, 2, 2))
    with pytest.raises(ParameterError, match=message):
        models.build("lenet", bottlenecks=Plain())


def test_insert_twice():
    once = insert(Net(), "layer2", CVB(), input_shape=(3, 12, 12))
    twice = insert(once, "layer1", PRECODE(k=4), input_shape=(3, 12, 12))
    assert isinstance(twice, Bottlenecked)
    run = twice.run(torch.rand(2, 3, 12, 12))
    assert [tuple(n.shape) for n in run.noise] == [(2, *s) for s in twice.noise_shapes]
    assert list(twice.groups).index("bottleneck2.decoder") < list(twice.groups).index("bottleneck1.encoder")


def test_insert_names_the_fix():
    with pytest.raises(UnknownNameError, match="Unknown submodule 'layer3'. Did you mean 'layer"):
        insert(Net(), "layer3", CVB(), input_shape=(3, 12, 12))
    with pytest.raises(ShapeError, match="does not accept an input of shape"):
        insert(Net(), "layer1", CVB(), input_shape=(1, 12, 12))


FLOORED = [
    lambda **o: PRECODE(1, 6, **o),
    lambda **o: CVB(1, 3, **o),
    lambda **o: CVB(1, 3, kl="exact", **o),
]


@pytest.mark.parametrize("make", FLOORED)
def test_a_floor_under_sigma(make):
    """Some of these sigmas are raised; mu, the decoder's input and the KL term follow by hand."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make(sigma_floor=0.7).build((4, 6, 6)).double()
    features = 3 * torch.randn(5, 4, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    raw_mu, raw = module.encoder(features.reshape(5, *module.inner_shape)).chunk(2, 1)
    sigma = torch.maximum(torch.log1p(raw.clamp(-5, 5).exp()), torch.tensor(0.7, dtype=torch.double))
    assert 0 < (sigma == 0.7).sum() < sigma.numel()
    mu, found = module.encode(features)
    torch.testing.assert_close(found, sigma)
    assert torch.equal(mu, raw_mu)
    noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(1)).double()
    out = module(features, noise)
    torch.testing.assert_close(out.features.reshape(5, -1), module.decoder(mu + sigma * noise).reshape(5, -1))
    torch.testing.assert_close(out.kl, kl_divergence(mu, sigma, module.kl))


@pytest.mark.parametrize("make", FLOORED)
def test_no_floor_or_one_below_the_clip_changes_nothing(make):
    features = torch.randn(2, 4, 6, 6)
    plain = make().build((4, 6, 6))
    noise = torch.randn(2, *plain.noise_shape)
    for floor in (0.0, 0, 0.0067):
        other = make(sigma_floor=floor).build((4, 6, 6))
        other.load_state_dict(plain.state_dict())
        for one, two in zip(plain(features, noise), other(features, noise), strict=True):
            assert torch.equal(one, two)


def test_a_floor_reaches_models_and_modules_it_is_inserted_into():
    x = torch.rand(2, 3, 12, 12)
    model = insert(Net(), "layer1", PRECODE(k=4, sigma_floor=50.0), input_shape=(3, 12, 12), seed=0)
    module = model.bottlenecks["bottleneck1"]
    assert module.encode(torch.randn(2, 4, 5, 5))[1].eq(50).all()
    kl = model.run(x).kl
    assert (kl > 0.01 * 4 * (50**2 - 1 - 2 * math.log(50)) / 2).all(), "the KL term is that of the floor"


@pytest.mark.parametrize("floor", [-0.1, float("inf"), float("nan")])
@pytest.mark.parametrize("make", [PRECODE, CVB])
def test_what_a_floor_may_not_be(make, floor):
    with pytest.raises(ParameterError, match=f"sigma_floor must be finite and not negative, got {floor}"):
        make(sigma_floor=floor)


@pytest.mark.parametrize("after", ["stage2", "stage1"])
def test_insert_into_a_model_with_bottlenecks_keeps_theirs(after):
    """Noise and KL terms of both, in that order, whichever the forward pass comes to first."""
    own = models.build("lenet", input_shape=(3, 8, 8), num_classes=3, bottlenecks=PRECODE(2, k=4), seed=0)
    model = insert(own, after, CVB(kernel_size=3), input_shape=(3, 8, 8), seed=0)
    inner, outer = own.bottlenecks["bottleneck2"], model.bottlenecks["bottleneck1"]
    assert model.noise_shapes == (inner.noise_shape, outer.noise_shape)
    x = torch.rand(2, 3, 8, 8)
    noise = [torch.randn(2, *shape) for shape in model.noise_shapes]
    run = model.run(x, noise)
    assert torch.equal(model.run(x, noise).logits, run.logits)
    assert all(torch.equal(a, b) for a, b in zip(run.noise, noise, strict=True))
    other = model.run(x, [noise[0] + 1, noise[1]])
    assert not torch.allclose(other.logits, run.logits)

    def through(module, features, own_noise):
        out = module(features, own_noise)
        return out.features, module.beta * out.kl

    first = own.stage1(x)
    if after == "stage1":
        first, kl = through(outer, first, noise[1])
        second, more = through(inner, own.stage2(first), noise[0])
    else:
        second, kl = through(outer, own.stage2(first), noise[1])
        second, more = through(inner, second, noise[0])
    rest = [getattr(own, f"stage{i}") for i in range(3, own.depth + 1)]
    torch.testing.assert_close(run.logits, own.head(nn.Sequential(*rest)(second)))
    torch.testing.assert_close(run.kl, kl + more)
    assert {n for g in model.groups.values() for n in g} == {n for n, _ in model.named_parameters()}
    draws = [model.run(x, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(draws[0].logits, draws[1].logits)
    with pytest.raises(ShapeError, match="2 bottlenecks, got 1 noise"):
        model.run(x, noise[:1])


def test_insert_refuses_bottlenecks_that_a_wrapper_hides():
    own = models.build("lenet", input_shape=(3, 8, 8), num_classes=3, bottlenecks=PRECODE(k=4), seed=0)
    with pytest.raises(ParameterError, match="1 has bottlenecks, and Sequential around it hides their noise"):
        insert(nn.Sequential(nn.Identity(), own), "0", CVB(), input_shape=(3, 8, 8))


def test_insert_into_a_model_with_tied_and_unused_layers():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    net[2].weight = net[1].weight
    net[1].never = nn.Linear(2, 2)
    model = insert(net, "1", PRECODE(k=2), input_shape=(1, 2, 2), seed=0)
    names = [n for g in model.groups.values() for n in g]
    assert sorted(names) == sorted(n for n, _ in model.named_parameters())
    assert next(iter(model.groups)) == "base.1.never"


def test_insert_into_a_model_without_parameters():
    model = insert(nn.Sequential(nn.Flatten(), nn.ReLU()), "0", PRECODE(k=2), input_shape=(1, 2, 2), seed=0)
    assert model(torch.rand(3, 1, 2, 2)).shape == (3, 4)
