"""DP-SGD against Opacus' own per-example gradients, optimizer and accountant; its noise; what it refuses."""

import copy
import math
import sys

import pytest
import scipy.stats
import torch
from torch.nn import functional as F

from gleak_lib.attacks import observe
from gleak_lib.bottlenecks import CVB, PRECODE, sample_noise
from gleak_lib.defenses import DP, Batch, Privacy, epsilon
from gleak_lib.errors import MissingDependencyError, ParameterError

opacus = pytest.importorskip("opacus")
from opacus.accountants import RDPAccountant  # noqa: E402
from opacus.optimizers import DPOptimizer  # noqa: E402


def released_by_opacus(model, x, labels, *, bound, sigma, noise=(), generator=None):
    """One step's released gradient: GradSampleModule and DPOptimizer, as Opacus' engine joins them."""
    wrapped = opacus.GradSampleModule(copy.deepcopy(model))
    inner = torch.optim.SGD(wrapped.parameters(), lr=1.0)
    optimizer = DPOptimizer(
        inner,
        noise_multiplier=sigma,
        max_grad_norm=bound,
        expected_batch_size=len(x),
        generator=generator,
    )
    run = wrapped._module.run(x.detach().requires_grad_(), list(noise) or None)
    loss = F.cross_entropy(run.logits, labels, reduction="none") + run.kl
    loss.mean().backward()
    optimizer.pre_step()
    return {n: p.grad for n, p in wrapped._module.named_parameters()}


def examples(model, count=6):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(count, *model.input_shape, generator=g)
    labels = torch.randint(3, (count,), generator=g)
    return x, labels, sample_noise(model, count, x, g)


CASES = [
    ("cnn", {}),
    ("cnn", {"bottlenecks": (CVB(1, beta=0.3),)}),
    ("cnn", {"bottlenecks": (PRECODE(2, 4, beta=0.3),)}),
    ("dmlp", {}),
    ("dmlp", {"width": 64, "bottlenecks": (PRECODE(4, 8, beta=0.3),)}),  # wide enough for factors
    ("lenet", {}),
    ("resnet18", {}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("bound", [1e-2, 0.5, 1e3])
def test_clipped_mean_is_opacus_own(small, name, options, bound):
    model = small(name, **options)
    x, labels, noise = examples(model)
    expected = released_by_opacus(model, x, labels, bound=bound, sigma=0.0, noise=noise)
    zeros = {n: torch.zeros(1, *p.shape) for n, p in model.named_parameters()}
    found = DP(bound, 0.0).bind(Batch(model, x, labels, 1, noise))(zeros)
    for n, g in found.items():
        torch.testing.assert_close(g[0], expected[n], rtol=1e-4, atol=1e-5 * min(bound, 1))


def test_the_same_generator_gives_opacus_own_noise(small):
    model = small("cnn")
    x, labels, _ = examples(model)
    rngs = [torch.Generator().manual_seed(4) for _ in range(2)]
    expected = released_by_opacus(model, x, labels, bound=0.5, sigma=0.7, generator=rngs[0])
    zeros = {n: torch.zeros(1, *p.shape) for n, p in model.named_parameters()}
    found = DP(0.5, 0.7).bind(Batch(model, x, labels))(zeros, generator=rngs[1])
    for n, g in found.items():
        torch.testing.assert_close(g[0], expected[n], rtol=1e-5, atol=1e-6)


def test_observed_batches_of_several_victims(small):
    model = small("cnn", bottlenecks=(CVB(1),))
    images = torch.rand(3, 4, *model.input_shape, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1, 2, 0], [1, 1, 1, 1], [2, 0, 2, 0]])
    seed = torch.Generator().manual_seed(7)
    seen = observe(model, images, labels, defense=DP(0.1, 0.0), generator=seed, share_noise=True)
    for v in range(3):
        noise = [n[4 * v : 4 * v + 4] for n in seen.noise]
        expected = released_by_opacus(model, images[v], labels[v], bound=0.1, sigma=0.0, noise=noise)
        for n, g in seen.gradients.items():
            torch.testing.assert_close(g[v], expected[n], rtol=1e-4, atol=1e-6)
    assert seen.defense.batch is None, "the server is not given what the defense was bound to"


