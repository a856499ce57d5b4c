"""Per-victim gradients: fast path against vmap and against a plain loop, and against finite differences."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from gleak_lib import gradients, models
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import GradientError, ParameterError, ShapeError

TOLERANCE = {"rtol": 0, "atol": 1e-9}


class Norms(nn.Module):
    """Every layer that has a rule: strided, padded, dilated and grouped convolutions, all norms, tokens."""

    def __init__(self, norm: str):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm1 = {"group": nn.GroupNorm(2, 8), "batch": nn.BatchNorm2d(8)}[norm]
        self.conv2 = nn.Conv2d(8, 8, (3, 2), padding=(0, 1), dilation=2, groups=4)
        self.norm2 = nn.LayerNorm(8)
        self.linear = nn.Linear(8, 6, bias=False)
        self.norm3 = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 5)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.norm1(self.conv1(x)))
        x = self.conv2(x) + 0.5
        tokens = self.linear(self.norm2(x.flatten(2).transpose(1, 2)))
        return self.head(torch.tanh(self.norm3(tokens.mean(1))))


def case(name: str, batch: int):
    torch.manual_seed(0)
    if name.startswith("cnn"):
        specs = {"cnn": (), "cnn+precode": PRECODE(1, 6), "cnn+cvb": (CVB(1, 3), CVB(3, 1, kl="exact"))}[name]
        model, shape, classes = models.build("cnn", bottlenecks=specs), (3, 32, 32), 10
    else:
        model, shape, classes = Norms(name.split("-")[0]), (3, 12, 12), 5
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 2)
        model.train(name.endswith("train"))
    model = gradients.prepare(model.double(), batch)
    victims = 3
    x = torch.randn(victims * batch, *shape, dtype=torch.double, requires_grad=True)
    labels = torch.randint(0, classes, (victims * batch,))
    noise = [torch.randn(victims * batch, *s).double() for s in getattr(model, "noise_shapes", ())]
    return model, x, labels, noise, victims


CASES = [("cnn", 1), ("cnn", 3), ("cnn+precode", 1), ("cnn+precode", 2), ("cnn+cvb", 1), ("cnn+cvb", 2)]
CASES += [("group-eval", 1), ("group-eval", 2), ("batch-eval", 1), ("batch-eval", 3), ("batch-train", 4)]


@pytest.mark.parametrize(("name", "batch"), CASES)
def test_fast_path_vmap_and_loop_agree_to_the_second_order(name, batch):
    model, x, labels, noise, victims = case(name, batch)
    results = {}
    for method in ("loop", "vmap", "fast"):
        grads, _ = gradients.per_victim_gradients(
            model, x, labels, victims=victims, noise=noise, method=method, create_graph=True
        )
        mix = sum(
            (g.square() * torch.linspace(0.1, 1, g[0].numel()).view(g[0].shape)).sum() for g in grads.values()
        )
        results[method] = grads, torch.autograd.grad(mix, x)[0]
    assert results["loop"][1].abs().max() > 0
    for method in ("vmap", "fast"):
        grads, second = results[method]
        assert list(grads) == list(results["loop"][0])
        for parameter, expected in results["loop"][0].items():
            torch.testing.assert_close(grads[parameter], expected, **TOLERANCE)
        torch.testing.assert_close(second, results["loop"][1], **TOLERANCE)


def test_gradients_equal_those_of_an_ordinary_training_step():
    """The oracle that shares no code: backward() of each victim's mean loss on the untouched model."""
    torch.manual_seed(0)
    model = models.build("cnn", bottlenecks=CVB(1)).double()
    x, labels = torch.randn(4, 3, 32, 32).double(), torch.tensor([1, 2, 3, 4])
    noise = [torch.randn(4, 8, 14, 14).double()]
    grads, run = gradients.per_victim_gradients(
        gradients.prepare(model, 2), x, labels, victims=2, noise=noise
    )
    for victim, rows in enumerate((slice(0, 2), slice(2, 4))):
        model.zero_grad()
        out = model.run(x[rows], [noise[0][rows]])
        (nn.functional.cross_entropy(out.logits, labels[rows]) + out.kl.mean()).backward()
        torch.testing.assert_close(run.logits[rows], out.logits)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(grads[name][victim], parameter.grad, **TOLERANCE)


def test_second_order_against_finite_differences():
    model, x, labels, _, victims = case("group-eval", 1)

    def mix(images):
        grads, _ = gradients.per_victim_gradients(model, images, labels, victims=victims, create_graph=True)
        return sum(g.square().sum() for g in grads.values())

    assert torch.autograd.gradcheck(
        mix, (x.detach()[:, :, :6, :6].clone().repeat(1, 1, 2, 2).requires_grad_(),), atol=1e-5
    )


