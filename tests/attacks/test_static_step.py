"""Steps on static buffers, traced steps and coarser arithmetic give what the plain step gives."""

import gc

import pytest
import torch

from gleak_lib import defenses
from gleak_lib.attacks import ATTACKS, Attack, Fixed, Resample, engine, invert, lbfgs, observe
from gleak_lib.attacks import step as stepping
from gleak_lib.attacks.precision import PRECISIONS, arithmetic
from gleak_lib.attacks.replay import Replayed
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import UnknownNameError
from gleak_lib.models import MODELS


def brief(name, max_steps=3, inner_steps=3, **changes):
    attack = ATTACKS[name].replace(max_steps=max_steps, **changes)
    return attack.replace(inner_steps=inner_steps) if attack.kind == "lbfgs" else attack


ITERATIVE = sorted(name for name, attack in ATTACKS.items() if isinstance(attack, Attack))


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def observed(network, victims=3, dtype=torch.double, **kw):
    network = network.eval().to(dtype)
    images = torch.rand(victims, *network.input_shape, generator=rng(0), dtype=dtype)
    labels = torch.tensor([0, 2, 1, 0])[:victims]
    return observe(network, images, labels, generator=rng(), mean=0.5, std=0.25, share_noise=True, **kw)


@pytest.fixture
def replayed(monkeypatch):
    """Lets the engine keep its steps on static buffers, as on a GPU; here they are called, not recorded."""
    plain = stepping.Step.__init__

    def init(self, *args, **kwargs):
        plain(self, *args, **kwargs | {"replay": True})

    def use(on):
        monkeypatch.setattr(stepping.Step, "__init__", init if on else plain)

    return use


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("bottlenecks", [(), (PRECODE(1, 3), CVB(2, 3))], ids=["plain", "bottlenecks"])
def test_every_attack_on_static_buffers(name, bottlenecks, small, replayed):
    observation = observed(small("cnn", bottlenecks=bottlenecks))
    attack = brief(name, 4, restarts=2)
    plain = invert(observation, attack, generator=rng())
    replayed(True)
    found = invert(observation, attack, generator=rng())
    torch.testing.assert_close(found, plain, equal_nan=True, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_on_static_buffers(name, small, replayed):
    observation = observed(small(name), defense=defenses.Compression(0.5))
    attack = ATTACKS["ig"].replace(max_steps=3)
    plain = invert(observation, attack, generator=rng())
    replayed(True)
    torch.testing.assert_close(invert(observation, attack, generator=rng()), plain, equal_nan=True)


@pytest.mark.parametrize("how", ["buffers", "chunks", "traced", "no look", "no look, buffers"])
def test_new_noise_at_each_evaluation_however_the_step_is_run(how, small, replayed, monkeypatch):
    observation = observed(small("cnn", bottlenecks=(PRECODE(1, 3), CVB(2, 3))), victims=4)
    attack = ATTACKS["idlg"].replace(
        noise=Resample(each_evaluation=True),
        max_steps=4,
        inner_steps=3,
        noise_samples=2,
        stop_after=1,
        lr=1.0,
    )
    plain = invert(observation, attack, generator=rng())
    assert plain.steps.unique().numel() > 1, "some victims leave earlier"
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)
    if how == "chunks":
        monkeypatch.setattr(stepping, "CHUNK", 3)
    if how.startswith("no look"):
        monkeypatch.setattr(lbfgs.LBFGS, "waits", lambda *_: False)
        monkeypatch.setattr(engine, "CHECK_EVERY", 1)
    if how.endswith("buffers"):
        replayed(True)
    found = invert(observation, attack, generator=rng(), compile=how == "traced")
    torch.testing.assert_close(found, plain, equal_nan=True, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["ig", "expectation"])
def test_with_adam_new_noise_at_each_evaluation_is_new_noise_each_step(name, small):
    observation = observed(small("cnn", bottlenecks=CVB(1, 3)))
    attack = ATTACKS[name].replace(max_steps=4)
    other = invert(observation, attack.replace(noise_each_evaluation=True), generator=rng())
    torch.testing.assert_close(other, invert(observation, attack, generator=rng()), equal_nan=True)


def test_victims_that_stop_leave_the_buffers_too(small, replayed, monkeypatch):
    monkeypatch.setattr(engine, "CHECK_EVERY", 2)
    observation = observed(small("cnn"), victims=4)
    attack = ATTACKS["ig"].replace(max_steps=30, stop_after=3, lr=0.5)
    plain = invert(observation, attack, generator=rng())
    assert plain.steps.unique().numel() > 1
    replayed(True)
    torch.testing.assert_close(invert(observation, attack, generator=rng()), plain, equal_nan=True)


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("compiled", [False, True])
def test_many_victims_are_stepped_in_chunks(name, compiled, small, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)
    observation = observed(small("cnn", bottlenecks=CVB(1, 3)), victims=4)
    attack = brief(name, inner_steps=2, noise_samples=2)
    plain = invert(observation, attack, generator=rng())
    monkeypatch.setattr(stepping, "CHUNK", 3)
    found = invert(observation, attack, generator=rng(), compile=compiled)
    torch.testing.assert_close(found, plain, equal_nan=True, rtol=1e-9, atol=1e-9)