@pytest.mark.parametrize(("name", "options"), [("cnn", {}), ("dmlp", {"width": 64})])
def test_examples_are_taken_some_at_a_time(small, monkeypatch, name, options):
    model = small(name, **options)
    x, labels, _ = examples(model)
    zeros = {n: torch.zeros(2, *p.shape) for n, p in model.named_parameters()}
    defense = DP(0.1, 0.0).bind(Batch(model, x, labels, 2))
    at_once = defense(zeros)
    monkeypatch.setattr(sys.modules["gleak_lib.defenses.dp"], "ENTRIES", 1)
    for n, g in defense(zeros).items():
        torch.testing.assert_close(g, at_once[n], rtol=1e-5, atol=1e-7)


def test_noise_has_the_stated_law():
    zeros = {"w": torch.zeros(2, 50_000), "v": torch.zeros(2, 10)}
    noise = DP(20.0, 0.1)(zeros, generator=torch.Generator().manual_seed(0))["w"]
    assert scipy.stats.kstest(noise.flatten().numpy(), scipy.stats.norm(0, 2.0).cdf).pvalue > 0.01
    assert noise.std().item() == pytest.approx(20 * 0.1, rel=0.01)


def test_noise_of_a_batch_is_divided_by_its_size(small):
    model = small("dmlp", width=200)
    x, labels, _ = examples(model)
    zeros = {n: torch.zeros(1, *p.shape) for n, p in model.named_parameters()}
    plain, noisy = (
        DP(1.0, sigma).bind(Batch(model, x, labels))(zeros, generator=torch.Generator().manual_seed(0))
        for sigma in (0.0, 3.0)
    )
    noise = torch.cat([(noisy[n] - plain[n]).flatten() for n in plain])
    assert noise.std().item() == pytest.approx(3.0 / 6, rel=0.02)


def test_a_dict_of_gradients_is_clipped_update_by_update():
    given = {"a": torch.tensor([[3.0, 0.0], [0.3, 0.0]]), "b": torch.tensor([[4.0], [0.4]])}
    found = DP(1.0, 0.0)(given)
    torch.testing.assert_close(found["a"], torch.tensor([[0.6, 0.0], [0.3, 0.0]]))
    torch.testing.assert_close(found["b"], torch.tensor([[0.8], [0.4]]))


def test_batchnorm_in_training_mode_is_refused_and_not_in_evaluation(small):
    model = small("mlp")
    x, labels, _ = examples(model)
    with pytest.raises(ParameterError, match=r"stage1\S* is a BatchNorm in training mode"):
        DP().bind(Batch(model, x, labels))
    DP().bind(Batch(model.eval(), x, labels))


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"), [(1.0, 1 / 71, 710), (0.1, 0.2, 50), (1e-3, 1 / 71, 710)]
)
def test_epsilon_is_the_accountants(sigma, rate, steps):
    accountant = RDPAccountant()
    for _ in range(steps):
        accountant.step(noise_multiplier=sigma, sample_rate=rate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *a, **k: None)
        expected = accountant.get_epsilon(delta=1e-5)
    assert epsilon(Privacy(sigma, 1e-5), sample_rate=rate, steps=steps) == pytest.approx(expected)


def test_epsilon_of_the_gaussian_mechanism_in_closed_form():
    # Without sampling the Renyi divergence is alpha / (2 sigma^2) a step; Opacus' conversion at its orders.
    sigma, delta, steps = 5.0, 1e-5, 3
    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
    bounds = [
        steps * a / (2 * sigma**2) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1)
        for a in orders
    ]
    found = epsilon(Privacy(sigma, delta), sample_rate=1.0, steps=steps)
    assert found == pytest.approx(min(bounds))


def test_epsilon_without_steps_and_without_noise():
    assert epsilon(Privacy(1.0, 1e-5), sample_rate=0.1, steps=0) == 0.0
    assert epsilon(Privacy(0.0, 1e-5), sample_rate=0.1, steps=1) == math.inf


def test_epsilon_needs_opacus(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "gleak\[defenses\]"'):
        epsilon(Privacy(1.0, 1e-5), sample_rate=0.1, steps=1)
