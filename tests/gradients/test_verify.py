"""Models whose code breaks what the fast path assumes: served by another path, or refused with a sentence."""

import contextlib
import copy
import gc
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gleak_lib import attacks, gradients, models
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.errors import GradientError, ParameterError, ShapeError
from gleak_lib.gradients import paths, verify

SHAPE, CLASSES, VICTIMS = (3, 6, 6), 4, 3


class Net(nn.Module):
    """Two convolutions and a linear layer; subclasses do something in between."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 5, 3)
        self.out = nn.Linear(20, CLASSES)

    def forward(self, x):
        return self.out(self.between(self.conv2(self.between(self.conv1(x)))).flatten(1))

    def between(self, x):
        return torch.tanh(x)


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().double()


def batch(rows: int = VICTIMS):
    stream = torch.Generator().manual_seed(1)
    return torch.randn(rows, *SHAPE, generator=stream).double(), torch.arange(rows) % CLASSES


def ordinary(model: nn.Module, x, labels, size: int = 1):
    """Each client's gradients: an ordinary backward() on its own images; None counts as zero."""
    rows = []
    for images, classes in zip(x.split(size), labels.split(size), strict=True):
        own = copy.deepcopy(model)
        F.cross_entropy(own(images), classes).backward()
        rows.append({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in own.named_parameters()})
    return {n: torch.stack([row[n] for row in rows]) for n in rows[0]}


def assert_right(model: nn.Module, size: int = 1):
    x, labels = batch(VICTIMS * size)
    found, _ = gradients.per_victim_gradients(gradients.prepare(model, size), x, labels, victims=VICTIMS)
    expected = ordinary(model, x, labels, size)
    assert list(found) == list(expected)
    for name, g in expected.items():
        torch.testing.assert_close(found[name], g, rtol=1e-8, atol=1e-10)


def between(code):
    return type("Changed", (Net,), {"between": lambda self, x: code(x)})


def _assigned(x):
    x[:, :2] = 0
    return x


def _augmented(x):
    x *= 3
    x += 1
    return torch.relu(x)


IN_PLACE = {
    "relu": lambda x: F.relu(x, inplace=True),
    "relu_": lambda x: x.relu_(),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1, inplace=True),
    "mul_": lambda x: x.mul_(3),
    "clamp_": lambda x: x.clamp_(-0.3, 0.2),
    "assigned": _assigned,
    "augmented": _augmented,
    "view": lambda x: x.view(len(x), -1).clamp_(min=0).view_as(x),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_functions_that_change_a_layers_output_in_place(name):
    """They take no other path: no warning, which here would be an error."""
    model = made(between(IN_PLACE[name]))
    assert_right(model)
    assert gradients.path(gradients.prepare(model, 1), batch()[0], gradients.trained(model)) == "fast"


class Tied(Net):
    def __init__(self):
        super().__init__()
        self.conv3 = nn.Conv2d(5, 5, 3, padding=1)
        self.conv3.weight = self.conv2.weight

    def between(self, x):
        return torch.tanh(self.conv3(x))


class TiedToNoRule(Net):
    """The second holder has no fast rule."""

    def __init__(self):
        super().__init__()
        self.again = nn.Conv2d(5, 5, 3, padding="same")
        self.again.weight = self.conv2.weight

    def between(self, x):
        return torch.tanh(self.again(x))


class Reused(Net):
    def __init__(self):
        super().__init__()
        self.same = nn.Conv2d(5, 5, 1)

    def between(self, x):
        return self.same(torch.tanh(self.same(x)))


class Unused(Net):
    def __init__(self):
        super().__init__()
        self.never = nn.Linear(2, 2)


@pytest.mark.parametrize("kind", [Tied, TiedToNoRule, Reused, Unused])
def test_weights_with_several_uses_or_none(kind):
    assert_right(made(kind))
    assert_right(made(kind), size=2)


class WeightOutside(Net):
    def between(self, x):
        return torch.tanh(F.conv2d(x, self.conv2.weight, padding=1))