def test_batchnorm_in_training_mode_sees_one_victim_at_a_time_and_keeps_no_averages():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2)).double()
    x = torch.randn(6, 3, 5, 5).double()
    model(x)
    before = model[1].running_mean.clone()
    together, _ = gradients.per_victim_gradients(
        gradients.prepare(model, 3), x, torch.zeros(6).long(), victims=2
    )
    alone, _ = gradients.per_victim_gradients(
        gradients.prepare(model, 3), x[3:], torch.zeros(3).long(), victims=1
    )
    torch.testing.assert_close(together["0.weight"][1:], alone["0.weight"])
    assert torch.equal(model[1].running_mean, before)


def test_soft_labels_of_one_hot_equal_class_labels():
    model, x, labels, noise, victims = case("cnn", 1)
    hard, _ = gradients.per_victim_gradients(model, x, labels, victims=victims)
    soft, _ = gradients.per_victim_gradients(
        model, x, nn.functional.one_hot(labels, 10).double(), victims=victims
    )
    torch.testing.assert_close(hard["head.1.weight"], soft["head.1.weight"])


def test_names_restrict_what_is_computed():
    model, x, labels, noise, victims = case("cnn", 1)
    grads, _ = gradients.per_victim_gradients(model, x, labels, victims=victims, names=["stage2.0.weight"])
    assert list(grads) == ["stage2.0.weight"]


def test_modules_without_a_rule_go_through_vmap():
    """A multi-head attention holds bare parameters: auto falls back, fast refuses."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            x = x.flatten(2).transpose(1, 2)
            return self.head(self.attend(x, x, x, need_weights=False)[0].mean(1))

    model = gradients.prepare(Attention().double(), 1)
    x, labels = torch.randn(2, 4, 3, 3).double(), torch.tensor([0, 2])
    assert not gradients.supports_fast(model)
    auto, _ = gradients.per_victim_gradients(model, x, labels, victims=2)
    loop, _ = gradients.per_victim_gradients(model, x, labels, victims=2, method="loop")
    for name in loop:
        torch.testing.assert_close(auto[name], loop[name], **TOLERANCE)
    with pytest.raises(ParameterError, match="no fast rule"):
        gradients.per_victim_gradients(model, x, labels, victims=2, method="fast")


def test_torchvisions_resnet_with_its_in_place_operations():
    model = gradients.prepare(resnet18(num_classes=4).double().eval(), 1)
    x, labels = torch.randn(2, 3, 32, 32).double(), torch.tensor([0, 3])
    names = ["conv1.weight", "layer1.0.bn2.weight", "layer4.1.conv2.weight", "fc.bias"]
    fast, _ = gradients.per_victim_gradients(model, x, labels, victims=2, names=names, method="fast")
    loop, _ = gradients.per_victim_gradients(model, x, labels, victims=2, names=names, method="loop")
    for name in names:
        torch.testing.assert_close(fast[name], loop[name], **TOLERANCE)


def test_a_layer_used_twice_adds_up():
    shared = nn.Linear(4, 4).double()
    model = gradients.prepare(nn.Sequential(nn.Flatten(), shared, nn.Tanh(), shared), 1)
    x, labels = torch.randn(3, 1, 2, 2).double(), torch.tensor([0, 1, 3])
    fast, _ = gradients.per_victim_gradients(model, x, labels, victims=3, method="fast")
    loop, _ = gradients.per_victim_gradients(model, x, labels, victims=3, method="loop")
    for name in loop:
        torch.testing.assert_close(fast[name], loop[name], **TOLERANCE)


def test_prepare_refuses_active_dropout():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2))
    with pytest.raises(ParameterError, match="Layer 1 is active dropout: call model.eval"):
        gradients.prepare(model, 1)
    gradients.prepare(model.eval(), 1)


def test_victims_must_divide_the_images():
    model, x, labels, noise, _ = case("cnn", 1)
    with pytest.raises(ShapeError, match="3 images cannot be split among 2 victims"):
        gradients.per_victim_gradients(model, x, labels, victims=2)


def test_check_refuses_what_is_not_the_models():
    model = nn.Linear(3, 2)
    good = {"weight": torch.zeros(4, 2, 3), "bias": torch.zeros(4, 2)}
    gradients.check(good, model)
    for bad, message in [
        ({"weight": good["weight"]}, "lack \\['bias'\\]"),
        (good | {"extra": torch.zeros(4)}, "no parameters \\['extra'\\]"),
        (good | {"bias": torch.zeros(4, 3)}, r"bias has shape \(4, 3\), expected V x \(2,\)"),
        (good | {"bias": torch.zeros(5, 2)}, "the same V everywhere"),
        (good | {"bias": torch.full((4, 2), torch.nan)}, "bias has NaN or infinite"),
        (good | {"bias": torch.full((4, 2), torch.inf)}, "bias has NaN or infinite"),
    ]:
        with pytest.raises(GradientError, match=message):
            gradients.check(bad, model)