def test_a_replayed_step_writes_where_it_reads():
    calls = []

    def step(state, problem, noise, tick):
        calls.append(state["x"].data_ptr())
        return {"x": state["x"] + problem["y"] + noise[0] * tick}, state["x"].sum(1)

    run = Replayed(step, feedback=True)
    x, y = torch.ones(2, 3), torch.full((2, 3), 2.0)
    state, loss = run({"x": x}, {"y": y}, (torch.ones(2, 3),), torch.tensor(10.0))
    assert state["x"].eq(13).all()
    assert loss.eq(3).all()
    assert x.eq(1).all(), "what came in is left alone"
    again, later = run(state, {"y": y}, (torch.zeros(2, 3),), torch.tensor(10.0))
    assert again["x"].data_ptr() == state["x"].data_ptr() == calls[0] == calls[1]
    assert again["x"].eq(15).all()
    assert later.eq(39).all()
    assert loss.eq(3).all(), "losses are kept by the caller"
    few, _ = run({"x": x[:1]}, {"y": y[:1]}, (torch.zeros(1, 3),), torch.tensor(1.0))
    assert few["x"].shape == (1, 3)
    assert len(run.recordings) == 2


def test_outputs_may_be_other_inputs():
    run = Replayed(lambda pair: ((pair[1], pair[0]),), feedback=True)
    ((a, b),) = run((torch.zeros(2), torch.ones(2)))
    assert a.tolist() == [1, 1]
    assert b.tolist() == [0, 0]


def test_what_cannot_be_recorded_runs_plainly_and_says_so_once(monkeypatch):
    def broken(*_args):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(Replayed, "_record", broken)
    run = Replayed(lambda x: (x + 1,), feedback=True)
    with pytest.warns(
        UserWarning, match=r"without a CUDA graph: operation not permitted .* capturing$"
    ) as seen:
        results = [run(torch.zeros(2))[0] for _ in range(3)]
    assert len(seen) == 1
    assert all(r.eq(1).all() for r in results)


@pytest.mark.parametrize("name", ["dlg", "idlg"])
def test_lbfgs_without_looking_at_values(name, small, monkeypatch):
    observation = observed(small("lenet"))
    attack = ATTACKS[name].replace(max_steps=5, inner_steps=6, memory=4, lr=1.0)
    plain = invert(observation, attack, generator=rng())
    looked = []
    monkeypatch.setattr(lbfgs.LBFGS, "waits", lambda *_: looked.append(1))
    found = invert(observation, attack, generator=rng())
    assert looked
    torch.testing.assert_close(found, plain, equal_nan=True, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ITERATIVE)
def test_every_attack_can_be_traced(name, small, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)  # the tracing alone
    observation = observed(small("cnn", bottlenecks=CVB(1, 3)))
    attack = brief(name, inner_steps=2)
    plain = invert(observation, attack, generator=rng())
    torch.testing.assert_close(
        invert(observation, attack, generator=rng(), compile=True), plain, equal_nan=True
    )


@pytest.mark.parametrize("name", ["lenet4", "mcmahan_cnn", "mlp", "vit"])
def test_models_can_be_traced(name, small, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)
    observation = observed(small(name), victims=2)
    attack = ATTACKS["ig"].replace(max_steps=2)
    plain = invert(observation, attack, generator=rng())
    torch.testing.assert_close(
        invert(observation, attack, generator=rng(), compile=True), plain, equal_nan=True
    )


@pytest.mark.parametrize(("precision", "bound"), [("float32", 0.0), ("tf32", 1e-3), ("bf16", 0.1)])
def test_coarser_arithmetic_moves_the_reconstruction_this_much_at_most(precision, bound, small):
    """On a CPU, TF32 changes nothing: what it may change on a GPU is bounded by the same test there."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = small("cnn", bottlenecks=CVB(1, 3)).to(device)
    images = torch.rand(3, *network.input_shape, generator=rng(0)).to(device)
    observation = observe(
        network, images, torch.tensor([0, 2, 1], device=device), generator=rng(), mean=0.5, std=0.25
    )
    attack = ATTACKS["ig"].replace(max_steps=60, lr=0.05, signed=False, noise=Fixed())
    exact = invert(observation, attack, generator=rng())
    found = invert(observation, attack, generator=rng(), precision=precision)
    assert (found.images - exact.images).square().mean().sqrt() <= bound
    assert (found.loss - exact.loss).abs().max() <= bound
    if precision == "bf16":
        assert not found.images.equal(exact.images), "it was computed in bfloat16"


def test_the_use_of_tf32_is_asked_for_and_put_back():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    for precision in PRECISIONS:
        with arithmetic(precision):
            assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
            assert torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_a_precision_that_there_is_not(small):
    with pytest.raises(UnknownNameError, match=r"'fp8'.*bf16, float32, tf32"):
        invert(observed(small("cnn")), ATTACKS["ig"], precision="fp8")


def test_memory_does_not_grow_with_the_steps(small):
    """Between two steps nothing but the trace of losses is added."""
    counts = {}

    def watch(step, *_):
        if step in (101, 301):
            gc.collect()
            tensors = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
            counts[step] = len(tensors), sum(t.numel() for t in tensors)

    observation = observed(small("lenet"), dtype=torch.float32)
    invert(observation, ATTACKS["ig"].replace(max_steps=301), generator=rng(), callback=watch)
    blocks = 200 // engine.CHECK_EVERY
    assert counts[301][0] - counts[101][0] <= blocks
    assert counts[301][1] - counts[101][1] <= 200 * observation.victims