class ByForward(Net):
    """Calls a layer past its hooks."""

    def between(self, x):
        return torch.tanh(x) if x.shape[-1] == 2 else self.conv2.forward(F.pad(x, (1, 1, 1, 1)))


class ByKeyword(Net):
    def __init__(self):
        super().__init__()
        self.more = nn.Conv2d(5, 5, 1)

    def between(self, x):
        return torch.tanh(self.more(input=x))


class OtherOrder(Net):
    """A linear layer on positions x images x channels."""

    def __init__(self):
        super().__init__()
        self.token = nn.Linear(5, 5)

    def between(self, x):
        rows = torch.tanh(self.token(x.flatten(2).permute(2, 0, 1)))
        return rows.permute(1, 2, 0).reshape(x.shape)


@pytest.mark.parametrize("kind", [WeightOutside, ByForward, ByKeyword, OtherOrder])
def test_where_the_fast_path_is_wrong_vmap_is_taken_with_one_warning(kind):
    model = made(kind)
    with pytest.warns(
        UserWarning, match=f"Gradients of {kind.__name__} are taken by torch.func.vmap"
    ) as said:
        assert_right(model)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_right(model)  # remembered
    with pytest.raises(ParameterError, match="The fast path is wrong for this model"):
        x, labels = batch()
        gradients.per_victim_gradients(gradients.prepare(model, 1), x, labels, victims=VICTIMS, method="fast")


LOOKS = {
    "mean": lambda x: x if x.max() > 1e6 else torch.tanh(x),
    "item": lambda x: torch.tanh(x) * max(1.0, x.detach().abs().max().item() - 1e6),
    "any": lambda x: x if bool((x > 1e6).any()) else torch.tanh(x),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_forward_that_looks_at_values_goes_by_the_loop(name):
    """The branch is one that the trial's images do not take."""
    model = made(between(LOOKS[name]))
    with pytest.warns(UserWarning, match="by a plain loop, which is slow: its forward decides by values"):
        assert_right(model)


class RunningMean(nn.BatchNorm2d):
    """Another BatchNorm: what stands in for torch's own does not stand in for this one."""

    def forward(self, x):
        return x - 0.5 * x.mean((0, 2, 3), keepdim=True)


class Counting(Net):
    """Divides by the number of its passes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def between(self, x):
        self.passes += 1
        return torch.tanh(x) / self.passes


class InPlaceFirst(nn.Module):
    def forward(self, x):
        return x.mul_(2)


class Detached(nn.Module):
    def forward(self, x):
        return x.detach()


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def behind(*others: type[nn.Module]):
    return lambda: nn.Sequential(Net(), *(kind() for kind in others))


OWN = torch.Generator()
REFUSED = {
    "mean over the batch": (between(lambda x: x - x.mean(0)), "mixes the images of a batch"),
    "softmax over the batch": (between(lambda x: x.softmax(0)), "mixes the images of a batch"),
    "a BatchNorm of one's own": (
        lambda: nn.Sequential(RunningMean(3), Net()),
        "mixes the images of a batch",
    ),
    "spectral normalization": (
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 3, padding=1)), Net()),
        "changes its buffers in a forward pass.*spectral normalization.*call model.eval",
    ),
    "a counter": (Counting, "changes its buffers in a forward pass.*call model.eval"),
    "dropout": (between(lambda x: F.dropout(x, 0.5, training=True)), "draws random numbers"),
    "rare dropout": (between(lambda x: F.dropout(x, 1e-9, training=True)), "draws random numbers"),
    "rrelu": (between(lambda x: F.rrelu(x, training=True)), "draws random numbers"),
    "own generator": (
        between(lambda x: x + torch.rand(1, generator=OWN)),
        "gives other outputs each time",
    ),
    "bottleneck in a wrapper": (
        lambda: nn.Sequential(
            nn.Identity(), models.build("lenet", input_shape=SHAPE, num_classes=4, bottlenecks=PRECODE(k=2))
        ),
        "must be given their noise",
    ),
    "input": (lambda: nn.Sequential(InPlaceFirst(), Net()), "changes its input in place"),
    "undone": (
        between(lambda x: [x.sigmoid(), x.sigmoid_().mul_(2)][1]),
        "Plain autograd cannot differentiate",
    ),
    "detached": (behind(Detached), "Plain autograd cannot differentiate"),
    "tuple": (behind(Pair), "must return its logits, one tensor N x K, and returned a tuple"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_path_gets_right_is_refused(name):
    make, message = REFUSED[name]
    model = made(make)
    x, labels = batch()
    before, state = x.clone(), torch.get_rng_state()
    with pytest.raises(ParameterError, match=message):
        gradients.per_victim_gradients(gradients.prepare(model, 1), x, labels, victims=VICTIMS)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ParameterError, match=message):
        attacks.observe(model, torch.rand(2, *SHAPE).double(), torch.tensor([0, 1]))
    assert torch.equal(x, before)


def test_a_branch_on_the_batch_is_refused_or_right():
    model = made(between(lambda x: torch.tanh(x) if x.mean() > 0 else -2 * x))
    try:
        with pytest.warns(UserWarning, match="decides by values of the images"):
            assert_right(model)
    except ParameterError as error:
        assert "mixes the images" in str(error)


def test_a_head_of_zeros_hides_nothing():
    """With it, all gradients but the head's are zero, and equal however they are taken."""
    model = made(between(lambda x: x - x.mean(0)))
    nn.init.zeros_(model.out.weight)
    with pytest.raises(ParameterError, match="mixes the images of a batch"):
        gradients.path(gradients.prepare(model, 1), batch()[0], gradients.trained(model))


class Functional(Net):
    """LayerNorm as a function, with a bare parameter, as in ConvNeXt."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(5))

    def between(self, x):
        return F.layer_norm(torch.tanh(x).permute(0, 2, 3, 1), (5,), self.scale).permute(0, 3, 1, 2)


def test_layer_norm_as_a_function_is_right_to_the_second_order():
    model = gradients.prepare(made(Functional), 1)
    x, labels = batch()
    found = {}
    for method in ("auto", "loop"):
        images = x.clone().requires_grad_()
        grads, _ = gradients.per_victim_gradients(
            model, images, labels, victims=VICTIMS, method=method, create_graph=True
        )
        found[method] = torch.autograd.grad(sum(g.square().sum() for g in grads.values()), images)[0]
    assert found["loop"].abs().max() > 1e-3
    torch.testing.assert_close(found["auto"], found["loop"], rtol=1e-8, atol=1e-10)


def test_the_second_order_counts_under_no_grad_too(monkeypatch):
    """Of torch's own layer norm `vmap` gives wrong second derivatives; what is found is remembered."""
    monkeypatch.setattr(paths, "ElementaryLayerNorms", contextlib.nullcontext)
    for mode in (torch.enable_grad, torch.no_grad):
        model = gradients.prepare(made(Functional), 1)
        with mode(), pytest.warns(UserWarning, match="a plain loop.*second order"):
            assert gradients.path(model, batch()[0], gradients.trained(model)) == "loop"


@pytest.fixture
def trials(monkeypatch):
    """How many trials there were."""
    done = []

    def tried(*args):
        done.append(args)
        return original(*args)

    original = verify.tried
    monkeypatch.setattr(verify, "tried", tried)
    return done


def test_a_model_is_tried_once_by_client_and_attacker(trials):
    model = made(Net)
    pixels, labels = torch.rand(2, *SHAPE).double(), torch.tensor([0, 1])
    seen = attacks.observe(model, pixels, labels)
    assert len(trials) == 1
    attacks.observe(model, pixels, labels)
    for exclude in ((), ("conv1",)):
        attacks.invert(seen, attacks.ATTACKS["ig"].replace(max_steps=2, exclude=exclude))
    assert len(trials) == 1
    attacks.observe(made(Net), pixels, labels)
    assert len(trials) == 2, "another model"


def test_a_changed_model_is_tried_anew(trials):
    model, (x, _) = made(Net), batch()

    def try_it(images=x):
        gradients.path(gradients.prepare(model, 1), images, gradients.trained(model))
        return len(trials)

    assert try_it() == 1
    with torch.no_grad():
        model.out.weight.mul_(2)
    assert try_it() == 1, "values are no structure"
    model.eval()
    assert try_it() == 2
    model.train()
    assert try_it() == 2
    model.conv2.stride = (1, 2)
    model.out = nn.Linear(10, CLASSES).double()
    assert try_it() == 3
    model.conv2.weight = nn.Parameter(model.conv2.weight.detach().clone())
    assert try_it() == 3
    model.other = copy.deepcopy(model.conv2)
    assert try_it() == 4
    model.other.weight = model.conv2.weight
    assert try_it() == 5, "tied"
    assert try_it(x.repeat(1, 1, 1, 1)[:1]) == 5
    model.conv1.requires_grad_(False)
    assert try_it() == 5, "fewer gradients of a model whose gradients are right"


def test_what_is_known_of_a_model_goes_with_it():
    model = made(Net)
    gradients.path(gradients.prepare(model, 1), batch()[0], gradients.trained(model))
    gone = weakref.ref(model)
    before = len(verify._KNOWN)
    del model
    gc.collect()
    assert gone() is None and len(verify._KNOWN) < before


def test_rounding_is_not_taken_for_an_error():
    """Two values per channel: BatchNorm's gradient cancels to all but its rounding."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 5, 6), nn.BatchNorm2d(5), nn.Tanh(), nn.Flatten(), nn.Linear(5, CLASSES)]
    model = gradients.prepare(nn.Sequential(*layers), 2)
    assert gradients.path(model, batch()[0].float(), gradients.trained(model)) == "fast"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_takes_the_fast_path(dtype):
    model = gradients.prepare(made(Net).to(dtype), 1)
    assert gradients.path(model, batch()[0].to(dtype), gradients.trained(model)) == "fast"


def test_batchnorm_without_running_averages_sees_one_victims_batch_in_eval_too():
    def make():
        norm = nn.BatchNorm2d(5, track_running_stats=False)
        return nn.Sequential(nn.Conv2d(3, 5, 3), norm, nn.Tanh(), nn.Flatten(), nn.Linear(80, CLASSES))

    for size in (1, 2):
        assert_right(made(make).eval(), size)


def test_one_batchnorm_in_two_places():
    def make():
        norm = nn.BatchNorm2d(3)
        return nn.Sequential(norm, nn.Tanh(), norm, nn.Flatten(), nn.Linear(108, CLASSES))

    assert_right(made(make), 2)


def test_models_that_cannot_be_prepared():
    with pytest.raises(ParameterError, match="1.weight belongs to a lazy layer .* run the model once"):
        gradients.prepare(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    with pytest.raises(ParameterError, match="is a scripted module"):
        gradients.prepare(scripted, 1)
    mixed = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2).double())
    with pytest.raises(ParameterError, match=r"several precisions \(float32, float64\).*model.float\(\)"):
        gradients.prepare(mixed, 1)


def test_images_that_a_model_does_not_accept():
    model = gradients.prepare(made(Net), 1)
    for x in (batch()[0].float(), torch.zeros(1, 2, 6, 6).double()):
        with pytest.raises(ShapeError, match=f"does not run on {x.dtype} images of shape"):
            gradients.path(model, x, gradients.trained(model))


def test_inference_mode_is_refused():
    model, (x, labels) = gradients.prepare(made(Net), 1), batch()
    with torch.inference_mode(), pytest.raises(GradientError, match="is on.*leave it, or use torch.no_grad"):
        gradients.per_victim_gradients(model, x, labels, victims=VICTIMS)
